// SPDX-License-Identifier: GPL-3.0-or-later
/** Message signing (MS-SMB2 3.1.4.1) and the keys for it (3.1.4.2). */
import { createCipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { Dialect, type DialectNumber, HeaderFlag } from './constants.js';

const SIGNATURE_OFFSET = 48;
const FLAGS_OFFSET = 16;

function aes(mode: 'ecb' | 'cbc', key: Buffer, data: Buffer): Buffer {
  const iv = mode === 'ecb' ? null : Buffer.alloc(16);
  const cipher = createCipheriv(`aes-128-${mode}`, key, iv).setAutoPadding(false);
  return Buffer.concat([cipher.update(data), cipher.final()]);
}

/** Multiplies by x in GF(2^128), as RFC 4493 2.3 makes its subkeys. */
function double(block: Buffer): Buffer {
  const value = BigInt(`0x${block.toString('hex')}`);
  const reduced = BigInt.asUintN(128, value << 1n) ^ (value >> 127n === 1n ? 0x87n : 0n);
  return Buffer.from(reduced.toString(16).padStart(32, '0'), 'hex');
}

/** AES-CMAC, RFC 4493. */
export function aesCmac(key: Buffer, message: Buffer): Buffer {
  const subkey = double(aes('ecb', key, Buffer.alloc(16)));
  const complete = message.length > 0 && message.length % 16 === 0;
  const lastStart = complete ? message.length - 16 : message.length - (message.length % 16);
  const last = Buffer.alloc(16);
  message.copy(last, 0, lastStart);
  if (!complete) last[message.length - lastStart] = 0x80;
  const mask = complete ? subkey : double(subkey);
  for (let i = 0; i < 16; i++) last[i] = (last[i] ?? 0) ^ (mask[i] ?? 0);
  return aes('cbc', key, Buffer.concat([message.subarray(0, lastStart), last])).subarray(-16);
}

/** SP800-108 in counter mode with HMAC-SHA256, one block of 128 bits. */
function deriveKey(sessionKey: Buffer, label: string, context: Buffer): Buffer {
  return createHmac('sha256', sessionKey)
    .update(Buffer.from([0, 0, 0, 1]))
    .update(`${label}\0`)
    .update(Buffer.from([0]))
    .update(context)
    .update(Buffer.from([0, 0, 0, 128]))
    .digest()
    .subarray(0, 16);
}

export class Signer {
  readonly #mac: (message: Buffer) => Buffer;

  /** `preauthHash` is the connection's history up to the last request; 3.1.1 alone uses it. */
  constructor(dialect: DialectNumber, sessionKey: Buffer, preauthHash: Buffer) {
    if (dialect === Dialect.SMB_2_1) {
      this.#mac = (message) =>
        createHmac('sha256', sessionKey).update(message).digest().subarray(0, 16);
      return;
    }
    const key =
      dialect === Dialect.SMB_3_1_1
        ? deriveKey(sessionKey, 'SMBSigningKey', preauthHash)
        : deriveKey(sessionKey, 'SMB2AESCMAC', Buffer.from('SmbSign\0'));
    this.#mac = (message) => aesCmac(key, message);
  }

  /** Signs in place; `message` begins with the SMB2 header. */
  sign(message: Buffer): void {
    message.writeUInt32LE(message.readUInt32LE(FLAGS_OFFSET) | HeaderFlag.SIGNED, FLAGS_OFFSET);
    message.fill(0, SIGNATURE_OFFSET, 64);
    this.#mac(message).copy(message, SIGNATURE_OFFSET);
  }

  verify(message: Buffer): boolean {
    const signature = Buffer.from(message.subarray(SIGNATURE_OFFSET, 64));
    const unsigned = Buffer.from(message);
    unsigned.fill(0, SIGNATURE_OFFSET, 64);
    return timingSafeEqual(this.#mac(unsigned), signature);
  }
}
