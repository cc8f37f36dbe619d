// SPDX-License-Identifier: GPL-3.0-or-later
// LMDB maps its file and trusts it: given another file, the process dies of
// SIGSEGV. So the two meta pages, and those of its trees, are looked at before.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { hasCode } from '../start-error.js';
import { PageCheck, readTree, type Tree } from './pages.js';
import { StoreError } from './store.js';

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const META_BYTES = 160;

interface Meta {
  readonly pageBytes: number;
  readonly transaction: bigint;
  readonly free: Tree;
  readonly main: Tree;
}

/** The file is absent, empty, or an LMDB environment; else throws StoreError. */
export function checkEnvironment(file: string): void {
  withMeta(file, () => undefined);
}

/**
 * What is wrong with its pages. While a process writes the file, one has to hold a
 * transaction for reading, so that no page of the present state is used anew.
 */
export function damagedPages(file: string): string[] {
  return (
    withMeta(file, (fd, { pageBytes, free, main }) => {
      const check = new PageCheck({
        pageBytes,
        // LMDB's own account may be higher: it writes no page that is free already
        pages: BigInt(Math.floor(fstatSync(fd).size / pageBytes)),
        read: (page) => {
          const buffer = Buffer.alloc(pageBytes);
          readSync(fd, buffer, 0, pageBytes, Number(page) * pageBytes);
          return buffer;
        },
      });
      check.tree('the list of free pages', free);
      check.tree('the list of databases', main);
      return check.problems;
    }) ?? []
  );
}

/** null: there is no file, or an empty one. */
function withMeta<T>(file: string, use: (fd: number, meta: Meta) => T): T | null {
  const fd = openIfPresent(file);
  if (fd === null) return null;
  try {
    const sizeBytes = fstatSync(fd).size;
    if (sizeBytes === 0) return null;
    const first = readMeta(fd, 0);
    const second = first === null ? null : readMeta(fd, first.pageBytes);
    if (first === null || second === null) {
      throw new StoreError(`${file} is not an LMDB environment. ${START_ANEW}`);
    }
    return use(fd, first.transaction > second.transaction ? first : second);
  } finally {
    closeSync(fd);
  }
}

export const START_ANEW =
  'Move it away to start anew: persistd then learns from fdkeeper what handles there are, ' +
  'without their byte-range locks.';

function openIfPresent(file: string): number | null {
  try {
    return openSync(file, 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

/** MDB_page's header of 24 bytes, then MDB_meta, as lmdb-js lays them out. */
function readMeta(fd: number, position: number): Meta | null {
  const page = Buffer.alloc(META_BYTES);
  if (readSync(fd, page, 0, META_BYTES, position) !== META_BYTES) return null;
  if (page.readUInt32LE(24) !== MAGIC || page.readUInt16LE(28) !== DATA_VERSION) return null;
  const pageBytes = page.readUInt32LE(48);
  if (pageBytes < 512 || pageBytes > 65_536) return null;
  return {
    pageBytes,
    transaction: page.readBigUInt64LE(152),
    free: readTree(page, 48),
    main: readTree(page, 96),
  };
}
