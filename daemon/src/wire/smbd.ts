// SPDX-License-Identifier: GPL-3.0-or-later
// The messages of smbd.sock (docs/protocol.md 1.1).

import { type Body, isMap } from '../shared/message.js';
import {
  bin16,
  bool,
  bytes,
  type Codec,
  type Decoded,
  int64,
  list,
  map,
  nullable,
  optional,
  path,
  text,
  uint32,
  uint64,
  WireError,
  withDefault,
} from './codec.js';
import { appInstance, fileStat, handleRecord, lock, type ServerId, serverId } from './records.js';

const eventBodies = {
  grant: handleRecord,
  lock: map({
    cookie: bin16,
    start: uint64,
    count: uint64,
    exclusive: bool,
    note: optional(bytes),
  }),
  unlock: map({ cookie: bin16, start: uint64, count: uint64, note: optional(bytes) }),
  disconnect: map({
    cookie: bin16,
    stat: fileStat,
    path,
    monotonicNs: uint64,
    realtimeNs: uint64,
  }),
  resumed: handleRecord,
  resumeFailed: map({ cookie: bin16, reason: text, final: bool }),
  imported: map({ cookie: bin16, recordsEpoch: bin16 }),
  importFailed: map({ cookie: bin16, reason: text }),
  close: map({ cookie: bin16, reason: text }),
  rename: map({ dev: uint64, ino: uint64, isDirectory: bool, from: path, to: path }),
  conflict: map({ dev: uint64, ino: uint64, clientAddress: text, status: text }),
  writeTime: map({ dev: uint64, ino: uint64, fromNs: int64, toNs: int64 }),
  unsafe: map({
    dev: uint64,
    ino: uint64,
    clientAddress: text,
    allowed: uint64,
    refused: uint64,
  }),
  unlink: map({ dev: uint64, ino: uint64, path }),
  sync: map({ cookies: list(bin16) }),
};

type EventBodies = typeof eventBodies;
export type SmbdEventType = keyof EventBodies;
export type EventBody<T extends SmbdEventType> = Decoded<EventBodies[T]>;
export type SmbdEvent = { [T in SmbdEventType]: { type: T; body: EventBody<T> } }[SmbdEventType];

const bodiesByName = new Map<string, Codec<unknown>>(Object.entries(eventBodies));

/** `[type, body]` */
export const smbdEvent: Codec<SmbdEvent> = {
  decode(value, at) {
    if (!Array.isArray(value) || value.length !== 2) throw new WireError(`${at}: expected a pair`);
    const [type, body] = value as unknown[];
    const codec = typeof type === 'string' ? bodiesByName.get(type) : undefined;
    if (codec === undefined) throw new WireError(`${at}: unknown event ${String(type)}`);
    return { type, body: codec.decode(body, `${at} ${String(type)}`) } as SmbdEvent;
  },
  encode: (event) => [event.type, bodiesByName.get(event.type)?.encode(event.body)],
};

const requestBodies = {
  hello: map({ serverId, moduleVersion: text, sambaVersion: text }),
  events: map({ serverId, events: list(smbdEvent) }),
  claim: map({
    cookie: bin16,
    serverId,
    share: text,
    clientGuid: bin16,
    stat: fileStat,
    now: uint64,
  }),
  arrive: map({
    serverId,
    clientAddress: text,
    clientGuid: bin16,
    leaseKey: nullable(bin16),
    createGuid: nullable(bin16),
    dev: uint64,
    ino: uint64,
  }),
  contend: map({
    serverId,
    clientAddress: text,
    dev: uint64,
    ino: uint64,
    accessMask: uint32,
    alive: list(uint64),
  }),
  import: map({
    serverId,
    recordsEpoch: bin16,
    clientGuid: bin16,
    share: nullable(text),
    dev: uint64,
    ino: uint64,
    round: withDefault(uint64, 0n),
  }),
  takeover: map({
    serverId,
    clientAddress: text,
    clientGuid: bin16,
    share: text,
    dev: uint64,
    ino: uint64,
    appInstance,
    mayClose: bool,
    waitMs: uint32,
  }),
};

type RequestBodies = typeof requestBodies;
type SmbdRequestType = keyof RequestBodies;
export type SmbdRequest = {
  [T in SmbdRequestType]: { type: T; body: Decoded<RequestBodies[T]> };
}[SmbdRequestType];
export type ClaimBody = Decoded<RequestBodies['claim']>;
export type ArriveBody = Decoded<RequestBodies['arrive']>;
export type ContendBody = Decoded<RequestBodies['contend']>;
export type ImportBody = Decoded<RequestBodies['import']>;
export type TakeoverBody = Decoded<RequestBodies['takeover']>;

const requestsByName = new Map<string, Codec<unknown>>(Object.entries(requestBodies));

/** Throws WireError. */
export function decodeRequest(type: string, body: unknown): SmbdRequest {
  const codec = requestsByName.get(type);
  if (codec === undefined) throw new WireError(`unknown type ${type}`);
  return { type, body: codec.decode(body, type) } as SmbdRequest;
}

export function encodeRequest(request: SmbdRequest): Body {
  const body = requestsByName.get(request.type)?.encode(request.body);
  return isMap(body) ? body : {};
}

export const imports = map({
  more: bool,
  handles: list(
    map({
      record: handleRecord,
      disconnectedRealtimeNs: uint64,
      protected: bool,
      levelLost: bool,
      locks: list(lock),
    }),
  ),
});
/** The answer to `import`. */
export type Imports = Decoded<typeof imports>;

export const REFUSAL_REASONS = [
  'unknown',
  'connected',
  'claimed',
  'expired',
  'closed',
  'superseded',
  'modified',
  'share',
  'client',
  'file',
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

export type Verdict =
  | { verdict: 'resume'; path: string; levelLost: boolean }
  | { verdict: 'refuse'; reason: RefusalReason; final: boolean; serverId?: ServerId };

export function encodeVerdict(verdict: Verdict): Body {
  if (verdict.verdict === 'resume') {
    const { levelLost } = verdict;
    return { verdict: 'resume', path: path.encode(verdict.path), levelLost };
  }
  const { reason, final, serverId: holder } = verdict;
  return {
    verdict: 'refuse',
    reason,
    final,
    ...(holder === undefined ? {} : { serverId: serverId.encode(holder) }),
  };
}

const takeoverAnswer = map({
  refused: bool,
  ended: list(uint64),
  holders: list(map({ cookie: bin16, serverId })),
});
export type TakeoverAnswer = Decoded<typeof takeoverAnswer>;

/** The module has room for so many; the others are answered when it asks again. */
const ENDED_MAX = 64;
const HOLDERS_MAX = 16;

export function encodeTakeoverAnswer({ refused, ended, holders }: TakeoverAnswer): Body {
  const fitting = {
    refused,
    ended: ended.slice(0, ENDED_MAX),
    holders: holders.slice(0, HOLDERS_MAX),
  };
  return takeoverAnswer.encode(fitting) as Body;
}
