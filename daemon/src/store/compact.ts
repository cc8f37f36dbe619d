// SPDX-License-Identifier: GPL-3.0-or-later
// A smaller file with the same records takes the place of the store's file.
// Whoever dies at whatever point leaves one whole file in its place.

import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { entries, inspectStore, readStore } from './inspect.js';
import { DATA_FILE } from './lmdb-store.js';
import { StoreError } from './store.js';

export interface Compaction {
  readonly records: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

/** By its holder alone (lockStore). Throws StoreError, or the system's error; then all is as it was. */
export async function compactStore(directory: string): Promise<Compaction> {
  await refuseProblems(directory);
  const file = join(directory, DATA_FILE);
  const aside = `${file}.before-compact`;
  const copyDirectory = join(directory, 'compact.tmp');
  const copy = join(copyDirectory, DATA_FILE);
  // of one that was killed; what it left in place has just been read
  rmSync(copyDirectory, { recursive: true, force: true });
  rmSync(aside, { force: true });
  const before = statSync(file);
  try {
    mkdirSync(copyDirectory, { mode: 0o700 });
    await readStore(directory, (environment) => environment.backup(copyDirectory, true));
    const records = await sameRecords(directory, copyDirectory);
    chownSync(copy, before.uid, before.gid);
    chmodSync(copy, before.mode & 0o777);
    flush(copy);
    const bytesAfter = statSync(copy).size;
    linkSync(file, aside);
    renameSync(copy, file);
    flush(directory);
    try {
      await refuseProblems(directory);
    } catch (error) {
      renameSync(aside, file);
      throw error;
    }
    return { records, bytesBefore: before.size, bytesAfter };
  } finally {
    rmSync(copyDirectory, { recursive: true, force: true });
    rmSync(aside, { force: true });
  }
}

async function refuseProblems(directory: string): Promise<void> {
  const { problems } = await inspectStore(directory);
  const [first] = problems;
  if (first === undefined) return;
  const where = first.key === null ? '' : `record ${first.key}: `;
  throw new StoreError(
    `the store in ${directory} has ${problems.length} problems, the first: ${where}${first.reason}`,
  );
}

/** Their number. */
async function sameRecords(directory: string, copyDirectory: string): Promise<number> {
  const [original, copied] = [await readAll(directory), await readAll(copyDirectory)];
  const isSame =
    original.size === copied.size &&
    [...original].every(([key, bytes]) => copied.get(key)?.equals(bytes) === true);
  if (!isSame) throw new StoreError(`the compacted copy of ${directory} has not the same records`);
  return copied.size;
}

function readAll(directory: string): Promise<Map<string, Buffer>> {
  return readStore(
    directory,
    (environment) =>
      new Map([...entries(environment)].map(({ key, bytes }) => [key, Buffer.from(bytes)])),
  );
}

function flush(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
