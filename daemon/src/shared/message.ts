// SPDX-License-Identifier: GPL-3.0-or-later
// One message of smbd.sock, admin.sock and watch.sock: the msgpack array
// [version, type, seq, body] of docs/protocol.md section 1.

import { addExtension, Packr } from 'msgpackr';

export const PROTOCOL_VERSION = 1;

/** Requests longer than this are dropped. Replies to persistctl may be longer. */
export const MAX_REQUEST_BYTES = 1_048_576;

export type Body = Readonly<Record<string, unknown>>;

export interface Message {
  readonly type: string;
  readonly seq: number;
  readonly body: Body;
}

/** The bytes are no message of this protocol. */
export class MessageError extends Error {
  override readonly name = 'MessageError';
}

/**
 * msgpackr writes a bigint as int64 and a number from 2^32 on as float64, where
 * msgpack-c writes uint64. The golden bytes are msgpack-c's, so such a number
 * travels in this wrapper, whose packer writes the nine bytes itself.
 */
class Uint64 {
  constructor(readonly value: bigint) {}
}

interface Room {
  readonly target: Uint8Array;
  readonly targetView: DataView;
  readonly position: number;
}

addExtension({
  Class: Uint64,
  type: 0x75,
  pack(this: unknown, wrapped: unknown, allocate: unknown) {
    const room = (allocate as (size: number) => Room)(9);
    room.target[room.position] = 0xcf;
    room.targetView.setBigUint64(room.position + 1, (wrapped as Uint64).value);
  },
} as unknown as Parameters<typeof addExtension>[0]);

// 'auto' is a number where it is exact, else a bigint; the library's types lack it.
const int64AsType = 'auto' as 'bigint';
const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType });

const UINT32_LIMIT = 0x1_0000_0000;
const INT32_MIN = -0x8000_0000;

function integer(value: bigint): number | bigint | Uint64 {
  if (value >= UINT32_LIMIT) return new Uint64(value);
  return value >= INT32_MIN ? Number(value) : value;
}

/** The same value with every integer in the form that packs smallest. */
function packable(value: unknown): unknown {
  if (typeof value === 'bigint') return integer(value);
  if (typeof value === 'number') {
    return Number.isSafeInteger(value) && (value >= UINT32_LIMIT || value < INT32_MIN)
      ? integer(BigInt(value))
      : value;
  }
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(packable);
  const packed: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (item !== undefined) packed[key] = packable(item);
  }
  return packed;
}

/** msgpack as msgpack-c would write it. Absent (undefined) keys are left out. */
export function pack(value: unknown): Buffer {
  return packr.pack(packable(value));
}

/**
 * Throws MessageError on anything but one whole msgpack value.
 * Integers that a number cannot hold exactly come as bigint.
 */
export function unpack(bytes: Uint8Array): unknown {
  try {
    return packr.unpack(bytes);
  } catch (error) {
    throw new MessageError(`not msgpack: ${error instanceof Error ? error.message : error}`);
  }
}

export function encodeMessage(type: string, seq: number, body: Body): Buffer {
  return pack([PROTOCOL_VERSION, type, seq, body]);
}

/** Throws MessageError. `limitBytes` is for the receiver of requests. */
export function decodeMessage(bytes: Uint8Array, limitBytes = Number.POSITIVE_INFINITY): Message {
  if (bytes.length > limitBytes) {
    throw new MessageError(`${bytes.length} bytes, more than ${limitBytes}`);
  }
  const value = unpack(bytes);
  if (!Array.isArray(value) || value.length !== 4) {
    throw new MessageError('not an array of four');
  }
  const [version, type, seq, body] = value as unknown[];
  if (version !== PROTOCOL_VERSION) throw new MessageError(`version ${String(version)}`);
  if (typeof type !== 'string') throw new MessageError('type is not a string');
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 0) {
    throw new MessageError('seq is not an unsigned integer');
  }
  if (!isMap(body)) throw new MessageError('body is not a map');
  return { type, seq, body };
}

export function isMap(value: unknown): value is Body {
  return (
    typeof value === 'object' &&
    value !== null &&
    (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)
  );
}
