// SPDX-License-Identifier: GPL-3.0-or-later
/** The table of the benchmark: what was measured, against stock, and the aims. */
import { type Compared, compare, type Pair, percentile } from './figures.js';

export interface Row {
  what: string;
  unit: 'per second' | 'us' | 'ns';
  /** Absent where stock Samba has nothing to compare with. */
  stock?: number;
  module: number;
  /** Against stock: a ratio, or what was added. */
  against?: { how: 'ratio' | 'added'; value: number; low: number; high: number };
  aim?: { text: string; isReached: boolean };
}

export interface Section {
  title: string;
  rows: Row[];
}

type Aim = { atLeast: number } | { atMost: number };

export function compared(
  what: string,
  unit: Row['unit'],
  rounds: readonly Pair[],
  how: 'ratio' | 'added',
  aim?: Aim,
): Row {
  return comparedRow(what, unit, compare(rounds, how), how, aim);
}

/** From samples of which each counts, as for a 99th percentile: no rounds, no range. */
export function comparedAt(
  what: string,
  share: number,
  samples: { stock: readonly number[]; module: readonly number[] },
  aim?: Aim,
): Row {
  const stock = percentile(samples.stock, share);
  const module = percentile(samples.module, share);
  const value = module - stock;
  return comparedRow(what, 'us', { stock, module, value, low: value, high: value }, 'added', aim);
}

function comparedRow(
  what: string,
  unit: Row['unit'],
  { stock, module, value, low, high }: Compared,
  how: 'ratio' | 'added',
  aim?: Aim,
): Row {
  const row: Row = { what, unit, stock, module, against: { how, value, low, high } };
  if (aim !== undefined) {
    const [sign, bound] = 'atLeast' in aim ? ['>=', aim.atLeast] : ['<=', aim.atMost];
    const isReached = 'atLeast' in aim ? value >= bound : value <= bound;
    row.aim = { text: `${sign} ${difference(how, bound)}`, isReached };
  }
  return row;
}

function difference(how: 'ratio' | 'added', value: number): string {
  if (how === 'ratio') return value.toFixed(2);
  return `${value < 0 ? '' : '+'}${amount('us', value)}`;
}

function amount(unit: Row['unit'], value: number | undefined): string {
  if (value === undefined) return '';
  if (unit === 'per second') return `${Math.round(value)}/s`;
  if (unit === 'us' && Math.abs(value) >= 10_000) return `${(value / 1000).toFixed(1)} ms`;
  return `${Math.round(value)} ${unit}`;
}

function line(...cells: [string, string, string, string, string, string]): string {
  const [what, stock, module, against, range, aim] = cells;
  return [
    what.padEnd(24),
    stock.padStart(8),
    module.padStart(9),
    against.padStart(8),
    range.padStart(13),
    ` ${aim}`,
  ]
    .join(' ')
    .trimEnd();
}

function renderRow({ what, unit, stock, module, against, aim }: Row): string {
  const range =
    against === undefined || against.low === against.high
      ? ''
      : `${difference(against.how, against.low)}..${difference(against.how, against.high)}`.replaceAll(
          ' us',
          '',
        );
  return line(
    `  ${what}`,
    amount(unit, stock),
    amount(unit, module),
    against === undefined ? '' : difference(against.how, against.value),
    range,
    aim === undefined ? '' : `${aim.isReached ? '✓' : '✗'} ${aim.text.replace(' us', '')}`,
  );
}

export function renderTable(sections: readonly Section[]): string {
  return [
    line('', 'stock', 'module', 'compared', 'quartiles', 'aim'),
    ...sections.flatMap(({ title, rows }) => [title, ...rows.map(renderRow)]),
  ].join('\n');
}
