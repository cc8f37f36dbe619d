// SPDX-License-Identifier: GPL-3.0-or-later
// The payloads with which lost descriptors are made again (docs/protocol.md 2.2).

import type { Handle, Reopening } from '../core/handle.js';
import type { Remade } from '../core/remaking.js';
import { pack } from '../shared/message.js';
import { handleRecord, type Lock } from '../wire/records.js';
import { MAX_PAYLOAD_BYTES, type Packet, PacketError } from './packet.js';

const DESCRIPTION_BYTES = 16;
const REMAKE_BYTES = 28;
const REMADE_BYTES = 56;
const LOCK_BYTES = 24;
const LOCKS_MAX = Math.floor(MAX_PAYLOAD_BYTES / LOCK_BYTES);

/** null: the file cannot be opened by a file handle. Throws PacketError. */
export function decodeDescription({ payload }: Packet): Reopening | null {
  if (payload.length < 4) throw new PacketError('DESCRIBE answered too shortly');
  if (payload.readInt32LE(0) !== 0) return null;
  if (payload.length < DESCRIPTION_BYTES) throw new PacketError('description too short');
  const openFlags = payload.readInt32LE(4);
  const fileHandleType = payload.readInt32LE(8);
  const handleEnd = DESCRIPTION_BYTES + payload.readUInt16LE(12);
  const end = handleEnd + payload.readUInt16LE(14);
  if (end > payload.length) throw new PacketError('description shorter than it says');
  const fileHandle = payload.toString('hex', DESCRIPTION_BYTES, handleEnd);
  const fileSystem = payload.toString('latin1', handleEnd, end);
  const isComplete = fileHandle !== '' && fileSystem !== '';
  if (!isComplete || openFlags < 0 || fileHandleType < 0) return null;
  return { openFlags, fileHandleType, fileHandle, fileSystem };
}

/** null: it does not fit into a packet, or its file cannot be opened again. */
export function encodeRemake({ record, reopening, note }: Handle): Buffer | null {
  if (reopening === null) return null;
  const parts = [
    Buffer.from(reopening.fileHandle, 'hex'),
    Buffer.from(reopening.fileSystem, 'latin1'),
    Buffer.from(record.path, 'latin1'),
    pack(handleRecord.encode(record)),
    Buffer.from(note ?? '', 'hex'),
  ];
  const fixed = Buffer.alloc(REMAKE_BYTES);
  fixed.writeBigUInt64LE(record.ino, 0);
  fixed.writeInt32LE(reopening.openFlags, 8);
  fixed.writeInt32LE(reopening.fileHandleType, 12);
  for (const [index, { length }] of parts.entries()) {
    if (length > MAX_PAYLOAD_BYTES) return null;
    fixed.writeUInt16LE(length, 16 + 2 * index);
  }
  const payload = Buffer.concat([fixed, ...parts]);
  return payload.length > MAX_PAYLOAD_BYTES ? null : payload;
}

/** Throws PacketError. */
export function decodeRemade({ payload }: Packet): Remade {
  if (payload.length < 4) throw new PacketError('REMAKE answered too shortly');
  const status = payload.readInt32LE(0);
  if (status !== 0) return { made: false, status };
  if (payload.length < REMADE_BYTES) throw new PacketError('REMAKE answered too shortly');
  return {
    made: true,
    stat: {
      dev: payload.readBigUInt64LE(8),
      ino: payload.readBigUInt64LE(16),
      nlink: payload.readBigUInt64LE(24),
      sizeBytes: payload.readBigUInt64LE(32),
      mtimeNs: payload.readBigInt64LE(40),
      ctimeNs: payload.readBigInt64LE(48),
    },
  };
}

/** As many payloads of LOCK as it takes. */
export function* encodeLocks(locks: readonly Lock[]): Generator<Buffer> {
  for (let first = 0; first < locks.length; first += LOCKS_MAX) {
    const some = locks.slice(first, first + LOCKS_MAX);
    const payload = Buffer.alloc(some.length * LOCK_BYTES);
    for (const [index, { start, count, exclusive }] of some.entries()) {
      payload.writeBigUInt64LE(start, index * LOCK_BYTES);
      payload.writeBigUInt64LE(count, index * LOCK_BYTES + 8);
      payload.writeBigUInt64LE(exclusive ? 1n : 0n, index * LOCK_BYTES + 16);
    }
    yield payload;
  }
}
