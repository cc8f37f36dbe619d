// SPDX-License-Identifier: GPL-3.0-or-later
// What persistctl and persistd say to each other on admin.sock and watch.sock
// (docs/protocol.md 1.4). Requests are schemas, since persistd checks them.

import { z } from 'zod';
import { HANDLE_KINDS, HANDLE_STATES, type HandleView } from './handle-view.js';

const idPrefix = z.string().regex(/^[0-9a-f]{1,32}$/, 'expected 1 to 32 hexadecimal digits');
const durationMs = z.int().min(0).max(0xffff_ffff);

export const adminRequests = {
  list: z.object({
    all: z.boolean().default(false),
    share: z.string().optional(),
    user: z.string().optional(),
    client: z.string().optional(),
    kind: z.enum(HANDLE_KINDS).optional(),
    state: z.enum(HANDLE_STATES).optional(),
    path: z.string().optional(),
  }),
  show: z.object({ id: idPrefix }),
  close: z.object({ ids: z.array(idPrefix).min(1) }),
  expire: z.object({ ids: z.array(idPrefix).min(1) }),
  expireWhere: z.union([z.object({ olderThanMs: durationMs }), z.object({ all: z.literal(true) })]),
  extend: z.object({ id: idPrefix, byMs: durationMs.min(1) }),
  stats: z.object({}),
  info: z.object({}),
  keeperUpgrade: z.object({}),
};

export type AdminRequestType = keyof typeof adminRequests;
export type AdminRequest = {
  [T in AdminRequestType]: { type: T; body: z.output<(typeof adminRequests)[T]> };
}[AdminRequestType];
export type ListRequest = z.output<typeof adminRequests.list>;

export type AdminErrorCode = 'no-such-handle' | 'ambiguous' | 'refused' | 'bad-request' | 'failure';

/** The body of a message of type `error`. */
export interface AdminErrorBody {
  code: AdminErrorCode;
  message: string;
}

/** The body of the reply of type `ok`, by request. */
export interface AdminReplies {
  list: { handles: HandleView[] };
  show: { handle: HandleView };
  close: { handles: HandleView[] };
  expire: { handles: HandleView[] };
  expireWhere: { handles: HandleView[] };
  extend: { handle: HandleView };
  stats: StatsView;
  info: InfoView;
  keeperUpgrade: { pid: number; previousPid: number; descriptors: number };
}

type Counts = Record<string, number>;

/** Counters since persistd started, and the handles of this moment. */
export interface StatsView {
  schemaVersion: 1;
  grants: number;
  disconnects: number;
  resumes: number;
  /** By reason. */
  refusals: Counts;
  expiries: number;
  supersedes: number;
  closes: number;
  /** Handles that were made again after the keeper or the host was lost. */
  remakes: number;
  /** By reason. */
  failures: Counts;
  /** Opens by rule of `persistent:unsafe`, while smbd children could not ask. */
  unsafe_opens: { allowed: number; refused: number };
  illegal_transitions: number;
  /** Events that name a cookie persistd does not know. */
  unknown_cookies: number;
  /** By endpoint: smbd, admin, keeper. */
  bad_messages: Counts;
  keeper_reconnects: number;
  /** How often the store could not be written and handles went on from memory. */
  store_faults: number;
  /** Records that the store does not have as they are. */
  store_unwritten: number;
  /** Events received from smbd children. */
  events: number;
  handles: {
    state: Counts;
    kind: Counts;
    share: Counts;
  };
}

export interface InfoView {
  version: string;
  pid: number;
  /** RFC 3339. */
  startedAt: string;
  storePath: string;
  /** Why the store cannot be written now, and what to do; null: it can. */
  storeFault: { reason: string; remedy: string; unwritten: number } | null;
  /** null: not connected. */
  keeper: {
    pid: number;
    used: number;
    limit: number;
    refused: number;
    protocolErrors: number;
    /** What tells it of local access to files. */
    localAccess: 'none' | 'fanotify' | 'inotify';
    /** It can open files again whose descriptors were lost. */
    remakes: boolean;
  } | null;
  /** smbd children that said hello and are alive. */
  smbds: number;
}

export const WATCH_EVENTS = [
  'grant',
  'disconnect',
  'resume',
  'import',
  'remade',
  'refuse',
  'close',
  'expire',
  'supersede',
  'fail',
  'extend',
  'lock',
  'unlock',
  'rename',
  'unlink',
  'conflict',
  'level-lost',
  'unsafe',
  'keeper-lost',
  'keeper-back',
  'store-failing',
  'store-back',
] as const;
export type WatchEventName = (typeof WATCH_EVENTS)[number];

/** The body of a message of type `event` on watch.sock. */
export interface WatchEvent {
  /** RFC 3339. */
  at: string;
  event: WatchEventName;
  id?: string;
  share?: string;
  path?: string;
  user?: string;
  reason?: string;
}
