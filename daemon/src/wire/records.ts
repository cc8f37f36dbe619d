// SPDX-License-Identifier: GPL-3.0-or-later
// The records that several messages share (docs/protocol.md 1.1 and 1.2).

import { HANDLE_KINDS } from '../shared/handle-view.js';
import {
  bin16,
  bool,
  type Decoded,
  int64,
  map,
  nullable,
  oneOf,
  optional,
  path,
  text,
  uint32,
  uint64,
  withAbsent,
  withDefault,
} from './codec.js';

/** Samba's server_id. */
export const serverId = map({ pid: uint64, taskId: uint32, vnn: uint32, uniqueId: uint64 });
export type ServerId = Decoded<typeof serverId>;

export function sameServer(a: ServerId, b: ServerId): boolean {
  return a.pid === b.pid && a.uniqueId === b.uniqueId && a.taskId === b.taskId && a.vnn === b.vnn;
}

export const fileStat = map({
  dev: uint64,
  ino: uint64,
  nlink: uint64,
  sizeBytes: uint64,
  mtimeNs: int64,
  ctimeNs: int64,
});
export type FileStat = Decoded<typeof fileStat>;

export const lock = map({ start: uint64, count: uint64, exclusive: bool });
export type Lock = Decoded<typeof lock>;

/** Older modules did not say which; smbd's present records have another. */
const NO_EPOCH = '0'.repeat(32);
/** SMB2_CREATE_APP_INSTANCE_ID and _VERSION, MS-SMB2 2.2.13.2.13 and .15. */
export const appInstance = map({
  id: bin16,
  version: nullable(map({ high: uint64, low: uint64 })),
});
export type AppInstance = Decoded<typeof appInstance>;
/** What a local process that comes for the file does to a handle that is away. */
export const LOCAL_ACCESS = ['yield', 'keep'] as const;
export type LocalAccess = (typeof LOCAL_ACCESS)[number];

/** What the share wants a handle to outlive: processes but the keeper, or the host. */
export const DURABILITIES = ['process', 'host'] as const;

export const handleRecord = map({
  cookie: bin16,
  kind: oneOf(HANDLE_KINDS),
  durableVersion: uint32,
  share: text,
  connectPath: path,
  path,
  user: text,
  ownerSid: text,
  uid: uint32,
  clientAddress: text,
  clientName: text,
  clientGuid: bin16,
  createGuid: bin16,
  leaseKey: nullable(bin16),
  oplock: uint32,
  leaseState: uint32,
  leaseVersion: withDefault(uint32, 0),
  leaseEpoch: withDefault(uint32, 0),
  persistentId: uint64,
  shareFileId: withDefault(uint64, 0n),
  accessMask: uint32,
  shareAccess: uint32,
  createOptions: uint32,
  openedRealtimeNs: uint64,
  timeoutMs: uint32,
  serverId,
  dev: uint64,
  ino: uint64,
  recordsEpoch: withDefault(bin16, NO_EPOCH),
  /** null: of a module that did not say. */
  localAccess: withDefault(nullable(oneOf(LOCAL_ACCESS)), null),
  /** The name in the share by which the client knows the file, if that is another. */
  knownAs: optional(path),
  appInstance: optional(appInstance),
  durability: withAbsent(oneOf(DURABILITIES), 'process'),
  /** Its locks are mirrored in the kernel. */
  posixLocking: optional(bool),
});
export type HandleRecord = Decoded<typeof handleRecord>;
