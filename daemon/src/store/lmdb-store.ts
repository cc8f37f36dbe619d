// SPDX-License-Identifier: GPL-3.0-or-later
// The store of one node.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { Moment } from '../core/handle.js';
import { MessageError } from '../shared/message.js';
import { WireError } from '../wire/codec.js';
import { checkEnvironment } from './environment.js';
import { decodeHandle, encodeHandle, refuseNewer, SCHEMA_VERSION } from './record.js';
import { type Batch, type Restored, type Store, StoreError } from './store.js';

const SCHEMA_KEY = 'schemaVersion';

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StoreError(`cannot make the store's directory ${directory}: ${why}`);
  }
}

export class LmdbStore implements Store {
  readonly #bootId: string;
  readonly #environment: RootDatabase<Buffer, string>;
  readonly #handles: Database<Buffer, string>;

  /**
   * Creates `directory` if it is not there. `bootId` is 32 hexadecimal digits.
   * Throws StoreError if what is there is not a store that this version can use.
   */
  constructor(directory: string, bootId: string) {
    makeDirectory(directory);
    checkEnvironment(join(directory, 'data.mdb'));
    this.#bootId = bootId;
    // A write is done when it is committed, which survives this process; the disk
    // gets it soon after.
    this.#environment = open({
      path: directory,
      noSubdir: false,
      encoding: 'binary',
      separateFlushed: true,
    });
    const meta = this.#environment.openDB<string | number, string>({
      name: 'meta',
      encoding: 'msgpack',
    });
    const version = meta.get(SCHEMA_KEY);
    if (version === undefined) meta.putSync(SCHEMA_KEY, SCHEMA_VERSION);
    else refuseNewer(version, `the store in ${directory}`);
    this.#handles = this.#environment.openDB({ name: 'handles', encoding: 'binary' });
  }

  load(now: Moment): Restored[] {
    const restored: Restored[] = [];
    for (const { key, value } of this.#handles.getRange()) {
      restored.push(this.#decode(key, value, now));
    }
    return restored;
  }

  async write(batch: Batch): Promise<void> {
    // lmdb-js makes one transaction of what is put in one turn of the event loop.
    const writes: Promise<unknown>[] = [];
    for (const [id, handle] of batch) {
      writes.push(
        handle === null
          ? this.#handles.remove(id)
          : this.#handles.put(id, encodeHandle(handle, this.#bootId)),
      );
    }
    await Promise.all(writes);
  }

  /** One flush serves all who wait for it. */
  async flushed(): Promise<void> {
    await this.#environment.flushed;
  }

  async close(): Promise<void> {
    await this.flushed();
    await this.#environment.close();
  }

  #decode(id: string, bytes: Buffer, now: Moment): Restored {
    try {
      return decodeHandle(bytes, this.#bootId, now);
    } catch (error) {
      if (error instanceof WireError || error instanceof MessageError) {
        throw new StoreError(`the store's record of handle ${id} is damaged: ${error.message}`);
      }
      throw error;
    }
  }
}
