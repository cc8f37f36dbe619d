// SPDX-License-Identifier: GPL-3.0-or-later
// The smbd children that said hello.

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

export function isAlive(pid: bigint): boolean {
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return !hasCode(error, 'ESRCH');
  }
}
