// SPDX-License-Identifier: GPL-3.0-or-later
// A handle as bytes in the store (docs/store.md).

import { disconnectOf, type Handle, isEnded, type Moment, type State } from '../core/handle.js';
import { isMap, pack, unpack } from '../shared/message.js';
import {
  bin16,
  bool,
  type Codec,
  type Decoded,
  list,
  map,
  nullable,
  oneOf,
  path,
  text,
  uint32,
  uint64,
  bytes as wireBytes,
  withDefault,
} from '../wire/codec.js';
import { fileStat, handleRecord, lock } from '../wire/records.js';
import { type Restored, StoreError } from './store.js';

/** Grows when a field changes its meaning, or is added without a default for older records. */
export const SCHEMA_VERSION = 1;

const moment = map({ monotonicNs: uint64, realtimeNs: uint64 });

const disconnect = map({
  stat: nullable(fileStat),
  since: moment,
  deadlineNs: uint64,
  orphan: bool,
});

const ended = map({
  name: oneOf(['expired', 'superseded', 'closed', 'failed']),
  reason: text,
  at: moment,
});

const reopening = map({
  openFlags: uint32,
  fileHandleType: uint32,
  fileHandle: wireBytes,
  fileSystem: path,
});

const stored = map({
  schemaVersion: uint32,
  bootId: bin16,
  record: handleRecord,
  locks: list(lock),
  retained: bool,
  unlinked: bool,
  reopening: withDefault(nullable(reopening), null),
  keptBy: withDefault(nullable(text), null),
  note: withDefault(nullable(wireBytes), null),
  remade: withDefault(bool, false),
  levelLost: withDefault(bool, false),
  refusedOthers: withDefault(uint32, 0),
  lastRefused: withDefault(nullable(text), null),
  resumes: uint32,
  importedIn: withDefault(nullable(bin16), null),
  disconnect: nullable(disconnect),
  ended: nullable(ended),
});

export type Stored = Decoded<typeof stored>;

/** A claim is not stored: what it would have come to, its `resumed` event tells. */
export function encodeHandle(handle: Handle, bootId: string): Buffer {
  const { state } = handle;
  const value: Stored = {
    schemaVersion: SCHEMA_VERSION,
    bootId,
    record: handle.record,
    locks: handle.locks,
    retained: handle.retained,
    unlinked: handle.unlinked,
    reopening: handle.reopening,
    keptBy: handle.keptBy,
    note: handle.note,
    remade: handle.remade,
    levelLost: handle.levelLost,
    refusedOthers: handle.refusedOthers,
    lastRefused: handle.lastRefused,
    resumes: handle.resumes,
    importedIn: handle.importedIn,
    disconnect: disconnectOf(state),
    ended: isEnded(state) ? state : null,
  };
  return pack((stored as Codec<Stored>).encode(value));
}

/** Throws StoreError, MessageError or WireError if these are no bytes of a record of this schema. */
export function decodeStored(bytes: Uint8Array): Stored {
  const value = unpack(bytes);
  refuseNewer(isMap(value) ? value['schemaVersion'] : undefined, 'a record');
  return stored.decode(value, 'record');
}

/** As a handle of the boot that is `bootId`. */
export function restoredHandle(value: Stored, bootId: string, now: Moment): Restored {
  const {
    schemaVersion: _schemaVersion,
    bootId: writtenIn,
    disconnect: gone,
    ended: end,
    ...kept
  } = value;
  const sameBoot = writtenIn === bootId;
  const state = stateOf({ disconnect: gone, ended: end }, sameBoot, now);
  return { handle: { id: kept.record.cookie, state, importedBy: null, ...kept }, sameBoot };
}

export function refuseNewer(version: unknown, what: string): void {
  if (typeof version !== 'number') throw new StoreError(`${what} has no schema version`);
  if (version > SCHEMA_VERSION) {
    throw new StoreError(
      `${what} has schema version ${version}; this persistd knows ${SCHEMA_VERSION}: ` +
        'use the newer persistd again, or move the store away (its handles are then lost)',
    );
  }
}

function stateOf(
  { disconnect: gone, ended: end }: Pick<Stored, 'disconnect' | 'ended'>,
  sameBoot: boolean,
  now: Moment,
): State {
  if (end !== null) return end;
  if (gone === null) return { name: 'connected' };
  if (sameBoot) return { name: 'disconnected', disconnect: gone };
  // The monotonic clock began anew: what had passed is known by wall time only.
  const allowedNs = gone.deadlineNs - gone.since.monotonicNs;
  const passedNs = now.realtimeNs - gone.since.realtimeNs;
  const elapsedNs = passedNs > 0n ? passedNs : 0n;
  const leftNs = allowedNs > elapsedNs ? allowedNs - elapsedNs : 0n;
  const startedNs = now.monotonicNs > elapsedNs ? now.monotonicNs - elapsedNs : 0n;
  const since = { ...gone.since, monotonicNs: startedNs };
  const deadlineNs = now.monotonicNs + leftNs;
  return { name: 'disconnected', disconnect: { ...gone, since, deadlineNs } };
}
