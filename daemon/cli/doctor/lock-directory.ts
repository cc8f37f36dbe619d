// SPDX-License-Identifier: GPL-3.0-or-later

import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import { type Finding, fail, ok, warn } from './finding.js';

// statfs(2), f_type
const FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
  [0x6969, 'nfs'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb2'],
]);
const NETWORK: ReadonlySet<string> = new Set(['nfs', 'cifs', 'smb2']);

/** Samba's own records of durable handles live in its lock directory. */
export async function checkLockDirectory(directory: string): Promise<Finding> {
  const check = 'lock directory';
  try {
    if (!(await stat(directory)).isDirectory()) {
      return fail(
        check,
        `${directory} is not a directory`,
        'Correct "lock directory" in smb.conf.',
      );
    }
    await access(directory, constants.W_OK | constants.X_OK);
    const type = FILE_SYSTEMS.get(Number((await statfs(directory)).type)) ?? 'disk';
    if (NETWORK.has(type)) {
      return warn(
        check,
        `${directory} is on ${type}, where Samba's databases are slow and their locks uncertain`,
        'Point "lock directory" in smb.conf at a local file system.',
      );
    }
    return ok(check, `${directory}, writable, on ${type}`);
  } catch (error) {
    return fail(
      check,
      `${directory} is not usable (${errnoOf(error)})`,
      'Start smbd once as root, which makes it, or correct "lock directory" in smb.conf.',
    );
  }
}
