// SPDX-License-Identifier: GPL-3.0-or-later
// The store as the table writes it: one transaction at a time, and handles go on
// from memory while the store cannot be written.

import type { Handle, Moment } from '../core/handle.js';
import { silentFault, storeFault } from './fault.js';
import type { Batch, Restored, Store, StoreFault } from './store.js';

/** Less than the second after which an smbd child takes persistd for lost. */
const WRITE_BOUND_MS = 500;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 4_000;

export interface StoreListener {
  failing(fault: StoreFault): void;
  /** It has everything again; so many records were missing. */
  back(records: number): void;
  /** At the end, so many records are not in it. */
  lost(records: number): void;
}

export class SteadyStore {
  readonly #store: Store;
  readonly #listener: StoreListener;
  #fault: StoreFault | null = null;
  #faults = 0;
  /** What the store does not have yet, but for what is being written. */
  #unwritten = new Map<string, Handle | null>();
  #beingWritten: Batch = new Map();
  /** Handles that the store has, or may have: only of those an end must be written. */
  readonly #known = new Set<string>();
  #waiting: (() => void)[] = [];
  #running: Promise<void> | null = null;
  #endPause: (() => void) | null = null;
  #closing = false;

  constructor(store: Store, listener: StoreListener) {
    this.#store = store;
    this.#listener = listener;
  }

  /** Why it cannot be written now; null: it can. */
  get fault(): StoreFault | null {
    return this.#fault;
  }

  /** How often it failed. */
  get faults(): number {
    return this.#faults;
  }

  /** Records that it does not have as they are. */
  get unwritten(): number {
    return new Set([...this.#unwritten.keys(), ...this.#beingWritten.keys()]).size;
  }

  /** Throws StoreError. */
  load(now: Moment): Restored[] {
    const restored = this.#store.load(now);
    for (const { handle } of restored) this.#known.add(handle.id);
    return restored;
  }

  /** Resolves when the batch is committed, or is kept in memory until it can be. */
  write(batch: Batch): Promise<void> {
    for (const [id, handle] of batch) {
      if (handle === null && !this.#known.has(id)) this.#unwritten.delete(id);
      else this.#unwritten.set(id, handle);
    }
    const done = new Promise<void>((resolve) => {
      if (this.#fault === null) this.#waiting.push(resolve);
      else resolve();
    });
    this.#running ??= this.#run();
    return done;
  }

  /** When all that is committed is flushed; false: not all could be. */
  async flushed(): Promise<boolean> {
    try {
      await this.#store.flushed();
    } catch {
      // the next write says why
      return false;
    }
    return this.#fault === null;
  }

  /** False: the store does not answer, and the process will not end by itself. */
  async close(): Promise<boolean> {
    this.#closing = true;
    this.#endPause?.();
    const ended = this.#end().then(() => true);
    const isClosed = await Promise.race([ended, pause(2 * WRITE_BOUND_MS).then(() => false)]);
    if (this.unwritten > 0) this.#listener.lost(this.unwritten);
    return isClosed;
  }

  async #end(): Promise<void> {
    await this.#running;
    await this.#store.close();
  }

  async #run(): Promise<void> {
    let retryMs = FIRST_RETRY_MS;
    while (this.#unwritten.size > 0 || this.#waiting.length > 0) {
      if (await this.#writeAll()) {
        retryMs = FIRST_RETRY_MS;
        continue;
      }
      if (this.#closing) break;
      await this.#pause(retryMs);
      retryMs = Math.min(2 * retryMs, LONGEST_RETRY_MS);
    }
    this.#running = null;
  }

  async #writeAll(): Promise<boolean> {
    const batch = this.#unwritten;
    const waiting = this.#waiting;
    this.#unwritten = new Map();
    this.#beingWritten = batch;
    this.#waiting = [];
    for (const id of batch.keys()) this.#known.add(id);
    const late = setTimeout(() => {
      this.#fail(silentFault(WRITE_BOUND_MS), waiting);
    }, WRITE_BOUND_MS);
    try {
      if (batch.size > 0) await this.#store.write(batch);
    } catch (error) {
      this.#unwritten = new Map([...batch, ...this.#unwritten]);
      this.#fail(storeFault(error), waiting);
      return false;
    } finally {
      clearTimeout(late);
      this.#beingWritten = new Map();
    }
    for (const [id, handle] of batch) if (handle === null) this.#known.delete(id);
    for (const resolve of waiting) resolve();
    this.#recover(batch.size);
    return true;
  }

  #fail(fault: StoreFault, waiting: readonly (() => void)[]): void {
    const isNews = this.#fault?.message !== fault.message;
    if (this.#fault === null) this.#faults++;
    this.#fault = fault;
    if (isNews) this.#listener.failing(fault);
    for (const resolve of [...waiting, ...this.#waiting]) resolve();
    this.#waiting = [];
  }

  #recover(records: number): void {
    if (this.#fault === null || this.#unwritten.size > 0) return;
    this.#fault = null;
    this.#listener.back(records);
  }

  async #pause(durationMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, durationMs);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#endPause = null;
  }
}

function pause(durationMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, durationMs).unref();
  });
}
