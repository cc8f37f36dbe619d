// SPDX-License-Identifier: GPL-3.0-or-later
/** A local process that wants a kernel lock all the time (fdtool poll-ofd). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface Contender {
  /** How often it tried, and how often it had the lock. */
  stop(): Promise<{ tries: number; locked: number }>;
}

export async function contend(path: string, start: number, length: number): Promise<Contender> {
  const tool = join(process.cwd(), 'build/test-tools/fdtool');
  const child = spawn(tool, ['poll-ofd', path, String(start), String(length)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface(child.stdout);
  await once(lines, 'line'); // it has the file open and tries
  return {
    stop: async () => {
      child.stdin.end();
      const [result] = await once(lines, 'line');
      const [tries = 0, locked = 0] = String(result).match(/\d+/g)?.map(Number) ?? [];
      return { tries, locked };
    },
  };
}
