// SPDX-License-Identifier: GPL-3.0-or-later
/** An open file and what can be done with it (MS-SMB2 2.2.15 to 2.2.32). */
import type { CallOptions } from './connection.js';
import { Fsctl, LockFlag } from './constants.js';
import type { CreateResult, OpenOptions } from './create.js';
import type { FileId } from './file-id.js';
import { HEADER_LENGTH } from './header.js';
import { OpenInfo } from './open-info.js';
import { Packer } from './packer.js';
import type { Call } from './reply.js';
import type { Tree } from './tree.js';

export interface LockElement {
  offset: bigint | number;
  length: bigint | number;
  /** LockFlag bits in place of the ones that `lock` and `unlock` set. */
  flags?: number;
}

export interface LockOptions extends CallOptions {
  shared?: boolean;
  /** Wait until the range is free, in place of LOCK_NOT_GRANTED. */
  blocking?: boolean;
  /** For replay detection on resilient and persistent handles (MS-SMB2 2.2.26). */
  sequence?: { index: number; number: number };
}

export interface IoctlOptions extends CallOptions {
  maxOutputBytes?: number;
}

export interface WriteOptions extends CallOptions {
  writeThrough?: boolean;
}

export class Open {
  readonly tree: Tree;
  readonly path: string;
  readonly fileId: FileId;
  readonly result: CreateResult;
  /** What was asked for. */
  readonly asked: OpenOptions;
  readonly info: OpenInfo;

  constructor(tree: Tree, path: string, asked: OpenOptions, result: CreateResult) {
    this.tree = tree;
    this.path = path;
    this.asked = asked;
    this.result = result;
    this.fileId = result.fileId;
    this.info = new OpenInfo(tree, result.fileId);
  }

  get granted(): CreateResult['granted'] {
    return this.result.granted;
  }

  get oplock(): number {
    return this.result.oplock;
  }

  get createGuid(): Buffer | undefined {
    return this.asked.durable?.version === 2
      ? this.asked.durable.createGuid
      : this.asked.reconnect?.createGuid;
  }

  /**
   * Options that resume this open on another connection, as it was asked for but without
   * the contexts that a reconnect must not carry (MS-SMB2 3.3.5.9.7 and 3.3.5.9.12).
   */
  get reconnectOptions(): OpenOptions {
    const {
      durable,
      contexts,
      maximalAccess,
      queryOnDiskId,
      allocationSizeBytes,
      appInstanceId,
      appInstanceVersion,
      ...same
    } = this.asked;
    const persistent =
      (durable?.version === 2 && durable.persistent) || this.asked.reconnect?.persistent || false;
    const { createGuid, fileId } = this;
    return { ...same, reconnect: { fileId, ...(createGuid ? { createGuid } : {}), persistent } };
  }

  read(offset: bigint | number, length: number, options: CallOptions = {}): Call<Buffer> {
    const body = new Packer()
      .u16(49)
      .u16(0)
      .u32(length)
      .u64(offset)
      .bytes(this.fileId.bytes)
      .zeros(17)
      .finish();
    return this.tree
      .send({ ...options, command: 'READ', body: [body], payloadSizeBytes: length })
      .map((message) => {
        const start = message.body.readUInt8(2);
        return message.bytes.subarray(start, start + message.body.readUInt32LE(4));
      });
  }

  /** Resolves to the number of bytes written. */
  write(offset: bigint | number, data: Buffer | string, options: WriteOptions = {}): Call<number> {
    const payload = typeof data === 'string' ? Buffer.from(data) : data;
    const body = new Packer()
      .u16(49)
      .u16(HEADER_LENGTH + 48)
      .u32(payload.length)
      .u64(offset)
      .bytes(this.fileId.bytes)
      .zeros(12)
      .u32(options.writeThrough ? 1 : 0)
      .finish();
    const request = { body: [body, payload], payloadSizeBytes: payload.length };
    return this.tree
      .send({ ...options, command: 'WRITE', ...request })
      .map((message) => message.body.readUInt32LE(4));
  }

  flush(options: CallOptions = {}): Call<void> {
    const body = new Packer().u16(24).zeros(6).bytes(this.fileId.bytes).finish();
    return this.tree.send({ ...options, command: 'FLUSH', body: [body] }).map(() => undefined);
  }

  close(options: CallOptions = {}): Call<void> {
    const body = new Packer().u16(24).zeros(6).bytes(this.fileId.bytes).finish();
    return this.tree.send({ ...options, command: 'CLOSE', body: [body] }).map(() => undefined);
  }

  lock(elements: LockElement | readonly LockElement[], options: LockOptions = {}): Call<void> {
    const kind = options.shared ? LockFlag.SHARED : LockFlag.EXCLUSIVE;
    return this.#lock(elements, kind | (options.blocking ? 0 : LockFlag.FAIL_IMMEDIATELY), options);
  }

  unlock(elements: LockElement | readonly LockElement[], options: LockOptions = {}): Call<void> {
    return this.#lock(elements, LockFlag.UNLOCK, options);
  }

  /** Any FSCTL; resolves to what the server puts out. */
  ioctl(code: number, input: Buffer = Buffer.alloc(0), options: IoctlOptions = {}): Call<Buffer> {
    const { maxOutputBytes = 65536 } = options;
    const body = new Packer(256)
      .u16(57)
      .u16(0)
      .u32(code)
      .bytes(this.fileId.bytes)
      .u32(input.length === 0 ? 0 : HEADER_LENGTH + 56)
      .u32(input.length)
      .u32(0)
      .u32(0)
      .u32(0)
      .u32(maxOutputBytes)
      .u32(1)
      .u32(0)
      .bytes(input)
      .zeros(input.length === 0 ? 1 : 0)
      .finish();
    const payloadSizeBytes = Math.max(input.length, maxOutputBytes);
    return this.tree
      .send({ ...options, command: 'IOCTL', body: [body], payloadSizeBytes })
      .map(({ bytes, body: answer }) => {
        const start = answer.readUInt32LE(32);
        return bytes.subarray(start, start + answer.readUInt32LE(36));
      });
  }

  /** NETWORK_RESILIENCY_REQUEST, MS-SMB2 2.2.31.3. */
  requestResiliency(timeoutMs: number, reserved = 0, options: IoctlOptions = {}): Call<Buffer> {
    const input = new Packer().u32(timeoutMs).u32(reserved).finish();
    return this.ioctl(Fsctl.LMR_REQUEST_RESILIENCY, input, options);
  }

  #lock(
    elements: LockElement | readonly LockElement[],
    flags: number,
    { sequence, ...options }: LockOptions,
  ): Call<void> {
    const list = [elements].flat() as LockElement[];
    const body = new Packer()
      .u16(48)
      .u16(list.length)
      .u32(sequence ? (sequence.index << 4) | sequence.number : 0)
      .bytes(this.fileId.bytes);
    for (const element of list) {
      body
        .u64(element.offset)
        .u64(element.length)
        .u32(element.flags ?? flags)
        .u32(0);
    }
    return this.tree
      .send({ ...options, command: 'LOCK', body: [body.finish()] })
      .map(() => undefined);
  }
}
