// SPDX-License-Identifier: GPL-3.0-or-later
// Bad messages: all counted, one logged per second and endpoint.

import type { Logger } from 'pino';
import { count, type Tally } from './core/counters.js';

const INTERVAL_MS = 1_000;

export class Complaints {
  readonly tally: Tally = {};
  readonly #log: Logger;
  readonly #last = new Map<string, { atMs: number; suppressed: number }>();

  constructor(log: Logger) {
    this.#log = log;
  }

  bad(endpoint: 'smbd' | 'admin' | 'keeper', why: string): void {
    count(this.tally, endpoint);
    const nowMs = performance.now();
    const last = this.#last.get(endpoint);
    if (last !== undefined && nowMs - last.atMs < INTERVAL_MS) {
      last.suppressed++;
      return;
    }
    this.#log.warn({ endpoint, why, suppressed: last?.suppressed ?? 0 }, 'bad message dropped');
    this.#last.set(endpoint, { atMs: nowMs, suppressed: 0 });
  }
}
