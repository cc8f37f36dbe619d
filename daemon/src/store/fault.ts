// SPDX-License-Identifier: GPL-3.0-or-later
// What goes wrong with a disk, for people.

import { constants } from 'node:os';
import { StoreFault } from './store.js';

const CHECK_DISK = 'Look for errors of the disk (dmesg).';

const REMEDIES: Readonly<Record<number, string>> = {
  [constants.errno.ENOSPC]: 'Make room on its file system.',
  [constants.errno.EDQUOT]: 'Raise the quota on its file system.',
  [constants.errno.EROFS]: 'Mount its file system read-write again (dmesg may tell why it is not).',
  [constants.errno.EACCES]: "Give persistd's user the right to write it.",
  [constants.errno.EPERM]: "Give persistd's user the right to write it (lsattr may tell more).",
  [constants.errno.EIO]: CHECK_DISK,
};

/** Of lmdb-js, which gives errno or a code of LMDB's own as `code`, or of Node. */
export function storeFault(error: unknown): StoreFault {
  if (error instanceof StoreFault) return error;
  if (!(error instanceof Error)) return new StoreFault(String(error), CHECK_DISK);
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  const number = typeof code === 'number' ? code : typeof errno === 'number' ? -errno : 0;
  // lmdb-js adds page numbers behind a colon
  const [reason = ''] = error.message.split(': Attempting');
  return new StoreFault(reason, REMEDIES[number] ?? CHECK_DISK);
}

export function silentFault(waitedMs: number): StoreFault {
  return new StoreFault(`no answer from the disk within ${waitedMs} ms`, CHECK_DISK);
}
