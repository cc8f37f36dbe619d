// SPDX-License-Identifier: GPL-3.0-or-later
// The connection to the keeper's control.sock. Made again every 100 ms while
// there is none; each begins with a LIST.

import { createConnection, type Socket } from 'node:net';
import type { Content, Handle, Reopening } from '../core/handle.js';
import type { KeeperEntry } from '../core/keeper-view.js';
import type { Touch } from '../core/local-access.js';
import type { Remade } from '../core/remaking.js';
import type { InfoView } from '../shared/admin.js';
import {
  decodeEntry,
  decodeInfo,
  decodeStatus,
  decodeTouched,
  decodeUpgrade,
  decodeWatch,
  type Upgrade,
} from './entry.js';
import {
  encodePacket,
  NO_COOKIE,
  type Packet,
  PacketError,
  PacketReader,
  PacketType,
  REPLY,
} from './packet.js';
import { decodeDescription, decodeRemade, encodeLocks, encodeRemake } from './remake.js';

const RECONNECT_MS = 100;
const NO_PAYLOAD: Buffer = Buffer.alloc(0);
const EMSGSIZE = -90;
const ENOSYS = -38;

export interface KeeperListener {
  listStarted(): void;
  entry(entry: KeeperEntry): void;
  listEnd(): void;
  gone(id: string): void;
  touched(touch: Touch): void;
  /** Something was mounted or unmounted. */
  mounted(): void;
  lost(): void;
  /** The keeper could not keep a descriptor; `status` is a negative errno. */
  refused(id: string, status: number): void;
  bad(why: string): void;
}

type Waiting = (reply: Packet | null) => void;

export class KeeperClient {
  /** How often the connection was made again. */
  reconnects = 0;
  readonly #path: string;
  readonly #listener: KeeperListener;
  readonly #waiting = new Map<number, Waiting>();
  /** What INFO says on this connection: a keeper of an older version knows no WATCH. */
  #info: Promise<InfoView['keeper']> = Promise.resolve(null);
  #socket: Socket | null = null;
  #connected = false;
  #connections = 0;
  #seq = 0;
  #retry: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(path: string, listener: KeeperListener) {
    this.#path = path;
    this.#listener = listener;
  }

  start(): void {
    const socket = createConnection(this.#path);
    const reader = new PacketReader();
    this.#socket = socket;
    socket.once('connect', () => this.#onConnect());
    socket.on('data', (chunk) => this.#onData(reader, chunk));
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#onClose());
  }

  stop(): void {
    this.#stopped = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#socket?.destroy();
  }

  /** 0, a negative errno, or null: no keeper is connected. */
  drop(id: string): Promise<number | null> {
    return this.#request(PacketType.DROP, id, decodeStatus);
  }

  /** What the file is like from when it is watched; null: it is not. */
  async watch(id: string): Promise<Content | null> {
    const info = await this.#info;
    if (info === null || info.localAccess === 'none') return null;
    return this.#request(PacketType.WATCH, id, decodeWatch);
  }

  /** What it takes to open the file again; null: that cannot be. */
  async describe(id: string): Promise<Reopening | null> {
    if (!(await this.#remakes())) return null;
    return this.#request(PacketType.DESCRIBE, id, decodeDescription);
  }

  /** null: no keeper is connected. */
  async remake(handle: Handle): Promise<Remade | null> {
    const request = encodeRemake(handle);
    if (!(await this.#remakes())) return this.#connected ? { made: false, status: ENOSYS } : null;
    if (request === null) return { made: false, status: EMSGSIZE };
    const remade = await this.#request(PacketType.REMAKE, handle.id, decodeRemade, request);
    if (!remade?.made || handle.record.posixLocking !== true) return remade;
    for (const locks of encodeLocks(handle.locks)) {
      const status = await this.#request(PacketType.LOCK, handle.id, decodeStatus, locks);
      if (status === null) return null;
      if (status !== 0) return { made: false, status };
    }
    return remade;
  }

  /** It has all that can be made again. */
  async settled(): Promise<void> {
    const remakes = await this.#remakes();
    if (remakes && this.#connected) this.#send(PacketType.SETTLED, NO_COOKIE, NO_PAYLOAD);
  }

  /** A keeper of an older version cannot, and does not know what asks for it. */
  async #remakes(): Promise<boolean> {
    return (await this.#info)?.remakes ?? false;
  }

  info(): Promise<InfoView['keeper']> {
    return this.#request(PacketType.INFO, NO_COOKIE, decodeInfo);
  }

  /** It hands over to the program of the next version. null: no keeper, or one that cannot. */
  upgrade(): Promise<Upgrade | null> {
    return this.#request(PacketType.UPGRADE, NO_COOKIE, decodeUpgrade);
  }

  /** null: no keeper is connected, or not any more. `decode` may throw PacketError. */
  #request<T>(
    type: number,
    cookie: string,
    decode: (reply: Packet) => T,
    payload = NO_PAYLOAD,
  ): Promise<T | null> {
    if (!this.#connected) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.#waiting.set(this.#send(type, cookie, payload), (reply) =>
        resolve(reply === null ? null : decode(reply)),
      );
    });
  }

  #send(type: number, cookie: string, payload: Buffer): number {
    this.#seq = (this.#seq + 1) >>> 0;
    this.#socket?.write(encodePacket({ type, seq: this.#seq, cookie, payload }));
    return this.#seq;
  }

  #onConnect(): void {
    this.#connected = true;
    if (this.#connections++ > 0) this.reconnects++;
    this.#listener.listStarted();
    this.#send(PacketType.LIST, NO_COOKIE, NO_PAYLOAD);
    this.#info = this.info();
  }

  #onClose(): void {
    const wasConnected = this.#connected;
    this.#connected = false;
    for (const answered of this.#waiting.values()) answered(null);
    this.#waiting.clear();
    if (this.#stopped) return;
    if (wasConnected) this.#listener.lost();
    this.#retry = setTimeout(() => this.start(), RECONNECT_MS);
  }

  #onData(reader: PacketReader, chunk: Buffer): void {
    try {
      for (const packet of reader.push(chunk)) this.#onPacket(packet);
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      this.#listener.bad(error.message);
      this.#socket?.destroy();
    }
  }

  #onPacket(packet: Packet): void {
    switch (packet.type) {
      case PacketType.ENTRY:
        return this.#listener.entry(decodeEntry(packet));
      case PacketType.GONE:
        return this.#listener.gone(packet.cookie);
      case PacketType.LIST_END:
        return this.#listener.listEnd();
      case PacketType.REFUSED:
        return this.#listener.refused(packet.cookie, decodeStatus(packet));
      case PacketType.TOUCHED:
        return this.#listener.touched(decodeTouched(packet));
      case PacketType.MOUNTED:
        return this.#listener.mounted();
      case PacketType.DESCRIBE | REPLY:
      case PacketType.REMAKE | REPLY:
      case PacketType.LOCK | REPLY:
      case PacketType.DROP | REPLY:
      case PacketType.WATCH | REPLY:
      case PacketType.INFO | REPLY:
      case PacketType.UPGRADE | REPLY:
        return this.#onReply(packet);
      default:
        throw new PacketError(`unknown type ${packet.type}`);
    }
  }

  #onReply(packet: Packet): void {
    this.#waiting.get(packet.seq)?.(packet);
    this.#waiting.delete(packet.seq);
  }
}
