// SPDX-License-Identifier: GPL-3.0-or-later

/** What arrives, and who waits for it; a wait that is too long fails. */
export class Mailbox<T> {
  readonly #what: string;
  readonly #waitMs: number;
  #items: T[] = [];
  #waiting: { match: (item: T) => boolean; resolve: (item: T) => void }[] = [];

  constructor(what: string, waitMs = 10_000) {
    this.#what = what;
    this.#waitMs = waitMs;
  }

  put(item: T): void {
    const index = this.#waiting.findIndex(({ match }) => match(item));
    const [waiter] = index === -1 ? [] : this.#waiting.splice(index, 1);
    if (waiter === undefined) {
      this.#items.push(item);
    } else {
      waiter.resolve(item);
    }
  }

  /** The first one that matches, taken out; the others stay. */
  take(match: (item: T) => boolean = () => true): Promise<T> {
    const index = this.#items.findIndex(match);
    const [item] = index === -1 ? [] : this.#items.splice(index, 1);
    if (item !== undefined) {
      return Promise.resolve(item);
    }
    return new Promise((resolve, reject) => {
      const waiter = {
        match,
        resolve: (found: T) => {
          clearTimeout(timer);
          resolve(found);
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(new Error(`${this.#what}: nothing within ${this.#waitMs} ms`));
      }, this.#waitMs);
      this.#waiting.push(waiter);
    });
  }

  /** What is there and has not been taken. */
  peek(): readonly T[] {
    return this.#items;
  }
}
