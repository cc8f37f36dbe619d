// SPDX-License-Identifier: GPL-3.0-or-later
/** A connected share (MS-SMB2 2.2.9 to 2.2.12) and the way to its files. */
import type { CallOptions, Message, Request } from './connection.js';
import { CreateOption, Dialect, Disposition } from './constants.js';
import { decodeCreate, encodeCreate, type OpenOptions } from './create.js';
import { newGuid } from './guid.js';
import { HEADER_LENGTH } from './header.js';
import type { DirectoryEntry } from './info.js';
import { Open } from './open.js';
import { Packer, utf16 } from './packer.js';
import type { Call } from './reply.js';
import type { Session } from './session.js';

export class Tree {
  readonly session: Session;
  readonly share: string;
  readonly id: number;
  readonly shareFlags: number;
  /** ShareCapability bits. */
  readonly capabilities: number;
  readonly maximalAccess: number;

  private constructor(session: Session, share: string, { treeId, body }: Message) {
    this.session = session;
    this.share = share;
    this.id = treeId;
    this.shareFlags = body.readUInt32LE(4);
    this.capabilities = body.readUInt32LE(8);
    this.maximalAccess = body.readUInt32LE(12);
  }

  static connect(session: Session, share: string, options: CallOptions = {}): Call<Tree> {
    const path = utf16(`\\\\${session.connection.host}\\${share}`);
    const body = new Packer()
      .u16(9)
      .u16(0)
      .u16(HEADER_LENGTH + 8)
      .u16(path.length)
      .bytes(path)
      .finish();
    return session
      .send({ ...options, command: 'TREE_CONNECT', body: [body] })
      .map((message) => new Tree(session, share, message));
  }

  send(request: Request): Call<Message> {
    return this.session.send({ ...request, treeId: this.id });
  }

  disconnect(options: CallOptions = {}): Call<void> {
    const body = [Buffer.from([4, 0, 0, 0])];
    return this.send({ ...options, command: 'TREE_DISCONNECT', body }).map(() => undefined);
  }

  /** Opens a path below the share; a lease's version and a create GUID are filled in. */
  open(path: string, options: OpenOptions = {}, call: CallOptions = {}): Call<Open> {
    const asked = this.#complete(options);
    return this.send({ ...call, command: 'CREATE', body: [encodeCreate(path, asked)] }).map(
      (message) => new Open(this, path, asked, decodeCreate(message)),
    );
  }

  /** Resumes an open of an earlier connection; `overrides` change what is asked. */
  reconnect(old: Open, overrides: OpenOptions = {}, call: CallOptions = {}): Call<Open> {
    return this.open(old.path, { ...old.reconnectOptions, ...overrides }, call);
  }

  async list(path = '', pattern = '*'): Promise<DirectoryEntry[]> {
    const options = { options: CreateOption.DIRECTORY_FILE, disposition: Disposition.OPEN };
    const directory = await this.open(path, options).ok();
    const found: DirectoryEntry[] = [];
    let reply = await directory.info.entries(pattern);
    for (; reply.value !== undefined; reply = await directory.info.entries(pattern)) {
      found.push(...reply.value);
    }
    await directory.close().ok();
    if (reply.code !== 'NO_MORE_FILES' && reply.code !== 'NO_SUCH_FILE') reply.ok();
    return found.filter(({ name }) => name !== '.' && name !== '..');
  }

  async unlink(path: string): Promise<void> {
    const options = CreateOption.NON_DIRECTORY_FILE | CreateOption.DELETE_ON_CLOSE;
    const open = await this.open(path, { disposition: Disposition.OPEN, options }).ok();
    await open.close().ok();
  }

  #complete(options: OpenOptions): OpenOptions {
    const { lease, durable } = options;
    const version = this.session.negotiated.dialect === Dialect.SMB_2_1 ? 1 : 2;
    const completed = { ...options };
    if (lease) completed.lease = { version, ...lease };
    if (durable?.version === 2) completed.durable = { createGuid: newGuid(), ...durable };
    return completed;
  }
}
