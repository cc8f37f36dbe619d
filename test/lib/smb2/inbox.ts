// SPDX-License-Identifier: GPL-3.0-or-later
/** Things that come unasked, kept until somebody takes them. */
export class Inbox<T> {
  readonly #what: string;
  readonly #unread: T[] = [];
  #takers: ((item: T) => void)[] = [];

  constructor(what: string) {
    this.#what = what;
  }

  /** How many came that nobody has taken. */
  get unread(): number {
    return this.#unread.length;
  }

  put(item: T): void {
    const taker = this.#takers.shift();
    if (taker) taker(item);
    else this.#unread.push(item);
  }

  /** The oldest one not taken yet, or the next one to come. */
  next(timeoutMs = 20_000): Promise<T> {
    const item = this.#unread.shift();
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve, reject) => {
      const taker = (next: T) => {
        clearTimeout(timer);
        resolve(next);
      };
      const timer = setTimeout(() => {
        this.#takers = this.#takers.filter((other) => other !== taker);
        reject(new Error(`no ${this.#what} came within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#takers.push(taker);
    });
  }
}
