// SPDX-License-Identifier: GPL-3.0-or-later
// A store as it lies on disk, for persistctl. Also while persistd uses it: a
// reader of LMDB sees one committed state and keeps nobody waiting.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { MessageError } from '../shared/message.js';
import { hasCode } from '../start-error.js';
import { WireError } from '../wire/codec.js';
import { checkEnvironment, damagedPages } from './environment.js';
import { DATA_FILE, HANDLES, META, reserveLockFile, SCHEMA_KEY } from './lmdb-store.js';
import { decodeStored, refuseNewer, type Stored } from './record.js';
import { StoreError } from './store.js';

export interface Entry {
  readonly key: string;
  readonly bytes: Buffer;
}

export interface Problem {
  /** Of the record; null: it is about all of the store. */
  readonly key: string | null;
  readonly reason: string;
}

export interface Inspection {
  /** Of the environment; null: a new one, nothing was ever written. */
  readonly schemaVersion: number | null;
  readonly records: ReadonlyMap<string, Stored>;
  readonly problems: readonly Problem[];
}

/** There is none. */
export class NoStoreError extends StoreError {}

/** Throws StoreError if there is no store that can be read at all, or the system's error. */
export async function inspectStore(directory: string): Promise<Inspection> {
  return readStore(directory, (environment) => {
    const damages = damagedPages(join(directory, DATA_FILE));
    if (damages.length > 0) {
      // LMDB would end this process, or pass records over
      const problems = damages.map((reason) => ({ key: null, reason }));
      return { schemaVersion: null, records: new Map(), problems };
    }
    const schemaVersion = readSchemaVersion(environment);
    const records = new Map<string, Stored>();
    const problems: Problem[] = [];
    collect(problems, null, () => {
      if (schemaVersion !== null) refuseNewer(schemaVersion, 'the store');
    });
    for (const { key, bytes } of entries(environment)) {
      collect(problems, key, () => {
        const stored = decodeStored(bytes);
        const { cookie } = stored.record;
        if (cookie !== key) throw new StoreError(`the record is of another handle, ${cookie}`);
        records.set(key, stored);
      });
    }
    return {
      schemaVersion: typeof schemaVersion === 'number' ? schemaVersion : null,
      records,
      problems,
    };
  });
}

/** Opens it for reading for as long as `use` runs. Throws as inspectStore() does. */
export async function readStore<T>(
  directory: string,
  use: (environment: RootDatabase<Buffer, string>) => T | Promise<T>,
): Promise<T> {
  const file = join(directory, DATA_FILE);
  if (fileBytes(file) === 0) throw new NoStoreError(`there is none in ${directory}`);
  checkEnvironment(file);
  reserveIfWritable(directory);
  const environment = open<Buffer, string>({
    path: directory,
    noSubdir: false,
    encoding: 'binary',
    readOnly: true,
  });
  const transaction = environment.useReadTransaction();
  try {
    return await use(environment);
  } finally {
    transaction.done();
    await environment.close();
  }
}

/** As they are, in the order of their keys. */
export function* entries(environment: RootDatabase<Buffer, string>): Generator<Entry> {
  // without the database, which the types do not say, nothing was ever stored
  const handles = environment.openDB<Buffer, string>(HANDLES) as ReturnType<
    typeof environment.openDB<Buffer, string>
  > | null;
  if (!handles) return;
  for (const { key, value } of handles.getRange()) yield { key: String(key), bytes: value };
}

function readSchemaVersion(environment: RootDatabase<Buffer, string>): unknown {
  const meta = environment.openDB<unknown, string>(META) as ReturnType<
    typeof environment.openDB<unknown, string>
  > | null;
  return meta?.get(SCHEMA_KEY) ?? null;
}

/** On a file system that is read-only LMDB reads without a lock file. */
function reserveIfWritable(directory: string): void {
  try {
    reserveLockFile(directory);
  } catch (error) {
    if (!hasCode(error, 'EROFS')) throw error;
  }
}

/** 0 if it is not there. */
function fileBytes(file: string): number {
  try {
    return statSync(file).size;
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return 0;
    throw error;
  }
}

function collect(problems: Problem[], key: string | null, check: () => void): void {
  try {
    check();
  } catch (error) {
    const isKnown =
      error instanceof StoreError || error instanceof WireError || error instanceof MessageError;
    if (!isKnown) throw error;
    problems.push({ key, reason: error.message });
  }
}
