// SPDX-License-Identifier: GPL-3.0-or-later

import { statfs } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import { type Finding, fail, ok, warn } from './finding.js';

const WARN_BYTES = 256 * 1024 * 1024;
const FAIL_BYTES = 16 * 1024 * 1024;

/** A store that is full can record no more grants; shares then work as without the module. */
export async function checkStore(storePath: string): Promise<Finding> {
  const check = 'store';
  try {
    const status = await statfs(storePath);
    const freeBytes = status.bavail * status.bsize;
    const message = `${storePath} has ${Math.floor(freeBytes / 1024 / 1024)} MiB free`;
    const remedy = 'Make room on that file system; persistd then goes on by itself.';
    if (freeBytes < FAIL_BYTES) {
      return fail(check, message, remedy);
    }
    return freeBytes < WARN_BYTES ? warn(check, message, remedy) : ok(check, message);
  } catch (error) {
    return fail(
      check,
      `${storePath} cannot be examined (${errnoOf(error)})`,
      "Look into persistd's log, and restart persistd if the directory was removed.",
    );
  }
}
