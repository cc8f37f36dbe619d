// SPDX-License-Identifier: GPL-3.0-or-later
/** An authenticated session on a connection (MS-SMB2 2.2.5 to 2.2.8). */
import type { CallOptions, Connection, Message, Request } from './connection.js';
import { Dialect, SecurityMode, SessionFlag } from './constants.js';
import { HEADER_LENGTH } from './header.js';
import { type Negotiated, PreauthHash } from './negotiate.js';
import { authenticateToken, type Credentials, negotiateToken } from './ntlm.js';
import { Packer } from './packer.js';
import type { Call } from './reply.js';
import { Signer } from './signing.js';
import { isSuccess, NtStatus, SmbError } from './status.js';

const FIXED_LENGTH = 24;

export interface SessionOptions {
  /** Without them the session is anonymous. */
  credentials?: Credentials;
  /** A session of an earlier connection that this one takes the place of. */
  previousSessionId?: bigint;
  /** Sign everything even where the server does not ask for it. */
  requireSigning?: boolean;
}

export class Session {
  readonly connection: Connection;
  readonly negotiated: Negotiated;
  readonly id: bigint;
  /** SessionFlag bits. */
  readonly flags: number;
  readonly #signer: Signer | undefined;
  readonly #signsAll: boolean;

  private constructor(
    connection: Connection,
    negotiated: Negotiated,
    final: Message,
    sessionKey: Buffer | undefined,
    preauthHash: Buffer,
    requireSigning: boolean,
  ) {
    this.connection = connection;
    this.negotiated = negotiated;
    this.id = final.sessionId;
    this.flags = final.body.readUInt16LE(2);
    const isNamed = (this.flags & (SessionFlag.IS_GUEST | SessionFlag.IS_NULL)) === 0;
    if (isNamed && sessionKey) {
      this.#signer = new Signer(negotiated.dialect, sessionKey, preauthHash);
    }
    const serverRequires = (negotiated.securityMode & SecurityMode.SIGNING_REQUIRED) !== 0;
    this.#signsAll = serverRequires || requireSigning;
  }

  static async setup(
    connection: Connection,
    negotiated: Negotiated,
    options: SessionOptions,
  ): Promise<Session> {
    const preauth = new PreauthHash(negotiated.preauth.value);
    const first = await connection.send(sessionSetup(negotiateToken(), 0n, options));
    const challenge = first.value;
    if (first.status !== NtStatus.MORE_PROCESSING_REQUIRED || challenge === undefined) {
      throw new SmbError('SESSION_SETUP', first.status);
    }
    preauth.update(challenge.request);
    preauth.update(challenge.bytes);

    const { token, sessionKey } = authenticateToken(securityBuffer(challenge), options.credentials);
    const request = sessionSetup(token, challenge.sessionId, options);
    const second = await connection.send(request);
    if (!isSuccess(second.status) || second.value === undefined) {
      throw new SmbError('SESSION_SETUP', second.status);
    }
    preauth.update(second.value.request);
    const requireSigning = options.requireSigning ?? false;
    return new Session(
      connection,
      negotiated,
      second.value,
      sessionKey,
      preauth.value,
      requireSigning,
    );
  }

  send(request: Request): Call<Message> {
    // A 3.1.1 server takes no unsigned tree connect (MS-SMB2 3.3.5.7).
    const guardsTree =
      request.command === 'TREE_CONNECT' && this.negotiated.dialect === Dialect.SMB_3_1_1;
    const signer = this.#signsAll || guardsTree ? this.#signer : undefined;
    return this.connection.send({ ...request, sessionId: this.id, signer });
  }

  logoff(options: CallOptions = {}): Call<void> {
    const body = [Buffer.from([4, 0, 0, 0])];
    return this.send({ ...options, command: 'LOGOFF', body }).map(() => undefined);
  }

  echo(options: CallOptions = {}): Call<void> {
    const body = [Buffer.from([4, 0, 0, 0])];
    return this.send({ ...options, command: 'ECHO', body }).map(() => undefined);
  }
}

function sessionSetup(token: Buffer, sessionId: bigint, options: SessionOptions): Request {
  const securityMode = options.requireSigning
    ? SecurityMode.SIGNING_REQUIRED
    : SecurityMode.SIGNING_ENABLED;
  const body = new Packer()
    .u16(FIXED_LENGTH + 1)
    .u8(0)
    .u8(securityMode)
    .u32(0)
    .u32(0)
    .u16(HEADER_LENGTH + FIXED_LENGTH)
    .u16(token.length)
    .u64(options.previousSessionId ?? 0n)
    .bytes(token)
    .finish();
  return { command: 'SESSION_SETUP', body: [body], sessionId };
}

function securityBuffer({ bytes, body }: Message): Buffer {
  const start = body.readUInt16LE(4);
  return bytes.subarray(start, start + body.readUInt16LE(6));
}
