// SPDX-License-Identifier: GPL-3.0-or-later
// The smbd children that said hello.

import { readFileSync } from 'node:fs';
import { hasCode } from './start-error.js';
import type { ServerId } from './wire/records.js';

export class Servers {
  readonly #pids = new Set<bigint>();

  hello({ pid }: ServerId): void {
    this.#pids.add(pid);
  }

  countAlive(): number {
    for (const pid of this.#pids) {
      if (!isAlive(pid)) this.#pids.delete(pid);
    }
    return this.#pids.size;
  }
}

/** A zombie is dead: it holds nothing any more. */
export function isAlive(pid: bigint): boolean {
  try {
    process.kill(Number(pid), 0);
    return !isZombie(pid);
  } catch (error) {
    return !hasCode(error, 'ESRCH') && !hasCode(error, 'ENOENT');
  }
}

/** proc(5): the state follows the name, which is in parentheses and may hold anything. */
function isZombie(pid: bigint): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')')).startsWith(') Z');
}
