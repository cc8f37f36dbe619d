// SPDX-License-Identifier: GPL-3.0-or-later

import { statfs } from 'node:fs/promises';
import type { InfoView } from '../../src/shared/admin.js';
import { inspectStore } from '../../src/store/inspect.js';
import { errnoOf } from '../errors.js';
import { type Finding, fail, ok, warn } from './finding.js';

const CHECK = 'store';
const WARN_BYTES = 256 * 1024 * 1024;
const FAIL_BYTES = 16 * 1024 * 1024;

/** With a store that cannot be written, handles live in the memory of this persistd only. */
export async function checkStore({
  storePath,
  storeFault,
}: Pick<InfoView, 'storePath' | 'storeFault'>): Promise<Finding> {
  if (storeFault !== null) {
    const { reason, remedy, unwritten } = storeFault;
    return fail(
      CHECK,
      `${storePath} cannot be written: ${reason}; what happened to ${unwritten} handles is known to this persistd only`,
      `Do not restart persistd now. ${remedy} persistd then writes what is missing by itself.`,
    );
  }
  try {
    const status = await statfs(storePath);
    const freeBytes = status.bavail * status.bsize;
    const message = `${storePath} has ${Math.floor(freeBytes / 1024 / 1024)} MiB free`;
    const remedy = 'Make room on that file system before it is full.';
    if (freeBytes < FAIL_BYTES) {
      return fail(CHECK, message, remedy);
    }
    return freeBytes < WARN_BYTES ? warn(CHECK, message, remedy) : ok(CHECK, message);
  } catch (error) {
    return fail(
      CHECK,
      `${storePath} cannot be examined (${errnoOf(error)})`,
      "Look into persistd's log, and restart persistd if the directory was removed.",
    );
  }
}

/** persistd does not run; it may be the store that keeps it from that. */
export async function checkStoppedStore(directory: string): Promise<Finding> {
  try {
    const { records, problems } = await inspectStore(directory);
    const [first] = problems;
    if (first === undefined)
      return ok(CHECK, `${directory}, ${records.size} records, all readable`);
    return fail(
      CHECK,
      `${directory}: ${problems.length} problems keep persistd from starting, the first: ${first.reason}`,
      `Run "persistctl store verify --store ${directory}". Start the persistd that wrote it, or move ${directory} away: persistd then learns from fdkeeper what handles there are.`,
    );
  } catch (error) {
    return warn(
      CHECK,
      `${directory}: ${error instanceof Error ? error.message : String(error)}`,
      'Name the right directory with --store. If it is this one and persistd refuses it, move it away: persistd then learns from fdkeeper what handles there are.',
    );
  }
}
