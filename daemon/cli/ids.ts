// SPDX-License-Identifier: GPL-3.0-or-later

import { UsageError } from './errors.js';

const ID_DIGITS = 32;
const SHORT_DIGITS = 8;

/** An id or the beginning of one, as persistd wants it: lower-case hexadecimal. */
export function parseId(text: string): string {
  const id = text.toLowerCase();
  if (!/^[0-9a-f]{1,32}$/.test(id)) {
    throw new UsageError(`"${text}" is no id: an id is up to ${ID_DIGITS} hexadecimal digits`);
  }
  return id;
}

export function shortId(id: string): string {
  return id.slice(0, SHORT_DIGITS);
}

/** How many digits tell these ids apart; never fewer than a short id has. */
export function digitsNeeded(ids: readonly string[]): number {
  for (let digits = SHORT_DIGITS; digits < ID_DIGITS; digits += 1) {
    if (new Set(ids.map((id) => id.slice(0, digits))).size === ids.length) {
      return digits;
    }
  }
  return ID_DIGITS;
}
