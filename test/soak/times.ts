// SPDX-License-Identifier: GPL-3.0-or-later
/** When something happened that may have cost others their handles. */
import type { Handle } from './handle.js';

export interface Disturbance {
  by: Handle;
  /** `write`: also what only sets the file's time, as closing does after a write. */
  what: 'open' | 'write' | 'lock';
  startMs: number;
  /** Infinite while it is under way. */
  endMs: number;
}

export class Disturbances {
  #all: Disturbance[] = [];

  begin(what: Disturbance['what'], by: Handle): Disturbance {
    const one = {
      by,
      what,
      startMs: performance.now(),
      endMs: Number.POSITIVE_INFINITY,
    };
    this.#all.push(one);
    return one;
  }

  /** `laterMs`: its effects may be felt for so long. */
  end(one: Disturbance, laterMs = 0): void {
    one.endMs = performance.now() + laterMs;
  }

  /** Those by others; all opens of one client with one lease are the same (MS-SMB2 3.3.1.12). */
  of(handle: Handle, sinceMs: number): Disturbance[] {
    return this.#all.filter(
      ({ by, endMs }) => by.file === handle.file && endMs >= sinceMs && !isSameHolder(by, handle),
    );
  }

  forget(beforeMs: number): void {
    this.#all = this.#all.filter((one) => one.endMs >= beforeMs);
  }
}

function isSameHolder(a: Handle, b: Handle): boolean {
  return a === b || (a.client === b.client && a.leaseKey !== null && a.leaseKey === b.leaseKey);
}

/** When persistd was away; smbd's children find it again within so long. */
const RECOVERY_MS = 5_000;

export class Outages {
  readonly #all: { startMs: number; endMs: number }[] = [];

  async during(act: () => Promise<void>): Promise<void> {
    const one = { startMs: performance.now(), endMs: Number.POSITIVE_INFINITY };
    this.#all.push(one);
    try {
      await act();
    } finally {
      one.endMs = performance.now();
    }
  }

  /** Whether persistd may have been out of reach at some time since then. */
  touches(sinceMs: number): boolean {
    return this.#all.some((one) => one.endMs + RECOVERY_MS >= sinceMs);
  }

  get count(): number {
    return this.#all.length;
  }
}
