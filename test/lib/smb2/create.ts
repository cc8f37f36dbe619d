// SPDX-License-Identifier: GPL-3.0-or-later
/** CREATE (MS-SMB2 2.2.13 and 2.2.14): from pleasant options to bytes and back. */
import { Access, CreateOption, Disposition, FileAttribute, Oplock, Share } from './constants.js';
import * as contexts from './create-contexts.js';
import { FileId } from './file-id.js';
import { HEADER_LENGTH } from './header.js';
import { Packer, utf16 } from './packer.js';

const FIXED_LENGTH = 56;
const IMPERSONATION = 2;

export type DurableRequest =
  | { version: 1 }
  | { version: 2; timeoutMs?: number; createGuid?: Buffer; persistent?: boolean; flags?: number };

/** With a create GUID it goes as DH2C, without one as DHnC. */
export interface ReconnectRequest {
  fileId: FileId;
  createGuid?: Buffer;
  persistent?: boolean;
}

export interface OpenOptions {
  /** Access bits; READ_WRITE_DELETE unless given. */
  access?: number;
  /** Share bits; ALL unless given. */
  share?: number;
  /** OPEN_IF unless given. */
  disposition?: number;
  /** CreateOption bits; NON_DIRECTORY_FILE unless given. */
  options?: number;
  attributes?: number;
  oplock?: number;
  /** Asks for a lease in place of an oplock. */
  lease?: contexts.LeaseRequest;
  durable?: DurableRequest;
  reconnect?: ReconnectRequest;
  maximalAccess?: boolean;
  queryOnDiskId?: boolean;
  appInstanceId?: Buffer;
  appInstanceVersion?: { high: bigint; low: bigint };
  allocationSizeBytes?: bigint;
  /** Any others, put last. */
  contexts?: readonly contexts.CreateContext[];
}

export interface CreateResult {
  oplock: number;
  createAction: number;
  creationTime: bigint;
  lastAccessTime: bigint;
  lastWriteTime: bigint;
  changeTime: bigint;
  allocationSizeBytes: bigint;
  endOfFileBytes: bigint;
  attributes: number;
  fileId: FileId;
  granted: contexts.Granted;
  /** The answer's contexts as they came. */
  contexts: contexts.CreateContext[];
}

export function createContexts(options: OpenOptions): contexts.CreateContext[] {
  const list: contexts.CreateContext[] = [];
  const { durable, reconnect } = options;
  if (durable?.version === 1) list.push(contexts.durableV1());
  if (durable?.version === 2) {
    const { createGuid } = durable;
    if (createGuid === undefined) throw new Error('CREATE: a durable v2 handle needs a createGuid');
    list.push(contexts.durableV2({ ...durable, createGuid }));
  }
  if (reconnect?.createGuid) {
    const { createGuid, persistent = false } = reconnect;
    list.push(contexts.reconnectV2(reconnect.fileId, { createGuid, persistent }));
  } else if (reconnect) list.push(contexts.reconnectV1(reconnect.fileId));
  if (options.lease) list.push(contexts.lease(options.lease));
  if (options.maximalAccess) list.push(contexts.maximalAccess());
  if (options.queryOnDiskId) list.push(contexts.queryOnDiskId());
  if (options.allocationSizeBytes !== undefined) {
    list.push(contexts.allocationSize(options.allocationSizeBytes));
  }
  if (options.appInstanceId) list.push(contexts.appInstanceId(options.appInstanceId));
  if (options.appInstanceVersion) {
    const { high, low } = options.appInstanceVersion;
    list.push(contexts.appInstanceVersion(high, low));
  }
  return [...list, ...(options.contexts ?? [])];
}

export function encodeCreate(path: string, options: OpenOptions): Buffer {
  const name = utf16(path.replaceAll('/', '\\').replace(/^\\+/, ''));
  const chain = contexts.encodeContexts(createContexts(options));
  const nameStart = HEADER_LENGTH + FIXED_LENGTH;
  const chainStart = Math.ceil((nameStart + name.length) / 8) * 8;
  return (
    new Packer(256)
      .u16(FIXED_LENGTH + 1)
      .u8(0)
      .u8(options.lease ? Oplock.LEASE : (options.oplock ?? Oplock.NONE))
      .u32(IMPERSONATION)
      .zeros(16)
      .u32(options.access ?? Access.READ_WRITE_DELETE)
      .u32(options.attributes ?? FileAttribute.NORMAL)
      .u32(options.share ?? Share.ALL)
      .u32(options.disposition ?? Disposition.OPEN_IF)
      .u32(options.options ?? CreateOption.NON_DIRECTORY_FILE)
      .u16(nameStart)
      .u16(name.length)
      .u32(chain.length === 0 ? 0 : chainStart)
      .u32(chain.length)
      .bytes(name)
      // At least one byte follows the fixed part, even when the name is empty.
      .zeros(Math.max(chainStart - nameStart - name.length, name.length === 0 ? 1 : 0))
      .bytes(chain)
      .finish()
  );
}

export function decodeCreate({ bytes, body }: { bytes: Buffer; body: Buffer }): CreateResult {
  const start = body.readUInt32LE(80);
  const list = contexts.decodeContexts(bytes.subarray(start, start + body.readUInt32LE(84)));
  return {
    oplock: body.readUInt8(2),
    createAction: body.readUInt32LE(4),
    creationTime: body.readBigUInt64LE(8),
    lastAccessTime: body.readBigUInt64LE(16),
    lastWriteTime: body.readBigUInt64LE(24),
    changeTime: body.readBigUInt64LE(32),
    allocationSizeBytes: body.readBigUInt64LE(40),
    endOfFileBytes: body.readBigUInt64LE(48),
    attributes: body.readUInt32LE(56),
    fileId: new FileId(body.subarray(64, 80)),
    granted: contexts.decodeGranted(list),
    contexts: list,
  };
}
