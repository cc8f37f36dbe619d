// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * NTLMv2 (MS-NLMP) as raw NTLMSSP messages, which smbd takes without SPNEGO around
 * them. Key exchange is not offered, because it needs RC4; the session key is then
 * the session base key itself.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { md4 } from './md4.js';
import { Packer, utf16 } from './packer.js';

const SIGNATURE = Buffer.from('NTLMSSP\0');

const Flag = {
  UNICODE: 0x1,
  REQUEST_TARGET: 0x4,
  SIGN: 0x10,
  NTLM: 0x200,
  ANONYMOUS: 0x800,
  ALWAYS_SIGN: 0x8000,
  EXTENDED_SESSION_SECURITY: 0x80000,
  TARGET_INFO: 0x800000,
  KEY_128: 0x20000000,
} as const;

const OFFERED =
  Flag.UNICODE |
  Flag.REQUEST_TARGET |
  Flag.SIGN |
  Flag.NTLM |
  Flag.ALWAYS_SIGN |
  Flag.EXTENDED_SESSION_SECURITY |
  Flag.TARGET_INFO |
  Flag.KEY_128;

export interface Credentials {
  user: string;
  password: string;
  domain?: string;
}

export interface NtlmAnswer {
  token: Buffer;
  /** Undefined when anonymous: nothing can be signed then. */
  sessionKey: Buffer | undefined;
}

const hmacMd5 = (key: Buffer, ...parts: Buffer[]): Buffer =>
  parts.reduce((hmac, part) => hmac.update(part), createHmac('md5', key)).digest();

export function negotiateToken(): Buffer {
  return new Packer().bytes(SIGNATURE).u32(1).u32(OFFERED).zeros(16).finish();
}

/** Answers the server's CHALLENGE_MESSAGE; without credentials, anonymously. */
export function authenticateToken(challenge: Buffer, credentials?: Credentials): NtlmAnswer {
  if (!challenge.subarray(0, 8).equals(SIGNATURE) || challenge.readUInt32LE(8) !== 2) {
    throw new Error('SESSION_SETUP: the server did not answer with an NTLMSSP challenge');
  }
  if (credentials === undefined) {
    const flags = OFFERED | Flag.ANONYMOUS;
    const token = authenticateMessage(flags, Buffer.alloc(1), Buffer.alloc(0), '', '');
    return { token, sessionKey: undefined };
  }
  const { user, password, domain = '' } = credentials;
  const serverChallenge = challenge.subarray(24, 32);
  const infoStart = challenge.readUInt32LE(44);
  const targetInfo = challenge.subarray(infoStart, infoStart + challenge.readUInt16LE(40));
  const responseKey = hmacMd5(md4(utf16(password)), utf16(user.toUpperCase() + domain));
  const blob = new Packer(256)
    .u16(0x0101)
    .zeros(6)
    .u64(timestamp(targetInfo))
    .bytes(randomBytes(8))
    .zeros(4)
    .bytes(targetInfo)
    .zeros(4)
    .finish();
  const proof = hmacMd5(responseKey, serverChallenge, blob);
  const response = Buffer.concat([proof, blob]);
  return {
    token: authenticateMessage(OFFERED, Buffer.alloc(24), response, user, domain),
    sessionKey: hmacMd5(responseKey, proof),
  };
}

/** The server's own time (MsvAvTimestamp) where it tells it, so that clocks may differ. */
function timestamp(targetInfo: Buffer): bigint {
  const MSV_AV_TIMESTAMP = 7;
  for (let at = 0; at + 4 <= targetInfo.length; at += 4 + targetInfo.readUInt16LE(at + 2)) {
    if (targetInfo.readUInt16LE(at) === MSV_AV_TIMESTAMP) return targetInfo.readBigUInt64LE(at + 4);
  }
  return (BigInt(Date.now()) + 11644473600000n) * 10000n;
}

function authenticateMessage(
  flags: number,
  lmResponse: Buffer,
  ntResponse: Buffer,
  user: string,
  domain: string,
): Buffer {
  const HEADER_LENGTH = 64;
  const sessionKey = Buffer.alloc(0);
  const fields = [lmResponse, ntResponse, utf16(domain), utf16(user), utf16(''), sessionKey];
  const message = new Packer(256).bytes(SIGNATURE).u32(3);
  let offset = HEADER_LENGTH;
  for (const field of fields) {
    message.u16(field.length).u16(field.length).u32(offset);
    offset += field.length;
  }
  message.u32(flags);
  for (const field of fields) message.bytes(field);
  return message.finish();
}
