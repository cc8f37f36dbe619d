// SPDX-License-Identifier: GPL-3.0-or-later
// The packets of control.sock (docs/protocol.md section 2).

const MAGIC = 0x504b4431;
const VERSION = 1;
const HEADER_BYTES = 32;
export const MAX_PAYLOAD_BYTES = 16_384;

export const REPLY = 0x8000;

export const PacketType = {
  LIST: 32,
  DROP: 33,
  INFO: 34,
  WATCH: 35,
  UPGRADE: 36,
  DESCRIBE: 40,
  REMAKE: 41,
  LOCK: 42,
  SETTLED: 43,
  ENTRY: 64,
  GONE: 65,
  LIST_END: 66,
  REFUSED: 67,
  TOUCHED: 68,
  MOUNTED: 72,
} as const;

export interface Packet {
  readonly type: number;
  readonly seq: number;
  /** 32 hexadecimal digits; zeros where no handle is meant. */
  readonly cookie: string;
  readonly payload: Buffer;
}

export const NO_COOKIE = '0'.repeat(32);

/** What the other side sends is not this protocol. */
export class PacketError extends Error {
  override readonly name = 'PacketError';
}

export function encodePacket({ type, seq, cookie, payload }: Packet): Buffer {
  const packet = Buffer.alloc(HEADER_BYTES + payload.length);
  packet.writeUInt32LE(MAGIC, 0);
  packet.writeUInt16LE(VERSION, 4);
  packet.writeUInt16LE(type, 6);
  packet.writeUInt32LE(seq, 8);
  packet.writeUInt32LE(payload.length, 12);
  packet.write(cookie, 16, 'hex');
  payload.copy(packet, HEADER_BYTES);
  return packet;
}

/** Cuts a stream of bytes into packets. */
export class PacketReader {
  #buffered: Buffer = Buffer.alloc(0);

  /** The packets that these bytes complete. Throws PacketError; the stream is lost then. */
  *push(chunk: Buffer): Generator<Packet> {
    let rest = this.#buffered.length === 0 ? chunk : Buffer.concat([this.#buffered, chunk]);
    this.#buffered = rest;
    for (let size = packetBytes(rest); size !== null && size <= rest.length; ) {
      const packet = rest.subarray(0, size);
      rest = rest.subarray(size);
      this.#buffered = rest;
      yield {
        type: packet.readUInt16LE(6),
        seq: packet.readUInt32LE(8),
        cookie: packet.toString('hex', 16, 32),
        payload: packet.subarray(HEADER_BYTES),
      };
      size = packetBytes(rest);
    }
  }
}

/** null: the header has not come whole. */
function packetBytes(bytes: Buffer): number | null {
  if (bytes.length < HEADER_BYTES) return null;
  if (bytes.readUInt32LE(0) !== MAGIC) throw new PacketError('wrong magic');
  const version = bytes.readUInt16LE(4);
  if (version !== VERSION) throw new PacketError(`version ${version}`);
  const payloadBytes = bytes.readUInt32LE(12);
  if (payloadBytes > MAX_PAYLOAD_BYTES) throw new PacketError(`payload of ${payloadBytes} bytes`);
  return HEADER_BYTES + payloadBytes;
}
