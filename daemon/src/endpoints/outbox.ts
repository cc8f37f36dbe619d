// SPDX-License-Identifier: GPL-3.0-or-later
// zeromq.js takes one send at a time. Neither ROUTER nor XPUB waits for a peer
// (they drop what it does not read), so the line behind it stays short.

interface Sender {
  readonly closed: boolean;
  send(frames: Buffer[]): Promise<void>;
}

export class Outbox {
  readonly #socket: Sender;
  readonly #frames: Buffer[][] = [];
  #sending = false;

  constructor(socket: Sender) {
    this.#socket = socket;
  }

  send(frames: Buffer[]): void {
    this.#frames.push(frames);
    if (!this.#sending) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#sending = true;
    for (let next = this.#frames.shift(); next !== undefined; next = this.#frames.shift()) {
      if (this.#socket.closed) break;
      try {
        await this.#socket.send(next);
      } catch {
        // A peer that has gone meanwhile is no error: its reply is of no use to anyone.
      }
    }
    this.#sending = false;
  }
}
