// SPDX-License-Identifier: GPL-3.0-or-later
// LMDB maps its file and trusts it: given another file, the process dies of
// SIGSEGV. So the two meta pages are looked at before it is opened.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { StoreError } from './store.js';

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const META_BYTES = 160;

interface Meta {
  readonly pageBytes: number;
  readonly lastPage: bigint;
  readonly transaction: bigint;
}

/** The file is absent, empty, or an LMDB environment that is not cut short; else throws StoreError. */
export function checkEnvironment(file: string): void {
  const fd = openIfPresent(file);
  if (fd === null) return;
  try {
    const sizeBytes = fstatSync(fd).size;
    if (sizeBytes === 0) return;
    const first = readMeta(fd, 0);
    const second = first === null ? null : readMeta(fd, first.pageBytes);
    if (first === null || second === null) {
      throw new StoreError(`${file} is not an LMDB environment; move it away to start anew`);
    }
    const { lastPage, pageBytes } = first.transaction > second.transaction ? first : second;
    if (BigInt(sizeBytes) < (lastPage + 1n) * BigInt(pageBytes)) {
      throw new StoreError(`${file} is cut short (${sizeBytes} bytes); move it away to start anew`);
    }
  } finally {
    closeSync(fd);
  }
}

function openIfPresent(file: string): number | null {
  try {
    return openSync(file, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
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
  const lastPage = page.readBigUInt64LE(144);
  const transaction = page.readBigUInt64LE(152);
  return { pageBytes, lastPage, transaction };
}
