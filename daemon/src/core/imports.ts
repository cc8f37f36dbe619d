// SPDX-License-Identifier: GPL-3.0-or-later
// Handles that smbd has forgotten: an smbd child died, or all of smbd was
// started anew. It takes them into its records again before it lets anybody in.

import type { HandleRecord } from '../wire/records.js';
import type { EventBody, ImportBody, Imports } from '../wire/smbd.js';
import type { Context } from './context.js';
import type { Handle, Moment } from './handle.js';

/** What the module takes at once (wire_imports.h), and what fits into a message. */
const HANDLES_MAX = 64;
const LOCKS_MAX = 8_192;

/** SMB2_LEASE_WRITE_CACHING. */
const LEASE_WRITE = 0x04;

export function importsFor({ table }: Context, now: Moment, body: ImportBody): Imports {
  const candidates = body.share === null ? table.onFile(body.dev, body.ino) : table.allLive();
  const handles: Imports['handles'] = [];
  let locks = 0;
  for (const handle of candidates) {
    const disconnect = wanted(handle, now, body);
    if (disconnect === null) continue;
    locks += handle.locks.length;
    if (handles.length === HANDLES_MAX || (handles.length > 0 && locks > LOCKS_MAX)) {
      return { more: true, handles };
    }
    handles.push({
      record: withoutForeignWrite(handle, table.onFile(handle.record.dev, handle.record.ino)),
      disconnectedRealtimeNs: disconnect.since.realtimeNs,
      protected: handle.record.kind !== 'durable',
      levelLost: handle.levelLost,
      locks: handle.locks,
    });
  }
  return { more: false, handles };
}

/**
 * A lease is known as it was granted last. Two clients that have the file open
 * cannot both cache writes: the break that took it from one is not known here.
 * (Where smbd still has its own record of the lease, that one counts.)
 */
function withoutForeignWrite({ id, record }: Handle, onFile: Iterable<Handle>): HandleRecord {
  const isAlone = [...onFile].every(
    (other) =>
      other.id === id ||
      (other.record.clientGuid === record.clientGuid && other.record.leaseKey === record.leaseKey),
  );
  return isAlone ? record : { ...record, leaseState: record.leaseState & ~LEASE_WRITE };
}

function wanted(handle: Handle, now: Moment, { share, recordsEpoch }: ImportBody) {
  const { state, record, importedIn } = handle;
  if (state.name !== 'disconnected' || importedIn === recordsEpoch) return null;
  if (share !== null && share !== record.share) return null;
  return state.disconnect.deadlineNs > now.monotonicNs ? state.disconnect : null;
}

export function imported(
  context: Context,
  handle: Handle,
  { recordsEpoch }: EventBody<'imported'>,
): void {
  if (handle.state.name !== 'disconnected') return;
  handle.importedIn = recordsEpoch;
  context.put(handle);
  context.publish('import', handle);
}

/** Somebody has the file already, or the descriptor is gone: it can never be resumed. */
export function importFailed(
  context: Context,
  handle: Handle,
  { reason }: EventBody<'importFailed'>,
): void {
  const name = reason === 'superseded' ? 'superseded' : 'failed';
  if (handle.state.name === 'connected') return;
  context.end(handle, name, reason, { server: null, drop: true });
}
