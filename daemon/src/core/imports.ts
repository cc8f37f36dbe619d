// SPDX-License-Identifier: GPL-3.0-or-later
// Handles that smbd has forgotten: an smbd child died, or all of smbd was
// started anew. It takes them into its records again before it lets anybody in.

import { type HandleRecord, type ServerId, sameServer } from '../wire/records.js';
import type { EventBody, ImportBody, Imports } from '../wire/smbd.js';
import type { Context } from './context.js';
import { disconnectOf, type Handle, type Moment } from './handle.js';
import type { KeeperView } from './keeper-view.js';

/** What the module takes at once (wire_imports.h), and what fits into a message. */
const HANDLES_MAX = 64;
const LOCKS_MAX = 8_192;

/** SMB2_LEASE_WRITE_CACHING. */
const LEASE_WRITE = 0x04;
/** SMB2_OPLOCK_LEVEL_II; exclusive and batch are greater. */
const OPLOCK_LEVEL_II = 0x01;

export interface Wanted extends Imports {
  /** Handles with more locks than can be taken in. */
  readonly tooMany: readonly Handle[];
}

export function importsFor(
  { table, importOffers }: Context,
  keeper: KeeperView,
  now: Moment,
  body: ImportBody,
): Wanted {
  const rest = importOffers.rest(body, now);
  const candidates =
    rest ?? (body.share === null ? table.onFile(body.dev, body.ino) : table.allLive());
  const isFull = (): Wanted => {
    importOffers.stop(body, candidates, now);
    return { more: true, handles, tooMany };
  };
  const handles: Imports['handles'] = [];
  const tooMany: Handle[] = [];
  let isElsewhere = false;
  let locks = 0;
  for (const handle of candidates) {
    const disconnect = wanted(handle, now, body);
    if (disconnect === null) continue;
    // its descriptor is not made again yet
    if (handle.reopening !== null && !keeper.has(handle.id)) continue;
    if (handle.locks.length > LOCKS_MAX) {
      tooMany.push(handle);
      continue;
    }
    const offeredTo = body.share === null ? 'nobody' : importOffers.to(handle, body, now);
    if (offeredTo === 'other') isElsewhere = true;
    if (offeredTo !== 'nobody') continue;
    locks += handle.locks.length;
    // this one is found when all are gone through anew
    if (locks > LOCKS_MAX) return isFull();
    if (body.share !== null) importOffers.make(handle, body, now);
    handles.push({
      record: withoutForeignWrite(handle, table.onFile(handle.record.dev, handle.record.ino)),
      disconnectedRealtimeNs: disconnect.since.realtimeNs,
      protected: handle.record.kind !== 'durable',
      levelLost: handle.levelLost,
      locks: handle.locks,
    });
    if (handles.length === HANDLES_MAX) return isFull();
  }
  importOffers.finish(body);
  // what came behind the back of a round is seen when it begins anew
  return { more: isElsewhere || rest !== null, handles, tooMany };
}

/**
 * A lease or oplock is known as it was granted last. Two clients that have the file open
 * cannot both cache writes: the break that took it from one is not known here.
 * (Where smbd still has its own record of the lease, that one counts.)
 */
function withoutForeignWrite({ id, record }: Handle, onFile: Iterable<Handle>): HandleRecord {
  const { clientGuid, leaseKey, leaseState, oplock } = record;
  const isAlone = [...onFile].every(
    (other) =>
      other.id === id ||
      (leaseKey !== null &&
        other.record.clientGuid === clientGuid &&
        other.record.leaseKey === leaseKey),
  );
  if (isAlone) return record;
  if (leaseKey !== null) return { ...record, leaseState: leaseState & ~LEASE_WRITE };
  return { ...record, oplock: Math.min(oplock, OPLOCK_LEVEL_II) };
}

/**
 * What a client comes back to is looked at in any case: an smbd child that died
 * in the middle of a resume has told nobody that it began.
 */
function wanted(handle: Handle, now: Moment, body: ImportBody) {
  const { share, recordsEpoch, clientGuid, serverId } = body;
  const { state, record, importedIn, importedBy } = handle;
  const disconnect = disconnectOf(state);
  if (disconnect === null) return null;
  if (share !== null && share !== record.share) return null;
  if (importedIn === recordsEpoch) {
    const isOwn = record.clientGuid === clientGuid;
    const isDone = importedBy !== null && sameServer(importedBy, serverId);
    if (!isOwn || isDone) return null;
  }
  return disconnect.deadlineNs > now.monotonicNs ? disconnect : null;
}

export function imported(
  context: Context,
  handle: Handle,
  server: ServerId,
  { recordsEpoch }: EventBody<'imported'>,
): void {
  const disconnect = disconnectOf(handle.state);
  context.importOffers.end(handle);
  if (disconnect === null) return;
  handle.importedBy = server;
  const isNews = disconnect.orphan || handle.record.recordsEpoch !== recordsEpoch;
  // who claimed it is dead, or its records would have been found to be held
  if (handle.state.name === 'claimed') context.change(handle, { step: 'lapse' });
  const wasImportedIn = handle.importedIn;
  handle.importedIn = recordsEpoch;
  if (isNews && wasImportedIn !== recordsEpoch) context.importNews.add(context, handle);
}

/** Somebody has the file already, or the descriptor is gone: it can never be resumed. */
export function importFailed(
  context: Context,
  handle: Handle,
  { reason }: EventBody<'importFailed'>,
): void {
  const name = reason === 'superseded' ? 'superseded' : 'failed';
  context.importOffers.end(handle);
  if (handle.state.name !== 'disconnected') return;
  // the next list of the keeper tells, and it is made again
  if (reason === 'descriptor-lost' && handle.reopening !== null) return;
  context.end(handle, name, reason, { server: null, drop: true });
}
