// SPDX-License-Identifier: GPL-3.0-or-later
/** Which smbd child serves a connection, and what processes have open (proc(5)). */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { childrenOf } from '../bench/processes.js';

export const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** The sockets of connections from this port, the server's end on loopback among them. */
function socketsTo(clientPort: number): string[] {
  const remote = `:${clientPort.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) =>
    readFileSync(table, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , other = '', , , , , , , inode]) => other.endsWith(remote) && inode !== '0')
      .map((fields) => `socket:[${fields[9]}]`),
  );
}

/** What its descriptors are; those that go meanwhile are left out. */
function openFiles(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  if (!existsSync(directory)) return [];
  return readdirSync(directory).flatMap((fd) => {
    try {
      return [readlinkSync(`${directory}/${fd}`)];
    } catch {
      return [];
    }
  });
}

export function childOf(smbd: number, clientPort: number): number | undefined {
  const sockets = new Set(socketsTo(clientPort));
  return [...childrenOf(smbd)].find((pid) => openFiles(pid).some((file) => sockets.has(file)));
}
