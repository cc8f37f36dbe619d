// SPDX-License-Identifier: GPL-3.0-or-later
// The store of one node.

import { closeSync, fstatSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { Moment } from '../core/handle.js';
import { MessageError } from '../shared/message.js';
import { WireError } from '../wire/codec.js';
import { damagedPages, START_ANEW } from './environment.js';
import { storeFault } from './fault.js';
import {
  decodeStored,
  encodeHandle,
  refuseNewer,
  restoredHandle,
  SCHEMA_VERSION,
} from './record.js';
import { type Batch, type Restored, type Store, StoreError } from './store.js';

export const DATA_FILE = 'data.mdb';
export const META = { name: 'meta', encoding: 'msgpack' } as const;
export const HANDLES = { name: 'handles', encoding: 'binary' } as const;
export const SCHEMA_KEY = 'schemaVersion';

/** What LMDB makes of lock.mdb for its 126 readers, and some more. */
const LOCK_FILE_BYTES = 16_384;

interface Opened {
  readonly environment: RootDatabase<Buffer, string>;
  readonly handles: Database<Buffer, string>;
}

export class LmdbStore implements Store {
  readonly #directory: string;
  readonly #bootId: string;
  /** null: it has to be opened again. */
  #opened: Opened | null;
  /** The last write failed, and LMDB may have given up the environment. */
  #doubtful = false;

  /**
   * Creates `directory` if it is not there. `bootId` is 32 hexadecimal digits.
   * Throws StoreError if what is there is not a store that this version can use.
   */
  constructor(directory: string, bootId: string) {
    this.#directory = directory;
    this.#bootId = bootId;
    makeStoreDirectory(directory);
    this.#opened = explained(`the store in ${directory} cannot be opened`, () =>
      openStore(directory),
    );
  }

  load(now: Moment): Restored[] {
    const restored: Restored[] = [];
    for (const { key, value } of this.#open().handles.getRange()) {
      restored.push(this.#decode(key, value, now));
    }
    return restored;
  }

  async write(batch: Batch): Promise<void> {
    try {
      const records = [...batch].map(
        ([id, handle]) => [id, handle && encodeHandle(handle, this.#bootId)] as const,
      );
      if (this.#doubtful) this.#discardIfDead();
      const { handles } = this.#open();
      await handles.batch(() => {
        for (const [id, bytes] of records) {
          void (bytes === null ? handles.remove(id) : handles.put(id, bytes));
        }
      });
      this.#doubtful = false;
    } catch (error) {
      this.#doubtful = true;
      throw storeFault(await causeOf(error));
    }
  }

  /** One flush serves all who wait for it. */
  async flushed(): Promise<void> {
    await this.#open().environment.flushed;
  }

  async close(): Promise<void> {
    if (this.#doubtful) return this.#discard();
    const { environment } = this.#open();
    await environment.flushed;
    await environment.close();
  }

  #open(): Opened {
    this.#opened ??= openStore(this.#directory);
    return this.#opened;
  }

  /** When the file's first pages cannot be written, LMDB refuses all that comes after. */
  #discardIfDead(): void {
    try {
      this.#opened?.handles.get(SCHEMA_KEY);
    } catch {
      this.#discard();
    }
  }

  /** lmdb-js's close() waits for the flush of what failed, which never comes. */
  #discard(): void {
    const { environment } = this.#opened ?? {};
    this.#opened = null;
    void environment?.close();
    (environment as unknown as { env: { close(): void } } | undefined)?.env.close();
  }

  #decode(id: string, bytes: Buffer, now: Moment): Restored {
    try {
      return restoredHandle(decodeStored(bytes), this.#bootId, now);
    } catch (error) {
      if (error instanceof WireError || error instanceof MessageError) {
        throw new StoreError(
          `the store's record of handle ${id} is damaged: ${error.message}. ` +
            `"persistctl store verify --store ${this.#directory}" names all of its damages`,
        );
      }
      throw error;
    }
  }
}

/** Throws StoreError. */
export function makeStoreDirectory(directory: string): void {
  explained(`the store's directory ${directory} cannot be made`, () =>
    mkdirSync(directory, { recursive: true, mode: 0o700 }),
  );
}

function explained<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof StoreError) throw error;
    const { message, remedy } = storeFault(error);
    throw new StoreError(`${what}: ${message}. ${remedy}`);
  }
}

function openStore(directory: string): Opened {
  refuseDamage(join(directory, DATA_FILE));
  reserveLockFile(directory);
  // A write is done when it is committed, which survives this process; the disk
  // gets it soon after. Batching by turns of the event loop would leave a rejection
  // that nobody can handle when a commit fails.
  const environment = open<Buffer, string>({
    path: directory,
    noSubdir: false,
    encoding: 'binary',
    separateFlushed: true,
    eventTurnBatching: false,
  });
  try {
    const meta = environment.openDB<string | number, string>(META);
    const version = meta.get(SCHEMA_KEY);
    if (version === undefined) meta.putSync(SCHEMA_KEY, SCHEMA_VERSION);
    else refuseNewer(version, `the store in ${directory}`);
    return { environment, handles: environment.openDB(HANDLES) };
  } catch (error) {
    void environment.close();
    throw error;
  }
}

function refuseDamage(file: string): void {
  const [first] = damagedPages(file);
  if (first !== undefined) throw new StoreError(`${file} is damaged: ${first}. ${START_ANEW}`);
}

/** LMDB maps lock.mdb: with no room on the disk, the process would die of SIGBUS. */
export function reserveLockFile(directory: string): void {
  const fd = openSync(join(directory, 'lock.mdb'), 'a', 0o600);
  try {
    const missing = LOCK_FILE_BYTES - fstatSync(fd).size;
    if (missing > 0) writeSync(fd, Buffer.alloc(missing));
  } finally {
    closeSync(fd);
  }
}

/** lmdb-js rejects with an error that has the real one as a promise. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  try {
    await error.commitError;
    return error;
  } catch (cause) {
    return cause;
  }
}
