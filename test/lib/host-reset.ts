// SPDX-License-Identifier: GPL-3.0-or-later
/** What a reset of the host does, but for the power cut. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DevSamba, Part } from './dev-samba.js';

const IN_ORDER: readonly Part[] = ['keeper', 'persistd', 'smbd'];

/** All processes of this instance's smbd, as scripts/dev-samba knows them. */
function smbdPids(samba: DevSamba): number[] {
  const open = ['/proc', '-maxdepth', '3', '-path', '/proc/[0-9]*/fd/*'];
  const files = ['-lname', join(samba.dir, 'samba', '*'), '-printf', '%h\n'];
  try {
    const out = execFileSync('find', [...open, ...files], { stdio: ['ignore', 'pipe', 'ignore'] });
    return pidsIn(String(out));
  } catch (error) {
    // a process ended meanwhile
    return pidsIn(String((error as { stdout: Buffer }).stdout));
  }
}

const pidsIn = (paths: string): number[] => [
  ...new Set([...paths.matchAll(/^\/proc\/(\d+)\//gm)].map(([, pid]) => Number(pid))),
];

function isGone(pid: number): boolean {
  if (!existsSync(`/proc/${pid}`)) return true;
  return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

/** Everything dies at once, and what smbd has in its lock directory is gone. */
export async function killHost(samba: DevSamba): Promise<void> {
  const { pids } = samba.status();
  const all = new Set([...smbdPids(samba), ...Object.values(pids).filter((pid) => pid !== null)]);
  for (const pid of all) process.kill(pid, 'SIGKILL');
  await samba.until('the end of all', () => [...all].every(isGone));
  const lockDirectory = join(samba.dir, 'samba', 'lock');
  for (const name of readdirSync(lockDirectory)) {
    rmSync(join(lockDirectory, name), { recursive: true });
  }
}

export async function bootHost(samba: DevSamba, order = IN_ORDER): Promise<void> {
  for (const part of order) await samba.verb('restart', part);
}
