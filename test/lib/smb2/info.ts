// SPDX-License-Identifier: GPL-3.0-or-later
/** File information classes, MS-FSCC 2.4, as far as tests ask for them. */
import { Packer, utf16 } from './packer.js';

/** Times are in units of 100 ns since 1601; 0 in a SET_INFO leaves one as it is. */
export interface BasicInfo {
  creationTime: bigint;
  lastAccessTime: bigint;
  lastWriteTime: bigint;
  changeTime: bigint;
  attributes: number;
}

export interface StandardInfo {
  allocationSizeBytes: bigint;
  endOfFileBytes: bigint;
  links: number;
  deletePending: boolean;
  isDirectory: boolean;
}

export interface AllInfo {
  basic: BasicInfo;
  standard: StandardInfo;
  indexNumber: bigint;
  access: number;
  position: bigint;
  /** As the server knows the file now, so a rename shows. */
  name: string;
}

export interface DirectoryEntry {
  name: string;
  attributes: number;
  endOfFileBytes: bigint;
  lastWriteTime: bigint;
}

export function decodeBasic(data: Buffer): BasicInfo {
  return {
    creationTime: data.readBigUInt64LE(0),
    lastAccessTime: data.readBigUInt64LE(8),
    lastWriteTime: data.readBigUInt64LE(16),
    changeTime: data.readBigUInt64LE(24),
    attributes: data.readUInt32LE(32),
  };
}

export function encodeBasic(info: Partial<BasicInfo>): Buffer {
  return new Packer()
    .u64(info.creationTime ?? 0n)
    .u64(info.lastAccessTime ?? 0n)
    .u64(info.lastWriteTime ?? 0n)
    .u64(info.changeTime ?? 0n)
    .u32(info.attributes ?? 0)
    .u32(0)
    .finish();
}

export function decodeStandard(data: Buffer): StandardInfo {
  return {
    allocationSizeBytes: data.readBigUInt64LE(0),
    endOfFileBytes: data.readBigUInt64LE(8),
    links: data.readUInt32LE(16),
    deletePending: data.readUInt8(20) !== 0,
    isDirectory: data.readUInt8(21) !== 0,
  };
}

export const decodePosition = (data: Buffer): bigint => data.readBigUInt64LE(0);

export function decodeAll(data: Buffer): AllInfo {
  return {
    basic: decodeBasic(data),
    standard: decodeStandard(data.subarray(40)),
    indexNumber: data.readBigUInt64LE(64),
    access: data.readUInt32LE(76),
    position: data.readBigUInt64LE(80),
    name: decodeName(data.subarray(96)),
  };
}

/** FileNormalizedNameInformation, and the tail of FileAllInformation. */
export function decodeName(data: Buffer): string {
  return data.toString('utf16le', 4, 4 + data.readUInt32LE(0));
}

export function encodeRename(newPath: string, replace: boolean): Buffer {
  const name = utf16(newPath.replaceAll('/', '\\'));
  const info = new Packer()
    .u8(replace ? 1 : 0)
    .zeros(7)
    .u64(0)
    .u32(name.length)
    .bytes(name);
  // Servers want the 24 bytes of the C structure at least.
  return info.zeros(Math.max(0, 24 - info.length)).finish();
}

/** FileDirectoryInformation. */
export function decodeDirectory(data: Buffer): DirectoryEntry[] {
  const entries: DirectoryEntry[] = [];
  for (let at = 0, next = 0; at + 64 <= data.length; at += next) {
    const entry = data.subarray(at);
    entries.push({
      name: entry.toString('utf16le', 64, 64 + entry.readUInt32LE(60)),
      attributes: entry.readUInt32LE(56),
      endOfFileBytes: entry.readBigUInt64LE(40),
      lastWriteTime: entry.readBigUInt64LE(24),
    });
    next = entry.readUInt32LE(0);
    if (next === 0) break;
  }
  return entries;
}
