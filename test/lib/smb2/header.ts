// SPDX-License-Identifier: GPL-3.0-or-later
/** The SMB2 header, MS-SMB2 2.2.1. */
import { HeaderFlag } from './constants.js';

export const HEADER_LENGTH = 64;
const PROTOCOL_ID = 0x424d53fe;

export interface RequestHeader {
  command: number;
  creditCharge: number;
  creditRequest: number;
  flags: number;
  /** 3.x only: counts the client's network failures (MS-SMB2 2.2.1.2). */
  channelSequence: number;
  messageId: number;
  /** Set instead of the tree id when an asynchronous request is cancelled. */
  asyncId?: bigint;
  treeId: number;
  sessionId: bigint;
}

export interface ResponseHeader {
  command: number;
  status: number;
  flags: number;
  credits: number;
  messageId: number;
  /** The server speaks unasked: an oplock or lease break. */
  unsolicited: boolean;
  asyncId: bigint;
  treeId: number;
  sessionId: bigint;
}

export function writeHeader(target: Buffer, header: RequestHeader): void {
  target.fill(0, 0, HEADER_LENGTH);
  target.writeUInt32LE(PROTOCOL_ID, 0);
  target.writeUInt16LE(HEADER_LENGTH, 4);
  target.writeUInt16LE(header.creditCharge, 6);
  target.writeUInt16LE(header.channelSequence, 8);
  target.writeUInt16LE(header.command, 12);
  target.writeUInt16LE(header.creditRequest, 14);
  target.writeUInt32LE(header.flags, 16);
  target.writeBigUInt64LE(BigInt(header.messageId), 24);
  if (header.asyncId === undefined) target.writeUInt32LE(header.treeId, 36);
  else target.writeBigUInt64LE(header.asyncId, 32);
  target.writeBigUInt64LE(header.sessionId, 40);
}

export function readHeader(message: Buffer): ResponseHeader {
  if (message.length < HEADER_LENGTH || message.readUInt32LE(0) !== PROTOCOL_ID) {
    throw new Error('the server sent something that is not an SMB2 message');
  }
  const flags = message.readUInt32LE(16);
  const isAsync = (flags & HeaderFlag.ASYNC) !== 0;
  const messageId = message.readBigUInt64LE(24);
  return {
    command: message.readUInt16LE(12),
    status: message.readUInt32LE(8),
    flags,
    credits: message.readUInt16LE(14),
    messageId: Number(messageId),
    unsolicited: messageId === 0xffffffffffffffffn,
    asyncId: isAsync ? message.readBigUInt64LE(32) : 0n,
    treeId: isAsync ? 0 : message.readUInt32LE(36),
    sessionId: message.readBigUInt64LE(40),
  };
}
