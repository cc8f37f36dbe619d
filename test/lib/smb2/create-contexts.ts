// SPDX-License-Identifier: GPL-3.0-or-later
/** Create contexts as they travel in CREATE (MS-SMB2 2.2.13.2 and 2.2.14.2). */
import { DURABLE_FLAG_PERSISTENT, LeaseFlag } from './constants.js';
import type { FileId } from './file-id.js';
import { Packer } from './packer.js';

export interface CreateContext {
  /** Four letters, or the 16 bytes of a GUID. */
  name: string | Buffer;
  data: Buffer;
}

export interface LeaseRequest {
  key: Buffer;
  /** LeaseState bits. */
  state: number;
  /** 1 for dialect 2.1, 2 from 3.0 on; the dialect decides unless it is given. */
  version?: 1 | 2;
  parentKey?: Buffer;
  epoch?: number;
}

export interface LeaseGranted {
  key: Buffer;
  state: number;
  flags: number;
  version: 1 | 2;
  parentKey?: Buffer;
  epoch?: number;
}

export interface DurableV2Request {
  /** 0 leaves the choice to the server. */
  timeoutMs?: number;
  createGuid: Buffer;
  persistent?: boolean;
  /** Flags as they are, in place of the persistent bit. */
  flags?: number;
}

const HEADER_LENGTH = 16;
const APP_INSTANCE_ID = Buffer.from('45bca66aefa7f74a9008fa462e144d74', 'hex');
const APP_INSTANCE_VERSION = Buffer.from('b982d0b73b56074fa07b524a8116a010', 'hex');

export const durableV1 = (): CreateContext => ({ name: 'DHnQ', data: Buffer.alloc(16) });

export const reconnectV1 = (fileId: FileId): CreateContext => ({
  name: 'DHnC',
  data: fileId.bytes,
});

export function durableV2(request: DurableV2Request): CreateContext {
  const data = new Packer()
    .u32(request.timeoutMs ?? 0)
    .u32(request.flags ?? (request.persistent ? DURABLE_FLAG_PERSISTENT : 0))
    .zeros(8)
    .bytes(request.createGuid);
  return { name: 'DH2Q', data: data.finish() };
}

export function reconnectV2(fileId: FileId, request: DurableV2Request): CreateContext {
  const data = new Packer()
    .bytes(fileId.bytes)
    .bytes(request.createGuid)
    .u32(request.flags ?? (request.persistent ? DURABLE_FLAG_PERSISTENT : 0));
  return { name: 'DH2C', data: data.finish() };
}

export function lease(request: LeaseRequest): CreateContext {
  const { key, state, parentKey, version = 2 } = request;
  const flags = parentKey ? LeaseFlag.PARENT_LEASE_KEY_SET : 0;
  const data = new Packer().bytes(key).u32(state).u32(flags).u64(0);
  if (version === 2) {
    data
      .bytes(parentKey ?? Buffer.alloc(16))
      .u16(request.epoch ?? 0)
      .u16(0);
  }
  return { name: 'RqLs', data: data.finish() };
}

export const maximalAccess = (): CreateContext => ({ name: 'MxAc', data: Buffer.alloc(0) });

export const queryOnDiskId = (): CreateContext => ({ name: 'QFid', data: Buffer.alloc(0) });

export const allocationSize = (sizeBytes: bigint): CreateContext => ({
  name: 'AlSi',
  data: new Packer().u64(sizeBytes).finish(),
});

export const appInstanceId = (id: Buffer): CreateContext => ({
  name: APP_INSTANCE_ID,
  data: new Packer().u16(20).u16(0).bytes(id).finish(),
});

export const appInstanceVersion = (high: bigint, low: bigint): CreateContext => ({
  name: APP_INSTANCE_VERSION,
  data: new Packer().u16(24).u16(0).u32(0).u64(high).u64(low).finish(),
});

/** Chains the contexts, each on a boundary of 8 bytes. */
export function encodeContexts(contexts: readonly CreateContext[]): Buffer {
  const chain = new Packer(256);
  contexts.forEach(({ name, data }, index) => {
    const tag = Buffer.isBuffer(name) ? name : Buffer.from(name, 'ascii');
    const dataOffset = Math.ceil((HEADER_LENGTH + tag.length) / 8) * 8;
    const end = dataOffset + data.length;
    const isLast = index === contexts.length - 1;
    chain
      .u32(isLast ? 0 : Math.ceil(end / 8) * 8)
      .u16(HEADER_LENGTH)
      .u16(tag.length)
      .u16(0)
      .u16(data.length === 0 ? 0 : dataOffset)
      .u32(data.length)
      .bytes(tag)
      .zeros(dataOffset - HEADER_LENGTH - tag.length)
      .bytes(data)
      .align(isLast ? 1 : 8);
  });
  return chain.finish();
}

export function decodeContexts(chain: Buffer): CreateContext[] {
  const contexts: CreateContext[] = [];
  for (let at = 0, next = 0; at + HEADER_LENGTH <= chain.length; at += next) {
    const context = chain.subarray(at);
    const nameStart = context.readUInt16LE(4);
    const name = context.subarray(nameStart, nameStart + context.readUInt16LE(6));
    const dataStart = context.readUInt16LE(10);
    const data = context.subarray(dataStart, dataStart + context.readUInt32LE(12));
    contexts.push({ name: name.length === 4 ? name.toString('ascii') : name, data });
    next = context.readUInt32LE(0);
    if (next === 0) break;
  }
  return contexts;
}

/** What the server granted, told by the contexts of its answer. */
export interface Granted {
  durableV1: boolean;
  durableV2?: { timeoutMs: number; persistent: boolean };
  lease?: LeaseGranted;
  maximalAccess?: { status: number; access: number };
  onDiskId?: { fileId: bigint; volumeId: bigint };
}

export function decodeGranted(contexts: readonly CreateContext[]): Granted {
  const granted: Granted = { durableV1: false };
  for (const { name, data } of contexts) {
    if (name === 'DHnQ') granted.durableV1 = true;
    else if (name === 'DH2Q') {
      const persistent = (data.readUInt32LE(4) & DURABLE_FLAG_PERSISTENT) !== 0;
      granted.durableV2 = { timeoutMs: data.readUInt32LE(0), persistent };
    } else if (name === 'RqLs') granted.lease = decodeLease(data);
    else if (name === 'MxAc') {
      granted.maximalAccess = { status: data.readUInt32LE(0), access: data.readUInt32LE(4) };
    } else if (name === 'QFid') {
      granted.onDiskId = { fileId: data.readBigUInt64LE(0), volumeId: data.readBigUInt64LE(8) };
    }
  }
  return granted;
}

function decodeLease(data: Buffer): LeaseGranted {
  const common = {
    key: data.subarray(0, 16),
    state: data.readUInt32LE(16),
    flags: data.readUInt32LE(20),
  };
  if (data.length < 52) return { ...common, version: 1 };
  return {
    ...common,
    version: 2,
    parentKey: data.subarray(32, 48),
    epoch: data.readUInt16LE(48),
  };
}
