// SPDX-License-Identifier: GPL-3.0-or-later
/** Medians, percentiles, and what two sides of a measurement amount to. */

export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const index = Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1);
  const value = sorted[Math.max(0, index)];
  if (value === undefined) throw new Error('no samples');
  return value;
}

export const median = (samples: readonly number[]): number => percentile(samples, 0.5);

/** Of stock and of the module, measured next to each other; one figure per round. */
export interface Pair {
  stock: number;
  module: number;
}

export interface Compared {
  stock: number;
  module: number;
  /** The median of the rounds' ratios or differences, and the quartiles around it. */
  value: number;
  low: number;
  high: number;
}

export function compare(rounds: readonly Pair[], how: 'ratio' | 'added'): Compared {
  const values = rounds.map(({ stock, module }) =>
    how === 'ratio' ? module / stock : module - stock,
  );
  return {
    stock: median(rounds.map(({ stock }) => stock)),
    module: median(rounds.map(({ module }) => module)),
    value: median(values),
    low: percentile(values, 0.25),
    high: percentile(values, 0.75),
  };
}
