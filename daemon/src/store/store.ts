// SPDX-License-Identifier: GPL-3.0-or-later
// Where handles survive persistd. What a record means: docs/store.md.

import type { Handle, Moment } from '../core/handle.js';

export interface Restored {
  readonly handle: Handle;
  /** false: the host was booted since, and no smbd child of then exists. */
  readonly sameBoot: boolean;
}

/** One transaction: a handle to keep as it is now, or null to forget it, by id. */
export type Batch = ReadonlyMap<string, Handle | null>;

export interface Store {
  /** Once, at start. Times of another boot are put on this boot's monotonic clock. */
  load(now: Moment): Restored[];
  /**
   * Resolves when the batch is committed: it survives the death of any process.
   * Rejects with StoreFault, and may be tried again.
   */
  write(batch: Batch): Promise<void>;
  /** Resolves when all that is committed is flushed: it survives the host. */
  flushed(): Promise<void>;
  /** The same, and the store is closed. */
  close(): Promise<void>;
}

/** The store cannot be used; nothing in it was changed. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
}

/** The store cannot be written now. `remedy` is for the admin. */
export class StoreFault extends Error {
  override readonly name = 'StoreFault';
  constructor(
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
}
