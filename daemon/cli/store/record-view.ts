// SPDX-License-Identifier: GPL-3.0-or-later
// A record of the store as `persistctl store dump --json` shows it: with all that
// is in it, under the names of docs/store.md.

import type { Stored } from '../../src/store/record.js';

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

const PATH_KEYS: ReadonlySet<string> = new Set(['path', 'connectPath', 'knownAs']);

export function recordView(key: string, stored: Stored): { [key: string]: Json } {
  return { key, ...(json(stored) as { [key: string]: Json }) };
}

function json(value: unknown): Json {
  if (typeof value === 'bigint') {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : String(value);
  }
  if (Array.isArray(value)) return value.map(json);
  if (typeof value !== 'object' || value === null) return value as Json;
  return Object.fromEntries(Object.entries(value).flatMap(([key, item]) => field(key, item)));
}

/** Of a path that is not UTF-8 the bytes are shown, too. */
function field(key: string, value: unknown): [string, Json][] {
  if (!PATH_KEYS.has(key) || typeof value !== 'string') return [[key, json(value)]];
  const bytes = Buffer.from(value, 'latin1');
  const text = bytes.toString('utf8');
  const isExact = Buffer.from(text, 'utf8').equals(bytes);
  return isExact
    ? [[key, text]]
    : [
        [key, text],
        [`${key}Hex`, bytes.toString('hex')],
      ];
}
