// SPDX-License-Identifier: GPL-3.0-or-later
// What smbd children are told of handles that are to outlive the host: whether
// all that it takes to make them again is on disk.

import type { Logger } from 'pino';
import type { Core } from './core/core.js';
import type { Handle } from './core/handle.js';
import type { Performance } from './performer.js';
import type { SteadyStore } from './store/steady-store.js';
import type { SmbdEvent } from './wire/smbd.js';

/** The module waits for 200 ms, and is to hear what came of it. */
const DESCRIBE_MS = 120;
/** After that it is told that the disk takes longer, and waits for a second in all. */
const SLOW_MS = 40;
const FLUSH_MS = 700;

export class HostDurability {
  readonly #core: Core;
  readonly #store: SteadyStore;
  readonly #log: Logger;

  constructor(core: Core, store: SteadyStore, log: Logger) {
    this.#core = core;
    this.#store = store;
    this.#log = log;
  }

  /** Resolves when the events are committed; null: they concern no such handle. */
  async acknowledge(
    events: readonly SmbdEvent[],
    performance: Performance,
    isFlushing: () => void,
  ): Promise<boolean | null> {
    const concerned = new Set(events.flatMap((event) => this.#concerned(event)));
    if (concerned.size === 0) {
      await performance.committed;
      return null;
    }
    const why = await this.#whyNot(concerned, performance, isFlushing);
    if (why !== null) {
      this.#log.warn({ handles: [...concerned] }, `these handles do not outlive the host: ${why}`);
    }
    await performance.committed;
    return why === null;
  }

  async #whyNot(
    concerned: ReadonlySet<string>,
    { committed, described }: Performance,
    isFlushing: () => void,
  ): Promise<string | null> {
    const all = await within(DESCRIBE_MS, described);
    if (all === null) return 'fdkeeper takes too long to describe them';
    const slow = setTimeout(isFlushing, SLOW_MS);
    const stored = Promise.all([committed, ...all.map((one) => one.committed)]);
    const isFlushed = await within(
      FLUSH_MS,
      stored.then(() => this.#store.flushed()),
    );
    clearTimeout(slow);
    if (isFlushed !== true) return 'the disk takes too long';
    // one that was closed meanwhile needs nothing
    const isSafe = [...concerned].every((id) => this.#handle(id)?.reopening !== null);
    return isSafe ? null : 'fdkeeper cannot tell how to open their files by file handle';
  }

  #concerned(event: SmbdEvent): string[] {
    switch (event.type) {
      case 'grant':
      case 'resumed':
        return event.body.durability === 'host' ? [event.body.cookie] : [];
      case 'lock':
      case 'unlock':
        return this.#handle(event.body.cookie)?.record.durability === 'host'
          ? [event.body.cookie]
          : [];
      default:
        return [];
    }
  }

  #handle(id: string): Handle | undefined {
    return this.#core.table.live(id);
  }
}

/** null: it takes longer. */
function within<T>(boundMs: number, result: Promise<T>): Promise<T | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), boundMs);
    void result.then((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}
