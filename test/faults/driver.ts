// SPDX-License-Identifier: GPL-3.0-or-later
/** A whole run: one instance, the points in turn, again and again. */
import { Random } from '../soak/random.js';
import type { Bench } from './bench.js';
import { Report } from './report.js';
import { iterate } from './run.js';

export interface FaultsOptions {
  seed: number;
  /** Of all points together; where nobody came to the point they do not count. */
  iterations: number;
  minutes: number;
  points: readonly string[];
  /** Each iteration has this seed itself, to repeat one. */
  isExact?: boolean;
  onProgress(line: string): void;
}

/** A point that nobody came to is tried again, with another scenario or another kind. */
const TRIES = 4;
const CHECK_EVERY = 50;

export async function runFaults(bench: Bench, options: FaultsOptions): Promise<Report> {
  const { seed, points, iterations, minutes, isExact } = options;
  const seeds = new Random(seed);
  const report = new Report(seed, points);
  const endMs = performance.now() + minutes * 60_000;
  let count = 0;
  const once = async (point: string): Promise<boolean> => {
    const iteration = await iterate(bench, point, isExact ? seed : seeds.int(2 ** 32));
    for (const loss of report.add(iteration)) options.onProgress(`LOST ${loss}`);
    count += 1;
    if (count % CHECK_EVERY === 0) await check(bench, report);
    const { scenario, share, kind, tookMs } = iteration;
    options.onProgress(
      `${report.progress()} | ${point}, ${scenario}, ${share}, ${kind}, ${tookMs} ms`,
    );
    return iteration.isReached;
  };
  let turns = 0;
  while (turns < iterations && performance.now() < endMs) {
    for (const point of points) {
      if (turns >= iterations || performance.now() > endMs) break;
      turns += 1;
      for (let tries = 0; tries < TRIES && !(await once(point)); tries += 1);
    }
  }
  await check(bench, report);
  return report;
}

/** Nothing may be left of all that was killed. */
async function check({ samba }: Bench, report: Report): Promise<void> {
  try {
    await samba.nothingLeft();
  } catch (error) {
    report.fail(error instanceof Error ? error.message : String(error));
  }
}
