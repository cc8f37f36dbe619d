// SPDX-License-Identifier: GPL-3.0-or-later
// Wire values as people read them.

import { NS_PER_MS } from './handle.js';

/** Inside, a path has one character per byte (wire/codec.ts). */
export function pathText(path: string): string {
  return Buffer.from(path, 'latin1').toString('utf8');
}

/** RFC 3339, UTC. */
export function timeText(realtimeNs: bigint): string {
  return new Date(Number(realtimeNs / NS_PER_MS)).toISOString();
}

/** The first three fields of a GUID are little endian on the wire (MS-DTYP 2.3.4.2). */
export function guidText(hex: string): string {
  const bytes = hex.match(/../g) ?? [];
  const order = [
    [3, 2, 1, 0],
    [5, 4],
    [7, 6],
    [8, 9],
    [10, 11, 12, 13, 14, 15],
  ];
  return order.map((group) => group.map((index) => bytes[index]).join('')).join('-');
}
