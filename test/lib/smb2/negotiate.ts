// SPDX-License-Identifier: GPL-3.0-or-later
/** NEGOTIATE with one dialect (MS-SMB2 2.2.3 and 2.2.4). */
import { createHash, randomBytes } from 'node:crypto';
import type { Connection } from './connection.js';
import { Capability, Dialect, type DialectNumber } from './constants.js';
import { HEADER_LENGTH } from './header.js';
import { Packer } from './packer.js';

const FIXED_LENGTH = 36;
const PREAUTH_INTEGRITY_CAPABILITIES = 1;
const SHA_512 = 1;

export interface NegotiateOptions {
  dialect: DialectNumber;
  clientGuid: Buffer;
  capabilities?: number;
  securityMode?: number;
}

export interface Negotiated {
  dialect: DialectNumber;
  securityMode: number;
  serverGuid: Buffer;
  capabilities: number;
  maxTransactSizeBytes: number;
  maxReadSizeBytes: number;
  maxWriteSizeBytes: number;
  preauth: PreauthHash;
}

export const DEFAULT_CAPABILITIES =
  Capability.LEASING | Capability.LARGE_MTU | Capability.PERSISTENT_HANDLES;

/** What both sides said before the session's keys existed (MS-SMB2 3.1.4.4.1). */
export class PreauthHash {
  #value: Buffer;

  constructor(value: Buffer = Buffer.alloc(64)) {
    this.#value = value;
  }

  get value(): Buffer {
    return this.#value;
  }

  update(message: Buffer): void {
    this.#value = createHash('sha512').update(this.#value).update(message).digest();
  }
}

export async function negotiate(
  connection: Connection,
  options: NegotiateOptions,
): Promise<Negotiated> {
  const reply = connection.send({ command: 'NEGOTIATE', body: [encode(options)] });
  const { bytes, body, request } = await reply.ok();
  const dialect = body.readUInt16LE(4);
  if (dialect !== options.dialect) {
    const [asked, got] = [options.dialect.toString(16), dialect.toString(16)];
    throw new Error(`NEGOTIATE: asked for dialect 0x${asked}, the server chose 0x${got}`);
  }
  const preauth = new PreauthHash();
  preauth.update(request);
  preauth.update(bytes);
  const capabilities = body.readUInt32LE(24);
  connection.largeMtu = (capabilities & Capability.LARGE_MTU) !== 0;
  return {
    dialect: options.dialect,
    securityMode: body.readUInt16LE(2),
    serverGuid: body.subarray(8, 24),
    capabilities,
    maxTransactSizeBytes: body.readUInt32LE(28),
    maxReadSizeBytes: body.readUInt32LE(32),
    maxWriteSizeBytes: body.readUInt32LE(36),
    preauth,
  };
}

function encode(options: NegotiateOptions): Buffer {
  const body = new Packer()
    .u16(FIXED_LENGTH)
    .u16(1)
    .u16(options.securityMode ?? 1)
    .u16(0)
    .u32(options.capabilities ?? DEFAULT_CAPABILITIES)
    .bytes(options.clientGuid);
  if (options.dialect !== Dialect.SMB_3_1_1) return body.zeros(8).u16(options.dialect).finish();
  const contextsStart = Math.ceil((HEADER_LENGTH + FIXED_LENGTH + 2) / 8) * 8;
  const salt = randomBytes(32);
  return body
    .u32(contextsStart)
    .u16(1)
    .u16(0)
    .u16(options.dialect)
    .zeros(contextsStart - HEADER_LENGTH - FIXED_LENGTH - 2)
    .u16(PREAUTH_INTEGRITY_CAPABILITIES)
    .u16(6 + salt.length)
    .u32(0)
    .u16(1)
    .u16(salt.length)
    .u16(SHA_512)
    .bytes(salt)
    .finish();
}
