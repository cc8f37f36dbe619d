// SPDX-License-Identifier: GPL-3.0-or-later
// A handle as admin replies and `persistctl --json` show it. Keys are those of
// `smbstatus --json` where it has one for the thing.

export const VIEW_SCHEMA_VERSION = 1;

/** `plain`: ends with its connection, and is known because of its AppInstanceId. */
export const HANDLE_KINDS = ['durable', 'resilient', 'persistent', 'plain'] as const;
export type HandleKind = (typeof HANDLE_KINDS)[number];

export const HANDLE_STATES = [
  'connected',
  'disconnected',
  'claimed',
  'expired',
  'superseded',
  'closed',
  'failed',
] as const;
export type HandleStateName = (typeof HANDLE_STATES)[number];

/** A decimal string from 2^53 on, where a JSON number would lose digits. */
export type JsonInteger = number | string;

export interface LockView {
  start: JsonInteger;
  count: JsonInteger;
  exclusive: boolean;
}

export interface HandleView {
  /** The cookie, 32 hexadecimal digits. */
  id: string;
  kind: HandleKind;
  /** 1 (DHnQ), 2 (DH2Q), 0 otherwise. */
  durableVersion: number;
  state: HandleStateName;
  share: string;
  /** Absolute. */
  path: string;
  /** The share's directory. */
  service_path: string;
  /** Relative to service_path. */
  filename: string;
  username: string;
  uid: number;
  /** The client's numeric address. */
  remote_machine: string;
  /** The client's name. */
  hostname: string;
  client_guid: string;
  create_guid: string;
  /** SMB2_CREATE_APP_INSTANCE_ID. */
  app_instance_id: string | null;
  /** HIGH.LOW, as its opener gave it. */
  app_instance_version: string | null;
  lease_key: string | null;
  oplock: string;
  /** Letters out of 'RWH'; empty without a lease. */
  lease_state: string;
  fileid: { devid: JsonInteger; inode: JsonInteger; extid: 0 };
  server_id: { pid: string; task_id: string; vnn: string; unique_id: string };
  access_mask: string;
  sharemode: string;
  /** RFC 3339. */
  opened_at: string;
  disconnected_at: string | null;
  expires_at: string | null;
  expires_in_ms: number | null;
  /** How long it may stay disconnected. */
  timeout_ms: number;
  locks: LockView[];
  /** The keeper holds its descriptor. */
  retained: boolean;
  /** Its smbd child died without a disconnect. */
  orphan: boolean;
  /** The file was deleted through smbd; the descriptor still reaches it. */
  unlinked: boolean;
  /** What it outlives: processes but the keeper, or the keeper and the host, too. */
  durability: 'process' | 'host';
  /** Its descriptor was lost with the keeper or the host, and is another one of the same file. */
  remade: boolean;
  /** Another open has cost it its oplock or lease while its client was away. */
  level_lost: boolean;
  /** How often it kept somebody from the file while its client was away. */
  refused_others: number;
  /** Who was the last, how, and when. */
  last_refused: string | null;
  /** Why it ended. */
  reason: string | null;
  /** How often a client came back to it. */
  resumes: number;
}
