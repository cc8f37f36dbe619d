// SPDX-License-Identifier: GPL-3.0-or-later
// A ROUTER socket that takes requests and gives replies.

import { Router } from 'zeromq';
import {
  type Body,
  decodeMessage,
  encodeMessage,
  MAX_REQUEST_BYTES,
  type Message,
  MessageError,
} from '../shared/message.js';
import { WireError } from '../wire/codec.js';
import { Outbox } from './outbox.js';

/** libzmq ends the connection of who sends more; up to there it is counted and dropped. */
const MAX_FRAME_BYTES = 4 * MAX_REQUEST_BYTES;

export type Reply = (type: string, body: Body) => void;

export interface RequestHandler {
  /** May throw WireError. */
  request(message: Message, reply: Reply): void;
  bad(why: string): void;
}

export class RouterEndpoint {
  readonly #socket = new Router({ linger: 0, maxMessageSize: MAX_FRAME_BYTES });
  readonly #outbox = new Outbox(this.#socket);
  readonly #handler: RequestHandler;

  constructor(handler: RequestHandler) {
    this.#handler = handler;
  }

  async bind(path: string): Promise<void> {
    await this.#socket.bind(`ipc://${path}`);
  }

  /** Returns when the endpoint is closed. */
  async serve(): Promise<void> {
    for await (const frames of this.#socket) this.#receive(frames);
  }

  close(): void {
    this.#socket.close();
  }

  #receive(frames: Buffer[]): void {
    const [identity, frame] = frames;
    if (identity === undefined || frame === undefined || frames.length !== 2) {
      this.#handler.bad(`${frames.length - 1} frames instead of one`);
      return;
    }
    let message: Message;
    try {
      message = decodeMessage(frame, MAX_REQUEST_BYTES);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      this.#handler.bad(error.message);
      return;
    }
    const { seq } = message;
    const reply: Reply = (type, body) => {
      this.#outbox.send([identity, encodeMessage(type, seq, body)]);
    };
    try {
      this.#handler.request(message, reply);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#handler.bad(error.message);
      reply('error', { code: 'bad-request', message: error.message });
    }
  }
}
