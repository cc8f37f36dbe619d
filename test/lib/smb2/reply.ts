// SPDX-License-Identifier: GPL-3.0-or-later
/** What comes of a request: a `Reply` now, a `Call` before it is there. */
import type { CommandName } from './constants.js';
import { isSuccess, SmbError, statusName } from './status.js';

export class Reply<T> {
  readonly command: CommandName;
  readonly status: number;
  /** Set on success, and on warnings that carry data (BUFFER_OVERFLOW). */
  readonly value: T | undefined;

  constructor(command: CommandName, status: number, value?: T) {
    this.command = command;
    this.status = status;
    this.value = value;
  }

  /** The name of the status, e.g. `SHARING_VIOLATION`. */
  get code(): string {
    return statusName(this.status);
  }

  /** The value, or an SmbError that names the command and the status. */
  ok(): T {
    if (!isSuccess(this.status)) throw new SmbError(this.command, this.status);
    return this.value as T;
  }
}

export interface CallControls {
  /** True when the server said STATUS_PENDING, false when it answered at once. */
  readonly pending: Promise<boolean>;
  /** Sends SMB2 CANCEL; the call then ends with the status the server gives it. */
  cancel(): void;
}

/** A request under way. `await call` gives its Reply, `await call.ok()` the value. */
export class Call<T> implements PromiseLike<Reply<T>>, CallControls {
  readonly pending: Promise<boolean>;
  readonly #reply: Promise<Reply<T>>;
  readonly #controls: CallControls;

  constructor(reply: Promise<Reply<T>>, controls: CallControls) {
    this.#reply = reply;
    this.#controls = controls;
    this.pending = controls.pending;
    // Calls end with an error when their connection is dropped, which is what tests do:
    // one that nobody waits for must not end the process.
    reply.catch(() => undefined);
  }

  // biome-ignore lint/suspicious/noThenProperty: being awaitable is the purpose
  then<A = Reply<T>, B = never>(
    onReply?: ((reply: Reply<T>) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#reply.then(onReply, onError);
  }

  async ok(): Promise<T> {
    return (await this.#reply).ok();
  }

  /** Only the name of the status, for assertions. */
  async code(): Promise<string> {
    return (await this.#reply).code;
  }

  cancel(): void {
    this.#controls.cancel();
  }

  map<U>(decode: (value: T) => U): Call<U> {
    const mapped = this.#reply.then(
      ({ command, status, value }) =>
        new Reply(command, status, value === undefined ? undefined : decode(value)),
    );
    return new Call(mapped as Promise<Reply<U>>, this.#controls);
  }
}
