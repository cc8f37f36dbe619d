// SPDX-License-Identifier: GPL-3.0-or-later
// That smbd has the records of a handle again, for people. Of many handles some at a
// time: who waits for an answer of persistd goes first. (The store learns of it with
// the handle's next change; until then the next persistd has it looked at once more.)

import type { Context } from './context.js';
import { disconnectOf, type Handle, NS_PER_MS } from './handle.js';

const AT_A_TIME = 64;
const INTERVAL_NS = 25n * NS_PER_MS;

export class ImportNews {
  #waiting: Handle[] = [];
  /** In this interval. */
  #told = 0;
  #isCounting = false;

  add(context: Context, handle: Handle): void {
    if (!this.#isCounting) this.#count(context);
    if (this.#told < AT_A_TIME) this.#tell(context, handle);
    else this.#waiting.push(handle);
  }

  #count(context: Context): void {
    this.#isCounting = true;
    this.#told = 0;
    context.deadlines.at(context.now.monotonicNs + INTERVAL_NS, () => {
      this.#isCounting = this.#waiting.length > 0;
      if (!this.#isCounting) return;
      this.#count(context);
      for (const handle of this.#waiting.splice(0, AT_A_TIME)) this.#tell(context, handle);
    });
  }

  #tell(context: Context, handle: Handle): void {
    this.#told++;
    if (disconnectOf(handle.state) !== null) context.publish('import', handle);
  }
}
