// SPDX-License-Identifier: GPL-3.0-or-later
/** Oplock and lease breaks, and their acknowledgements (MS-SMB2 2.2.23 to 2.2.25). */
import type { CallOptions, Message, Request } from './connection.js';
import { FileId } from './file-id.js';
import { Packer } from './packer.js';
import type { Call } from './reply.js';

const OPLOCK_BREAK_SIZE = 24;
const LEASE_BREAK_SIZE = 44;
const ACK_REQUIRED = 1;

type Send = (request: Request) => Call<Message>;

export class OplockBreak {
  readonly fileId: FileId;
  /** The Oplock level that the server asks to go down to. */
  readonly level: number;
  readonly #send: Send;

  constructor(body: Buffer, send: Send) {
    this.level = body.readUInt8(2);
    this.fileId = new FileId(body.subarray(8, 24));
    this.#send = send;
  }

  /** `send`: that of the open's tree, where a client has more than one. */
  ack(level = this.level, options: CallOptions = {}, send: Send = this.#send): Call<void> {
    const body = new Packer()
      .u16(OPLOCK_BREAK_SIZE)
      .u8(level)
      .zeros(5)
      .bytes(this.fileId.bytes)
      .finish();
    return send({ ...options, command: 'OPLOCK_BREAK', body: [body] }).map(() => undefined);
  }
}

export class LeaseBreak {
  readonly epoch: number;
  readonly ackRequired: boolean;
  readonly key: Buffer;
  /** LeaseState bits before, and what the server asks to go down to. */
  readonly currentState: number;
  readonly newState: number;
  readonly #send: Send;

  constructor(body: Buffer, send: Send) {
    this.epoch = body.readUInt16LE(2);
    this.ackRequired = (body.readUInt32LE(4) & ACK_REQUIRED) !== 0;
    this.key = Buffer.from(body.subarray(8, 24));
    this.currentState = body.readUInt32LE(24);
    this.newState = body.readUInt32LE(28);
    this.#send = send;
  }

  ack(state = this.newState, options: CallOptions = {}): Call<void> {
    const body = new Packer().u16(36).zeros(6).bytes(this.key).u32(state).u64(0).finish();
    return this.#send({ ...options, command: 'OPLOCK_BREAK', body: [body] }).map(() => undefined);
  }
}

export function decodeBreak(body: Buffer, send: Send): OplockBreak | LeaseBreak {
  const size = body.readUInt16LE(0);
  if (size === OPLOCK_BREAK_SIZE) return new OplockBreak(body, send);
  if (size === LEASE_BREAK_SIZE) return new LeaseBreak(body, send);
  throw new Error(`OPLOCK_BREAK: the server sent a notification of unknown size ${size}`);
}
