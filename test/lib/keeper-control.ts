// SPDX-License-Identifier: GPL-3.0-or-later
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Mailbox } from './mailbox.js';

const MAGIC = 0x504b4431;
const HEADER_SIZE = 32;

export interface Packet {
  type: number;
  seq: number;
  cookie: string;
  payload: Buffer;
}

/** An ENTRY as docs/protocol.md 2.2 lays it out. */
export function parseEntry(payload: Buffer) {
  const handleLength = payload.readUInt16LE(76);
  const identityLength = payload.readUInt16LE(78);
  const recordLength = payload.readUInt16LE(80);
  const identityAt = 84 + handleLength;
  const recordAt = identityAt + identityLength;
  if (payload.length !== recordAt + recordLength) {
    throw new Error(`an ENTRY of ${payload.length} bytes should have ${recordAt + recordLength}`);
  }
  return {
    state: payload.readUInt8(0),
    ownerPid: payload.readUInt32LE(4),
    sinceMonotonicNs: payload.readBigUInt64LE(8),
    sinceRealtimeNs: payload.readBigUInt64LE(16),
    dev: payload.readBigUInt64LE(24),
    ino: payload.readBigUInt64LE(32),
    nlink: payload.readBigUInt64LE(40),
    sizeBytes: payload.readBigUInt64LE(48),
    mtimeNs: payload.readBigInt64LE(56),
    ctimeNs: payload.readBigInt64LE(64),
    fileHandleType: payload.readInt32LE(72),
    fileHandle: payload.subarray(84, identityAt),
    identity: payload.toString('utf8', identityAt, recordAt),
    record: payload.toString('utf8', recordAt),
  };
}

/** A packet's bytes; `change` may spoil its header. */
export function packetBytes(
  type: number,
  seq = 0,
  cookie = '00'.repeat(16),
  payload = Buffer.alloc(0),
  change: (header: Buffer) => void = () => {},
): Buffer {
  const header = Buffer.alloc(HEADER_SIZE);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt16LE(1, 4);
  header.writeUInt16LE(type, 6);
  header.writeUInt32LE(seq, 8);
  header.writeUInt32LE(payload.length, 12);
  header.write(cookie, 16, 'hex');
  change(header);
  return Buffer.concat([header, payload]);
}

/** persistd's side of control.sock. */
export class Control {
  readonly packets = new Mailbox<Packet>('packet on control.sock');
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  #seq = 0;

  private constructor(socket: Socket) {
    let input = Buffer.alloc(0);
    this.socket = socket;
    this.closed = once(socket, 'close');
    socket.on('error', () => {});
    socket.on('data', (data) => {
      input = Buffer.concat([input, data]);
      while (input.length >= HEADER_SIZE) {
        const length = HEADER_SIZE + input.readUInt32LE(12);
        if (input.length < length) {
          break;
        }
        this.packets.put({
          type: input.readUInt16LE(6),
          seq: input.readUInt32LE(8),
          cookie: input.toString('hex', 16, 32),
          payload: input.subarray(HEADER_SIZE, length),
        });
        input = input.subarray(length);
      }
    });
  }

  static async connect(path: string): Promise<Control> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new Control(socket);
  }

  /** Send a request; its seq. */
  send(type: number, cookie?: string): number {
    this.#seq += 1;
    this.socket.write(packetBytes(type, this.#seq, cookie));
    return this.#seq;
  }

  /** The next ENTRY that says so; what came before may have been coalesced. */
  async entry(cookie: string, state: number) {
    const packet = await this.packets.take(
      (one) => one.type === 64 && one.cookie === cookie && one.payload[0] === state,
    );
    return parseEntry(packet.payload);
  }

  async info() {
    const seq = this.send(34);
    const { payload } = await this.packets.take((one) => one.type === 0x8022 && one.seq === seq);
    return {
      pid: payload.readUInt32LE(0),
      used: payload.readUInt32LE(4),
      limit: payload.readUInt32LE(8),
      refused: Number(payload.readBigUInt64LE(12)),
      protocolErrors: Number(payload.readBigUInt64LE(20)),
      facility: payload.readUInt32LE(28),
    };
  }

  async close(): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }
}
