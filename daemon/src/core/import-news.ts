// SPDX-License-Identifier: GPL-3.0-or-later
// That smbd has the records of a handle again, for the store and for people. Of many
// handles some at a time: who waits for an answer of persistd goes first. What the store
// does not have of it when persistd ends is looked at once more, no harm is done.

import type { Context } from './context.js';
import { disconnectOf, type Handle, NS_PER_MS } from './handle.js';

const AT_A_TIME = 64;
const INTERVAL_NS = 25n * NS_PER_MS;

interface News {
  readonly handle: Handle;
  /** smbd did not have them. */
  readonly isNews: boolean;
}

export class ImportNews {
  #waiting: News[] = [];
  /** In this interval. */
  #told = 0;
  #isCounting = false;

  add(context: Context, news: News): void {
    if (!this.#isCounting) this.#count(context);
    if (this.#told < AT_A_TIME) this.#tell(context, news);
    else this.#waiting.push(news);
  }

  #count(context: Context): void {
    this.#isCounting = true;
    this.#told = 0;
    context.deadlines.at(context.now.monotonicNs + INTERVAL_NS, () => {
      this.#isCounting = this.#waiting.length > 0;
      if (!this.#isCounting) return;
      this.#count(context);
      for (const news of this.#waiting.splice(0, AT_A_TIME)) this.#tell(context, news);
    });
  }

  #tell(context: Context, { handle, isNews }: News): void {
    this.#told++;
    if (disconnectOf(handle.state) === null) return;
    context.put(handle);
    if (isNews) context.publish('import', handle);
  }
}
