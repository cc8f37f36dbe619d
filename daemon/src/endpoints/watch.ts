// SPDX-License-Identifier: GPL-3.0-or-later
// watch.sock: what happens, as it happens.

import { Publisher } from 'zeromq';
import type { WatchEvent } from '../shared/admin.js';
import { encodeMessage } from '../shared/message.js';
import { Outbox } from './outbox.js';

export class WatchEndpoint {
  readonly #socket = new Publisher({ linger: 0 });
  readonly #outbox = new Outbox(this.#socket);
  #seq = 0;

  async bind(path: string): Promise<void> {
    await this.#socket.bind(`ipc://${path}`);
  }

  publish(event: WatchEvent): void {
    this.#outbox.send([encodeMessage('event', this.#seq++, { ...event })]);
  }

  close(): void {
    this.#socket.close();
  }
}
