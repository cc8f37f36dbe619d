// SPDX-License-Identifier: GPL-3.0-or-later
// The run directory: who can enter it may speak for any client, so it is ours
// alone, and one persistd's alone.

import { lstatSync, mkdirSync, renameSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
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

/**
 * Takes the run directory for this process, until the returned server closes.
 * The lock is a socket that listens: the kernel refuses connections to that of
 * a process that died, so a stale one is known for sure.
 */
export async function lockRunDirectory(directory: string): Promise<Server> {
  const path = join(directory, LOCK_NAME);
  for (let attempt = 0; attempt < 10; attempt++) {
    const server = await listen(path);
    if (server !== null) return server;
    const found = lstatSync(path, { throwIfNoEntry: false, bigint: true });
    if (found === undefined) continue;
    if (await isAlive(path)) break;
    removeStale(path, found);
  }
  throw new StartError(`another persistd already runs in ${directory}`);
}

/** null: something is at that path. */
function listen(path: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => {
      if (hasCode(error, 'EADDRINUSE')) resolve(null);
      else reject(new StartError(`cannot listen on ${path}: ${error.message}`));
    });
    server.listen(path, () => resolve(server));
  });
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      resolve(!hasCode(error, 'ECONNREFUSED') && !hasCode(error, 'ENOENT'));
    });
  });
}

/** Two starters may both have found the stale lock; the slower must not remove the other's. */
function removeStale(path: string, found: { ino: bigint; mtimeNs: bigint }): void {
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
    const moved = lstatSync(aside, { bigint: true });
    if (moved.ino === found.ino && moved.mtimeNs === found.mtimeNs) unlinkSync(aside);
    else renameSync(aside, path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}
