// SPDX-License-Identifier: GPL-3.0-or-later
/** What many iterations amount to, by point, in 80 columns. */
import type { Outcome } from './verdict.js';

export interface Iteration {
  seed: number;
  point: string;
  scenario: string;
  share: string;
  kind: string;
  /** Somebody came to the point, and died there. */
  isReached: boolean;
  outcomes: Outcome[];
  tookMs: number;
}

interface Row {
  point: string;
  iterations: number;
  /** In which somebody died there. */
  reached: number;
  /** Handles. */
  resumed: number;
  lost: number;
  refused: number;
}

const NAME_COLUMNS = 30;
const COLUMNS = ['iterations', 'resumed', 'lost', 'refused by rule'] as const;

const line = (name: string, cells: readonly (string | number)[]): string =>
  name.padEnd(NAME_COLUMNS) +
  cells.map((cell, i) => String(cell).padStart((COLUMNS[i]?.length ?? 0) + 2)).join('');

export class Report {
  readonly seed: number;
  readonly #rows: Map<string, Row>;
  readonly #reasons = new Map<string, number>();
  readonly losses: string[] = [];

  constructor(seed: number, points: readonly string[]) {
    this.seed = seed;
    const none = { iterations: 0, reached: 0, resumed: 0, lost: 0, refused: 0 };
    this.#rows = new Map(points.map((point) => [point, { point, ...none }]));
  }

  /** Returns what was lost. */
  add(iteration: Iteration): string[] {
    const { point, seed, scenario, share, kind, outcomes, isReached } = iteration;
    const row = this.#rows.get(point);
    if (row === undefined) throw new Error(`${point} is no point`);
    row.iterations += 1;
    row.reached += isReached ? 1 : 0;
    for (const { what, why } of outcomes) {
      row[what] += 1;
      if (what === 'refused') this.#reasons.set(why, (this.#reasons.get(why) ?? 0) + 1);
    }
    const where = `${point} (--seed ${seed}; ${scenario}, ${share}, ${kind})`;
    const lost = outcomes
      .filter(({ what }) => what === 'lost')
      .map(({ handle, why }) => `${where} ${handle}: ${why}`);
    this.losses.push(...lost);
    return lost;
  }

  /** Something that concerns no single iteration. */
  fail(why: string): void {
    this.losses.push(why);
  }

  get #sum(): Omit<Row, 'point'> {
    const sum = { iterations: 0, reached: 0, resumed: 0, lost: 0, refused: 0 };
    for (const row of this.#rows.values()) {
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += row[key];
    }
    return sum;
  }

  get neverReached(): string[] {
    return [...this.#rows.values()].filter((row) => row.reached === 0).map(({ point }) => point);
  }

  get isGood(): boolean {
    return this.losses.length === 0 && this.neverReached.length === 0;
  }

  progress(): string {
    const { iterations, resumed, lost, refused } = this.#sum;
    const left = this.neverReached.length;
    return (
      `${iterations} iterations: ${resumed} resumed, ${lost} lost, ${refused} refused by rule; ` +
      `${left} points to come`
    );
  }

  table(): string {
    const cells = ({ iterations, resumed, lost, refused }: Omit<Row, 'point'>) => [
      iterations,
      resumed,
      lost,
      refused,
    ];
    const rule = '-'.repeat(line('', COLUMNS).length);
    const reasons = [...this.#reasons].sort(([, a], [, b]) => b - a);
    return [
      line('point', COLUMNS),
      rule,
      ...[...this.#rows.values()].map((row) => line(row.point, cells(row))),
      rule,
      line(`${this.#rows.size} points, handles`, cells(this.#sum)),
      ...(reasons.length > 0 ? ['', 'refused by rule:'] : []),
      ...reasons.map(([why, count]) => `${String(count).padStart(6)}  ${why}`),
      ...this.neverReached.map((point) => `NEVER REACHED ${point}`),
      ...this.losses.map((loss) => `LOST ${loss}`),
    ].join('\n');
  }

  json(): object {
    return {
      seed: this.seed,
      points: [...this.#rows.values()],
      total: this.#sum,
      refusedByRule: Object.fromEntries(this.#reasons),
      neverReached: this.neverReached,
      losses: this.losses,
    };
  }
}
