// SPDX-License-Identifier: GPL-3.0-or-later
/** The name of an open on the wire (MS-SMB2 2.2.14.1). */
export class FileId {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = Buffer.from(bytes);
  }

  static of(persistent: bigint, volatile: bigint): FileId {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64LE(persistent, 0);
    bytes.writeBigUInt64LE(volatile, 8);
    return new FileId(bytes);
  }

  /** The half that survives a drop, and that DHnC and DH2C name. */
  get persistent(): bigint {
    return this.bytes.readBigUInt64LE(0);
  }

  get volatile(): bigint {
    return this.bytes.readBigUInt64LE(8);
  }

  equals(other: FileId): boolean {
    return this.bytes.equals(other.bytes);
  }
}
