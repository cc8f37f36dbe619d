// SPDX-License-Identifier: GPL-3.0-or-later
// The payloads that the keeper sends.

import type { Content } from '../core/handle.js';
import type { KeeperEntry } from '../core/keeper-view.js';
import type { Touch } from '../core/local-access.js';
import type { InfoView } from '../shared/admin.js';
import { MessageError, unpack } from '../shared/message.js';
import { WireError } from '../wire/codec.js';
import { type HandleRecord, handleRecord } from '../wire/records.js';
import { type Packet, PacketError } from './packet.js';

const FIXED_BYTES = 84;
const FACILITIES = ['none', 'fanotify', 'inotify'] as const;
const TOUCHES = [null, 'opened', 'modified'] as const;
const STATES = [null, 'held', 'parked', 'orphaned'] as const;

/** Throws PacketError. */
export function decodeEntry({ cookie, payload }: Packet): KeeperEntry {
  if (payload.length < FIXED_BYTES) throw new PacketError('ENTRY too short');
  const state = STATES[payload.readUInt8(0)];
  if (state === null || state === undefined) {
    throw new PacketError(`ENTRY with state ${payload.readUInt8(0)}`);
  }
  const recordStart = FIXED_BYTES + payload.readUInt16LE(76) + payload.readUInt16LE(78);
  const recordEnd = recordStart + payload.readUInt16LE(80);
  if (recordEnd > payload.length) throw new PacketError('ENTRY shorter than it says');
  return {
    id: cookie,
    state,
    pid: BigInt(payload.readUInt32LE(4)),
    since: {
      monotonicNs: payload.readBigUInt64LE(8),
      realtimeNs: payload.readBigUInt64LE(16),
    },
    stat: {
      dev: payload.readBigUInt64LE(24),
      ino: payload.readBigUInt64LE(32),
      nlink: payload.readBigUInt64LE(40),
      sizeBytes: payload.readBigUInt64LE(48),
      mtimeNs: payload.readBigInt64LE(56),
      ctimeNs: payload.readBigInt64LE(64),
    },
    record: decodeRecord(payload.subarray(recordStart, recordEnd), cookie),
  };
}

/** null: not the record of this handle. */
function decodeRecord(bytes: Buffer, cookie: string): HandleRecord | null {
  try {
    const record = handleRecord.decode(unpack(bytes), 'record');
    return record.cookie === cookie ? record : null;
  } catch (error) {
    if (error instanceof MessageError || error instanceof WireError) return null;
    throw error;
  }
}

export function decodeInfo({ payload }: Packet): NonNullable<InfoView['keeper']> {
  if (payload.length < 28) throw new PacketError('INFO too short');
  return {
    pid: payload.readUInt32LE(0),
    used: payload.readUInt32LE(4),
    limit: payload.readUInt32LE(8),
    refused: Number(payload.readBigUInt64LE(12)),
    protocolErrors: Number(payload.readBigUInt64LE(20)),
    localAccess: FACILITIES[payload.length < 32 ? 0 : payload.readUInt32LE(28)] ?? 'none',
    remakes: payload.length >= 36 && payload.readUInt32LE(32) === 1,
  };
}

/** null: it does not watch. */
export function decodeWatch({ payload }: Packet): Content | null {
  if (payload.length < 20 || payload.readInt32LE(0) !== 0) return null;
  return { sizeBytes: payload.readBigUInt64LE(4), mtimeNs: payload.readBigInt64LE(12) };
}

/** What came of an UPGRADE: the keeper that serves, and why no other does; null: another does. */
export interface Upgrade {
  readonly pid: number;
  readonly refusal: string | null;
}

/** Throws PacketError. */
export function decodeUpgrade({ payload }: Packet): Upgrade {
  if (payload.length < 8) throw new PacketError('UPGRADE too short');
  const status = payload.readInt32LE(0);
  const pid = payload.readUInt32LE(4);
  if (status === 0) return { pid, refusal: null };
  return { pid, refusal: payload.toString('utf8', 8) || `errno ${-status}` };
}

/** Throws PacketError. A process may give itself any name. */
export function decodeTouched({ cookie, payload }: Packet): Touch {
  if (payload.length < 24) throw new PacketError('TOUCHED too short');
  const how = TOUCHES[payload.readUInt8(0)];
  if (how === null || how === undefined) {
    throw new PacketError(`TOUCHED of kind ${payload.readUInt8(0)}`);
  }
  const name = payload.toString('utf8', 8, 24).split('\0', 1)[0] ?? '';
  const process = name.replaceAll(/[^\x20-\x7e]/g, '?');
  return { id: cookie, how, pid: payload.readUInt32LE(4), process };
}

/** 0 or a negative errno. */
export function decodeStatus({ payload }: Packet): number {
  if (payload.length < 4) throw new PacketError('status too short');
  return payload.readInt32LE(0);
}
