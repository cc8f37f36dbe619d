// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * One TCP connection carrying length-prefixed messages (MS-SMB2 2.1), which can be
 * dropped or cut off the way a network does it.
 */
import { connect, type Socket } from 'node:net';

const PREFIX_LENGTH = 4;

export class Transport {
  /** Resolves when the socket is gone, whoever ended it. */
  readonly closed: Promise<void>;
  /** Why the connection ended, for messages to people. */
  reason = 'closed by the server';
  readonly #socket: Socket;
  readonly #onMessage: (message: Buffer) => void;
  #chunks: Buffer[] = [];
  #received = 0;
  /** What was to be sent while the connection is partitioned; undefined when it is not. */
  #held: Buffer[] | undefined;

  private constructor(socket: Socket, onMessage: (message: Buffer) => void) {
    this.#socket = socket;
    this.#onMessage = onMessage;
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      this.reason = error.message;
    });
    socket.on('data', (chunk) => this.#receive(chunk));
  }

  static open(
    host: string,
    port: number,
    onMessage: (message: Buffer) => void,
    timeoutMs: number,
  ): Promise<Transport> {
    return new Promise((resolve, reject) => {
      const where = `${host}:${port}`;
      const socket = connect({ host, port });
      const timer = setTimeout(() => {
        socket.destroy();
        reject(new Error(`connecting to ${where}: no answer within ${timeoutMs} ms`));
      }, timeoutMs);
      const onError = (error: Error) => {
        clearTimeout(timer);
        reject(new Error(`connecting to ${where}: ${error.message}`));
      };
      socket.once('error', onError);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.off('error', onError);
        resolve(new Transport(socket, onMessage));
      });
    });
  }

  get localPort(): number | undefined {
    return this.#socket.localPort;
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  /** Sends `frame`, whose first four bytes are left free for the length. */
  send(frame: Buffer): void {
    frame.writeUInt32BE(frame.length - PREFIX_LENGTH, 0);
    if (this.#held) this.#held.push(frame);
    else this.#socket.write(frame);
  }

  /** Ends the connection with a reset and no goodbye, as when the network fails. */
  drop(): Promise<void> {
    this.reason = 'dropped by this client';
    this.#socket.resetAndDestroy();
    return this.closed;
  }

  /** Neither sends nor receives any more, but keeps the socket; see `heal`. */
  partition(): void {
    this.#held ??= [];
    this.#socket.pause();
  }

  /** Ends a partition: what was held back is sent now. */
  heal(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const frame of held) this.#socket.write(frame);
    this.#socket.resume();
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#received += chunk.length;
    for (let length = this.#wanted(); length <= this.#received; length = this.#wanted()) {
      const all = this.#gather();
      this.#chunks = length < all.length ? [all.subarray(length)] : [];
      this.#received -= length;
      this.#deliver(all.subarray(PREFIX_LENGTH, length));
    }
  }

  /** How many bytes the next message takes with its prefix; infinite while unknown. */
  #wanted(): number {
    if (this.#received < PREFIX_LENGTH) return Number.POSITIVE_INFINITY;
    const first = this.#chunks[0];
    const head = first && first.length >= PREFIX_LENGTH ? first : this.#gather();
    return PREFIX_LENGTH + (head.readUInt32BE(0) & 0xffffff);
  }

  #gather(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0] : undefined;
    if (all) return all;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }

  #deliver(message: Buffer): void {
    try {
      this.#onMessage(message);
    } catch (error) {
      this.reason = error instanceof Error ? error.message : String(error);
      this.#socket.destroy();
    }
  }
}
