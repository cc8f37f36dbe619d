// SPDX-License-Identifier: GPL-3.0-or-later
/** Writes little-endian fields one after another into a growing buffer. */
export class Packer {
  #buffer: Buffer;
  #length = 0;

  constructor(sizeHint = 128) {
    this.#buffer = Buffer.alloc(sizeHint);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#buffer.writeUInt8(value, at);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#buffer.writeUInt16LE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#buffer.writeUInt32LE(value >>> 0, at);
    return this;
  }

  u64(value: bigint | number): this {
    const at = this.#grow(8);
    this.#buffer.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length);
    this.#buffer.set(value, at);
    return this;
  }

  zeros(count: number): this {
    this.#grow(count);
    return this;
  }

  /** Pads with zeros until the length is a multiple of `boundary`. */
  align(boundary: number): this {
    return this.zeros((boundary - (this.#length % boundary)) % boundary);
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Makes room for `count` bytes (they are zero) and returns where they begin. */
  #grow(count: number): number {
    const start = this.#length;
    this.#length += count;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#length, this.#buffer.length * 2));
      this.#buffer.copy(larger);
      this.#buffer = larger;
    }
    return start;
  }
}

export function utf16(text: string): Buffer {
  return Buffer.from(text, 'utf16le');
}
