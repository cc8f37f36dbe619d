// SPDX-License-Identifier: GPL-3.0-or-later
// The run directory: who can enter it may speak for any client, so it is ours
// alone, and one persistd's alone.

import { lstatSync, mkdirSync } from 'node:fs';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { takeLock } from './lock.js';
import { hasCode, StartError } from './start-error.js';

const LOCK_NAME = 'persistd.lock.sock';

/** Makes it if need be. Throws StartError unless it is a directory, ours and 0700. */
export function openRunDirectory(directory: string): void {
  makeDirectory(directory);
  const stat = lstatSync(directory);
  if (!stat.isDirectory()) throw new StartError(`${directory} is not a directory`);
  const uid = process.geteuid?.();
  if (stat.uid !== uid) {
    throw new StartError(`${directory} belongs to uid ${stat.uid}, persistd runs as uid ${uid}`);
  }
  if ((stat.mode & 0o777) !== 0o700) {
    const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
    throw new StartError(`${directory} has mode ${mode}; it must be 0700: chmod 0700 ${directory}`);
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return;
    throw new StartError(
      `cannot make ${directory}: ${error instanceof Error ? error.message : error}`,
    );
  }
}

/** Takes the run directory for this process, until the returned server closes. Throws StartError. */
export async function lockRunDirectory(directory: string): Promise<Server> {
  const path = join(directory, LOCK_NAME);
  const lock = await takeLock(path).catch((error: Error) => {
    throw new StartError(`cannot listen on ${path}: ${error.message}`);
  });
  if (lock === null) throw new StartError(`another persistd already runs in ${directory}`);
  return lock;
}
