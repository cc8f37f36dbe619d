// SPDX-License-Identifier: GPL-3.0-or-later
// A handle as people and programs see it (shared/handle-view.ts).

import type { HandleView, JsonInteger } from '../shared/handle-view.js';
import {
  disconnectOf,
  type Handle,
  isEnded,
  type Moment,
  NS_PER_MS,
  outlivesHost,
} from './handle.js';
import { guidText, pathText, timeText } from './text.js';

/** MS-SMB2 2.2.14, with the names that smbstatus prints. */
const OPLOCKS: Readonly<Record<number, string>> = {
  0: 'NONE',
  1: 'LEVEL_II',
  8: 'EXCLUSIVE',
  9: 'BATCH',
  255: 'LEASE',
};

export function handleView(handle: Handle, now: Moment): HandleView {
  const { record, state } = handle;
  const path = pathText(record.path);
  const servicePath = pathText(record.connectPath);
  return {
    id: handle.id,
    kind: record.kind,
    durableVersion: record.durableVersion,
    state: state.name,
    share: record.share,
    path,
    service_path: servicePath,
    filename: relative(servicePath, path),
    username: record.user,
    uid: record.uid,
    remote_machine: record.clientAddress,
    hostname: record.clientName,
    client_guid: guidText(record.clientGuid),
    create_guid: guidText(record.createGuid),
    ...appInstanceView(record),
    lease_key: record.leaseKey,
    oplock: OPLOCKS[record.oplock] ?? hex(record.oplock, 2),
    lease_state: leaseText(record.leaseState),
    fileid: { devid: jsonInteger(record.dev), inode: jsonInteger(record.ino), extid: 0 },
    server_id: {
      pid: String(record.serverId.pid),
      task_id: String(record.serverId.taskId),
      vnn: String(record.serverId.vnn),
      unique_id: String(record.serverId.uniqueId),
    },
    access_mask: hex(record.accessMask, 8),
    sharemode: hex(record.shareAccess, 8),
    opened_at: timeText(record.openedRealtimeNs),
    ...expiry(handle, now),
    timeout_ms: record.timeoutMs,
    locks: handle.locks.map(({ start, count, exclusive }) => ({
      start: jsonInteger(start),
      count: jsonInteger(count),
      exclusive,
    })),
    retained: handle.retained,
    orphan: disconnectOf(state)?.orphan ?? false,
    unlinked: handle.unlinked,
    durability: outlivesHost(handle) ? 'host' : 'process',
    remade: handle.remade,
    level_lost: handle.levelLost,
    refused_others: handle.refusedOthers,
    last_refused: handle.lastRefused,
    reason: isEnded(state) ? state.reason : null,
    resumes: handle.resumes,
  };
}

function appInstanceView({
  appInstance,
}: Handle['record']): Pick<HandleView, 'app_instance_id' | 'app_instance_version'> {
  const { id, version } = appInstance ?? { id: null, version: null };
  return {
    app_instance_id: id === null ? null : guidText(id),
    app_instance_version: version === null ? null : `${version.high}.${version.low}`,
  };
}

function expiry(
  { state }: Handle,
  now: Moment,
): Pick<HandleView, 'disconnected_at' | 'expires_at' | 'expires_in_ms'> {
  const disconnect = disconnectOf(state);
  if (disconnect === null) return { disconnected_at: null, expires_at: null, expires_in_ms: null };
  const leftNs = disconnect.deadlineNs - now.monotonicNs;
  return {
    disconnected_at: timeText(disconnect.since.realtimeNs),
    expires_at: timeText(now.realtimeNs + leftNs),
    expires_in_ms: Math.max(0, Number(leftNs / NS_PER_MS)),
  };
}

function relative(directory: string, path: string): string {
  const prefix = directory.endsWith('/') ? directory : `${directory}/`;
  return path.startsWith(prefix) ? path.slice(prefix.length) : path;
}

/** SMB2_LEASE_* of MS-SMB2 2.2.13.2.8, in smbstatus's order. */
function leaseText(state: number): string {
  return [
    [1, 'R'],
    [4, 'W'],
    [2, 'H'],
  ]
    .filter(([bit]) => (state & Number(bit)) !== 0)
    .map(([, letter]) => letter)
    .join('');
}

function hex(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0').toUpperCase()}`;
}

function jsonInteger(value: bigint): JsonInteger {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value);
}
