// SPDX-License-Identifier: GPL-3.0-or-later

import { readFile } from 'node:fs/promises';
import { durationText } from '../durations.js';
import { errnoOf } from '../errors.js';
import { type Finding, ok, warn } from './finding.js';

const SUSPENDED_WARN_MS = 1000;

/** Deadlines run on CLOCK_MONOTONIC, which stands still while the host is suspended. */
export async function checkClocks(startedAtMs: number | null, nowMs: number): Promise<Finding> {
  const check = 'clock';
  try {
    const [uptime = ''] = (await readFile('/proc/uptime', 'utf8')).split(' ');
    const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const suspendedMs = Number(uptime) * 1000 - Number(process.hrtime.bigint() / 1_000_000n);
    if (startedAtMs !== null && startedAtMs > nowMs + 1000) {
      return warn(
        check,
        `persistd was started ${durationText(startedAtMs - nowMs)} from now: the wall clock was set back`,
        'Times shown for older handles are off; deadlines are not. Check the time service.',
      );
    }
    if (suspendedMs > SUSPENDED_WARN_MS) {
      return warn(
        check,
        `the host was suspended for ${durationText(suspendedMs)} since it booted; deadlines stood still meanwhile`,
        'Do not let a file server suspend.',
      );
    }
    return ok(check, `monotonic and wall clock agree, boot id ${bootId}`);
  } catch (error) {
    return warn(check, `the clocks cannot be compared (${errnoOf(error)})`, 'Mount /proc.');
  }
}
