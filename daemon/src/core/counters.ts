// SPDX-License-Identifier: GPL-3.0-or-later

export type Tally = Record<string, number>;

export function count(tally: Tally, key: string): void {
  tally[key] = (tally[key] ?? 0) + 1;
}

/** Since persistd started. */
export class Counters {
  events = 0;
  grants = 0;
  disconnects = 0;
  resumes = 0;
  expiries = 0;
  supersedes = 0;
  closes = 0;
  readonly unsafeOpens = { allowed: 0, refused: 0 };
  remakes = 0;
  illegalTransitions = 0;
  unknownCookies = 0;
  /** By reason. */
  readonly refusals: Tally = {};
  /** By reason. */
  readonly failures: Tally = {};
}
