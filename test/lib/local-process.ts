// SPDX-License-Identifier: GPL-3.0-or-later
/** Local processes that touch a file, and the keeper's marks on it. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Mailbox } from './mailbox.js';

/** A process's name as the kernel knows it. */
export function processName(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
}

/** Opens a file for writing and closes it at once, in a process that is gone then. */
export function openQuickly(path: string): void {
  spawnSync('sh', ['-c', ': >>"$0"', path]);
}

/** truncate(2), which Node does not use, in a process that is gone then; its pid. */
export function truncateByPath(path: string, size: number): number {
  return spawnSync(resolve('build/test-tools/fdtool'), ['truncate', path, String(size)]).pid;
}

/** test/tools/mapped_writer.c on a file: writes and closes when told. */
export async function mappedWriter(path: string) {
  const child = spawn(resolve('build/test-tools/mapped_writer'), [path], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const said = new Mailbox<string>('word of mapped_writer');
  createInterface(child.stdout).on('line', (line) => said.put(line));
  await said.take((word) => word === 'mapped');
  const step = (word: string) => {
    child.stdin.write('\n');
    return said.take((one) => one === word);
  };
  return {
    pid: child.pid ?? 0,
    write: () => step('written'),
    close: () => step('closed'),
    end: async () => {
      child.stdin.end('\n\n\n');
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}

/** How many files a keeper has marked, with whatever facility. */
export function marks(pid: number): number {
  const infos = readdirSync(`/proc/${pid}/fdinfo`).map((fd) => {
    try {
      return readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
    } catch {
      return ''; // closed meanwhile
    }
  });
  return infos.join('\n').match(/^(fanotify ino|inotify wd)/gm)?.length ?? 0;
}
