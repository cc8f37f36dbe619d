// SPDX-License-Identifier: GPL-3.0-or-later

import { readFileSync } from 'node:fs';
import { type Moment, NS_PER_MS } from './core/handle.js';

/** process.hrtime is CLOCK_MONOTONIC, which smbd and the keeper read as well. */
export function now(): Moment {
  return {
    monotonicNs: process.hrtime.bigint(),
    realtimeNs: BigInt(Date.now()) * NS_PER_MS,
  };
}

/** Says whether monotonic times of two processes compare; random(4). 32 hexadecimal digits. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'ascii').trim().replaceAll('-', '');
}
