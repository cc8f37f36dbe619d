// SPDX-License-Identifier: GPL-3.0-or-later
// watch.sock: what happens, as it happens.

import { XPublisher } from 'zeromq';
import type { WatchEvent } from '../shared/admin.js';
import { encodeMessage } from '../shared/message.js';
import { Outbox } from './outbox.js';

/** zmq_socket(3), ZMQ_XPUB: the first byte of what a subscriber sends. */
const SUBSCRIBE = 1;
const UNSUBSCRIBE = 0;

export class WatchEndpoint {
  readonly #socket = new XPublisher({ linger: 0 });
  readonly #outbox = new Outbox(this.#socket);
  /** Each topic once, however many subscribe to it. */
  #topics = 0;
  #seq = 0;

  async bind(path: string): Promise<void> {
    await this.#socket.bind(`ipc://${path}`);
  }

  /** Returns when the endpoint is closed. */
  async serve(): Promise<void> {
    for await (const [frame] of this.#socket) {
      if (frame?.[0] === SUBSCRIBE) this.#topics += 1;
      if (frame?.[0] === UNSUBSCRIBE) this.#topics -= 1;
    }
  }

  /** Costs next to nothing while nobody watches. */
  publish(event: WatchEvent): void {
    const seq = this.#seq++;
    // whoever has just subscribed is in the line to be received
    if (this.#topics === 0 && !this.#socket.readable) return;
    this.#outbox.send([encodeMessage('event', seq, { ...event })]);
  }

  close(): void {
    this.#socket.close();
  }
}
