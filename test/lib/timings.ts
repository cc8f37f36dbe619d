// SPDX-License-Identifier: GPL-3.0-or-later
/** How long operations took, by their name. */
import { strict as assert } from 'node:assert';

/** What the module promises for one operation. */
const PROMISED_MS = 250;
/** Anything that waited for an answer in vain took at least this much longer. */
const NOTICEABLE_MS = 100;
const SECOND_MS = 1_000;

interface Taken {
  what: string;
  startMs: number;
  tookMs: number;
}

export class Timings {
  readonly #all: Taken[] = [];

  async of<T>(what: string, operation: () => PromiseLike<T>): Promise<T> {
    const startMs = performance.now();
    try {
      return await operation();
    } catch (error) {
      throw new Error(`${what}: ${error instanceof Error ? error.message : error}`);
    } finally {
      this.#all.push({ what, startMs, tookMs: performance.now() - startMs });
    }
  }

  longestMs(what: string): number {
    return Math.max(0, ...this.#all.filter((one) => one.what === what).map((one) => one.tookMs));
  }

  /** No operation took longer than on stock Samba and what the module may add. */
  assertWithin(stock: Timings): void {
    const late = this.#all.filter(
      ({ what, tookMs }) => tookMs > stock.longestMs(what) + PROMISED_MS,
    );
    assert.deepEqual(late, [], 'operations that waited too long');
  }

  /** At most one operation a second took noticeably longer than on stock Samba. */
  assertOncePerSecond(stock: Timings): void {
    const slow = this.#all.filter(
      ({ what, tookMs }) => tookMs > stock.longestMs(what) + NOTICEABLE_MS,
    );
    slow.forEach((one, index) => {
      const before = slow[index - 1];
      if (before === undefined) return;
      const apartMs = one.startMs + one.tookMs - (before.startMs + before.tookMs);
      assert.ok(apartMs >= SECOND_MS, `${one.what} waited ${apartMs} ms after ${before.what} had`);
    });
  }
}
