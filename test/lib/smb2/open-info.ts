// SPDX-License-Identifier: GPL-3.0-or-later
/** QUERY_INFO, SET_INFO and QUERY_DIRECTORY (MS-SMB2 2.2.33 to 2.2.40) on one open. */
import type { CallOptions, Message } from './connection.js';
import { FileInfo, InfoType } from './constants.js';
import type { FileId } from './file-id.js';
import { HEADER_LENGTH } from './header.js';
import * as info from './info.js';
import { Packer, utf16 } from './packer.js';
import type { Call } from './reply.js';
import type { Tree } from './tree.js';

const MAX_INFO_BYTES = 65536;

export class OpenInfo {
  readonly #tree: Tree;
  readonly #fileId: FileId;

  constructor(tree: Tree, fileId: FileId) {
    this.#tree = tree;
    this.#fileId = fileId;
  }

  /** Any information class, as bytes. */
  query(infoClass: number, type: number = InfoType.FILE, options: CallOptions = {}): Call<Buffer> {
    const body = new Packer()
      .u16(41)
      .u8(type)
      .u8(infoClass)
      .u32(MAX_INFO_BYTES)
      .zeros(16)
      .bytes(this.#fileId.bytes)
      .zeros(1);
    return this.#tree
      .send({ ...options, command: 'QUERY_INFO', body: [body.finish()] })
      .map(outputBuffer);
  }

  set(infoClass: number, data: Buffer, options: CallOptions = {}): Call<void> {
    const body = new Packer()
      .u16(33)
      .u8(InfoType.FILE)
      .u8(infoClass)
      .u32(data.length)
      .u16(HEADER_LENGTH + 32)
      .zeros(6)
      .bytes(this.#fileId.bytes)
      .bytes(data);
    return this.#tree
      .send({ ...options, command: 'SET_INFO', body: [body.finish()] })
      .map(() => undefined);
  }

  basic(): Call<info.BasicInfo> {
    return this.query(FileInfo.BASIC).map(info.decodeBasic);
  }

  standard(): Call<info.StandardInfo> {
    return this.query(FileInfo.STANDARD).map(info.decodeStandard);
  }

  position(): Call<bigint> {
    return this.query(FileInfo.POSITION).map(info.decodePosition);
  }

  all(): Call<info.AllInfo> {
    return this.query(FileInfo.ALL).map(info.decodeAll);
  }

  /** The path below the share; dialect 3.1.1 only, else see `all().name`. */
  normalizedName(): Call<string> {
    return this.query(FileInfo.NORMALIZED_NAME).map(info.decodeName);
  }

  setBasic(change: Partial<info.BasicInfo>): Call<void> {
    return this.set(FileInfo.BASIC, info.encodeBasic(change));
  }

  setPosition(position: bigint): Call<void> {
    return this.set(FileInfo.POSITION, new Packer().u64(position).finish());
  }

  setAllocation(sizeBytes: bigint): Call<void> {
    return this.set(FileInfo.ALLOCATION, new Packer().u64(sizeBytes).finish());
  }

  setEndOfFile(sizeBytes: bigint): Call<void> {
    return this.set(FileInfo.END_OF_FILE, new Packer().u64(sizeBytes).finish());
  }

  /** Says whether the file goes away with its last close. */
  setDeletePending(isPending: boolean): Call<void> {
    return this.set(FileInfo.DISPOSITION, Buffer.from([isPending ? 1 : 0]));
  }

  rename(newPath: string, replace = false): Call<void> {
    return this.set(FileInfo.RENAME, info.encodeRename(newPath, replace));
  }

  /** The next entries of a directory; NO_MORE_FILES when there are none. */
  entries(pattern = '*', options: CallOptions = {}): Call<info.DirectoryEntry[]> {
    const name = utf16(pattern);
    const body = new Packer()
      .u16(33)
      .u8(FileInfo.DIRECTORY)
      .u8(0)
      .u32(0)
      .bytes(this.#fileId.bytes)
      .u16(HEADER_LENGTH + 32)
      .u16(name.length)
      .u32(MAX_INFO_BYTES)
      .bytes(name);
    return this.#tree
      .send({ ...options, command: 'QUERY_DIRECTORY', body: [body.finish()] })
      .map((message) => info.decodeDirectory(outputBuffer(message)));
  }
}

function outputBuffer({ bytes, body }: Message): Buffer {
  const start = body.readUInt16LE(2);
  return bytes.subarray(start, start + body.readUInt32LE(4));
}
