// SPDX-License-Identifier: GPL-3.0-or-later
// Local processes and the files of handles that are away. The keeper watches
// the file of a handle that yields to them, and tells of the first who opens it
// for writing or changes it (docs/local-access.md).

import type { Context } from './context.js';
import type { Content, Handle } from './handle.js';
import type { KeeperView } from './keeper-view.js';
import { yieldsToLocalAccess } from './policy.js';

export interface Touch {
  readonly id: string;
  readonly how: 'opened' | 'modified';
  /** 0: the kernel does not say who. */
  readonly pid: number;
  /** Empty: the process was gone when the keeper looked. */
  readonly process: string;
}

export class LocalAccess {
  readonly #context: Context;
  readonly #keeper: KeeperView;
  /** Handles whose watch was asked for since they are away. */
  readonly #asked = new Set<string>();

  constructor(context: Context, keeper: KeeperView) {
    this.#context = context;
    this.#keeper = keeper;
  }

  /** The handle's state changed, or what the keeper has of it. */
  consider(id: string): void {
    const handle = this.#context.table.live(id);
    if (handle?.state.name !== 'disconnected' || !this.#keeper.isAlone(id)) {
      this.#asked.delete(id);
      return;
    }
    if (this.#asked.has(id) || !this.#yields(handle)) return;
    this.#asked.add(id);
    const sinceNs = handle.state.disconnect.since.monotonicNs;
    this.#context.effects.push({ effect: 'watch', id, sinceNs });
  }

  /** There is a new list of what the keeper has. */
  considerAll(): void {
    this.#asked.clear();
    for (const { id } of this.#context.table.allLive()) this.consider(id);
  }

  /** The keeper watches, and the file is like this: who came before is seen by that only. */
  watched(id: string, sinceNs: bigint, content: Content): void {
    const handle = this.#context.table.live(id);
    if (handle?.state.name !== 'disconnected' || !this.#yields(handle)) return;
    const { stat, since } = handle.state.disconnect;
    if (since.monotonicNs !== sinceNs) {
      this.#asked.delete(id);
      this.consider(id);
    } else if (stat !== null && this.#context.writeTimes.isModified(handle.record, content, stat)) {
      this.#end(handle, 'modified');
    }
  }

  /** A handle that is being resumed is told of again if the claim comes to nothing. */
  touched(touch: Touch): void {
    const handle = this.#context.table.live(touch.id);
    if (handle === undefined || !this.#yields(handle)) return;
    if (handle.state.name === 'disconnected') {
      this.#end(handle, touchText(touch));
    } else if (handle.state.name === 'claimed' && !handle.levelLost) {
      handle.levelLost = true;
      this.#context.put(handle);
      this.#context.publish('level-lost', handle, touchText(touch));
    }
  }

  #yields(handle: Handle): boolean {
    return yieldsToLocalAccess(this.#context.policy, handle.record);
  }

  #end(handle: Handle, reason: string): void {
    this.#context.end(handle, 'superseded', reason, { server: null, drop: true });
  }
}

function touchText({ how, pid, process }: Touch): string {
  const what = how === 'opened' ? 'opened for writing' : 'modified';
  if (pid === 0) return what;
  // the name last: a shortened line of `persistctl watch` has the end whole
  return `${what} by local process ${pid}${process === '' ? '' : ` (${process})`}`;
}
