// SPDX-License-Identifier: GPL-3.0-or-later
// A directory for one process alone.

import { lstatSync, renameSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { hasCode } from './start-error.js';

/**
 * Takes `path` for this process, until the returned server closes; null: another
 * process has it. Throws the system's error if there can be no socket.
 * The lock is a socket that listens: the kernel refuses connections to that of
 * a process that died, so a stale one is known for sure.
 */
export async function takeLock(path: string): Promise<Server | null> {
  for (let attempt = 0; attempt < 10; attempt++) {
    const server = await listen(path);
    if (server !== null) return server;
    const found = lstatSync(path, { throwIfNoEntry: false, bigint: true });
    if (found === undefined) continue;
    if (await isAlive(path)) break;
    removeStale(path, found);
  }
  return null;
}

/** null: something is at that path. */
function listen(path: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => {
      if (hasCode(error, 'EADDRINUSE')) resolve(null);
      else reject(error);
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
