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
const FLUSH_MS = 150;

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
    { committed, described }: Performance,
  ): Promise<boolean | null> {
    const concerned = new Set(events.flatMap((event) => this.#concerned(event)));
    if (concerned.size === 0) {
      await committed;
      return null;
    }
    const flushed = Promise.all([committed, described]).then(() => this.#store.flushed());
    const inTime = await withinBound(flushed);
    // one that was closed meanwhile needs nothing
    const isSafe = [...concerned].every((id) => this.#handle(id)?.reopening !== null);
    if (!inTime || !isSafe) {
      const why = inTime ? 'their files cannot be opened by file handle' : 'not flushed in time';
      this.#log.warn({ handles: [...concerned] }, `these handles do not outlive the host: ${why}`);
    }
    await committed;
    return inTime && isSafe;
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

function withinBound(flushed: Promise<boolean>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), FLUSH_MS);
    void flushed.then((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}
