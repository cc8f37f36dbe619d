// SPDX-License-Identifier: GPL-3.0-or-later

import stringWidth from 'string-width';
import { PAGE_COLUMNS, padTo, safeText, shortenMiddle } from './text.js';

export type Column<Row> = {
  title: string;
  cell: (row: Row) => string;
  /** The column may be shortened to this width when the page is too narrow; absent: never. */
  minColumns?: number;
};

export type TableOptions = { header: boolean; wide: boolean };

const GAP = '  ';

/**
 * One line per row, aligned. Unless `wide`, the widest column that may shrink gives way until the
 * lines fit the page, so a single long name does not squeeze the others.
 */
export function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  options: TableOptions,
): string {
  const titles = columns.map((column) => column.title);
  const body = rows.map((row) => columns.map((column) => safeText(column.cell(row))));
  const lines = options.header ? [titles, ...body] : body;
  const widths = columns.map((_, at) =>
    Math.max(0, ...lines.map((line) => stringWidth(line[at] ?? ''))),
  );
  if (!options.wide) {
    shrink(columns, widths);
  }
  return lines.map((line) => renderLine(line, widths)).join('\n');
}

function shrink<Row>(columns: readonly Column<Row>[], widths: number[]): void {
  const gaps = GAP.length * (columns.length - 1);
  let excess = widths.reduce((sum, width) => sum + width, gaps) - PAGE_COLUMNS;
  while (excess > 0) {
    let widest = -1;
    for (const [at, width] of widths.entries()) {
      const shrinkable = width > (columns[at]?.minColumns ?? width);
      if (shrinkable && width > (widths[widest] ?? 0)) {
        widest = at;
      }
    }
    if (widest < 0) {
      return;
    }
    widths[widest] = (widths[widest] ?? 0) - 1;
    excess -= 1;
  }
}

function renderLine(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, at) => {
      const width = widths[at] ?? 0;
      return padTo(shortenMiddle(cell, width), width);
    })
    .join(GAP)
    .trimEnd();
}
