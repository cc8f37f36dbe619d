// SPDX-License-Identifier: GPL-3.0-or-later

import { UsageError } from './errors.js';

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof UNIT_MS;

const UNITS_FROM_LARGE: readonly Unit[] = ['d', 'h', 'm', 's'];

/** "90s", "5m", "1h30m" or "250ms" in milliseconds. A bare number is refused: of what? */
export function parseDurationMs(text: string): number {
  if (!/^(\d+(ms|[smhd]))+$/.test(text)) {
    throw new UsageError(
      `"${text}" is not a duration: write a number and a unit (ms, s, m, h, d), such as 90s or 1h30m`,
    );
  }
  let totalMs = 0;
  for (const [, digits, unit] of text.matchAll(/(\d+)(ms|[smhd])/g)) {
    totalMs += Number(digits) * UNIT_MS[unit as Unit];
  }
  if (!Number.isSafeInteger(totalMs)) {
    throw new UsageError(`"${text}" is too long a duration`);
  }
  return totalMs;
}

/** As precise as a person needs it: "43 s", "4 min 10 s", "12 min", "1 h 30 min", "2 d". */
export function durationText(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000);
  const names = { d: 'd', h: 'h', m: 'min', s: 's', ms: 'ms' } as const;
  const first = UNITS_FROM_LARGE.find((unit) => seconds * 1000 >= UNIT_MS[unit]);
  if (first === undefined) {
    return `${Math.floor(durationMs)} ms`;
  }
  const count = Math.floor((seconds * 1000) / UNIT_MS[first]);
  const next = UNITS_FROM_LARGE[UNITS_FROM_LARGE.indexOf(first) + 1];
  const restMs = (seconds * 1000) % UNIT_MS[first];
  const nextCount = next === undefined || count >= 10 ? 0 : Math.floor(restMs / UNIT_MS[next]);
  const tail = next === undefined || nextCount === 0 ? '' : ` ${nextCount} ${names[next]}`;
  return `${count} ${names[first]}${tail}`;
}

/** A moment as seen from now: "in 43 s", "12 s ago", "now". */
export function relativeText(momentMs: number, nowMs: number): string {
  const distanceMs = momentMs - nowMs;
  if (Math.abs(distanceMs) < 1000) {
    return 'now';
  }
  const text = durationText(Math.abs(distanceMs));
  return distanceMs > 0 ? `in ${text}` : `${text} ago`;
}
