// SPDX-License-Identifier: GPL-3.0-or-later
// Handles that outlive their descriptor: what it takes to make them again, and
// the making when a keeper has none of their descriptors.

import type { FileStat, HandleRecord } from '../wire/records.js';
import type { Context } from './context.js';
import { deadlineAfter, disconnectOf, type Handle, type Reopening } from './handle.js';

/** The keeper's answer; `status` is a negative errno. */
export type Remade =
  | { readonly made: true; readonly stat: FileStat }
  | { readonly made: false; readonly status: number };

const ENOENT = -2;
const EAGAIN = -11;
const EEXIST = -17;
const ENODEV = -19;
const ESTALE = -116;

export class Remaking {
  readonly #context: Context;
  /** The keeper is at it. */
  readonly #asked = new Set<string>();
  /** Their file systems are not mounted. */
  readonly #unmounted = new Set<string>();
  #owesSettled = false;

  constructor(context: Context) {
    this.#context = context;
  }

  /**
   * smbd holds the handle, and this is what its share wants it to outlive. `before` is its
   * record until now: smbd may not have been able to tell of locks of one that had to do
   * with less, so that one stays as it is.
   */
  want(handle: Handle, before: HandleRecord | null): void {
    const { kind, durability } = handle.record;
    if (durability === 'host' && before?.kind === kind && before.durability === 'process') {
      handle.record = { ...handle.record, durability: 'process' };
      handle.reopening = null;
    } else if (durability !== 'host') {
      handle.reopening = null;
    } else if (handle.reopening === null) {
      this.#context.effects.push({ effect: 'describe', id: handle.id });
    }
  }

  /**
   * Its smbd child has told all about it and given it up, so that what is known of its
   * locks is complete until it is resumed: it outlives the keeper, whatever its share wants.
   */
  away(handle: Handle): void {
    if (handle.reopening === null)
      this.#context.effects.push({ effect: 'describe', id: handle.id });
  }

  /** null: the file cannot be opened by a file handle, or the keeper does not have it. */
  described(id: string, reopening: Reopening | null): void {
    const handle = this.#context.table.live(id);
    if (handle === undefined || reopening === null) return;
    if (handle.record.durability !== 'host' && handle.state.name === 'connected') return;
    handle.reopening = reopening;
    handle.keptBy = this.#context.keeper;
    this.#context.put(handle);
  }

  /** What the very keeper that had its descriptor lacks was given up by an smbd child. */
  isFor({ reopening, keptBy }: Handle): boolean {
    return reopening !== null && (keptBy === null || keptBy !== this.#context.keeper);
  }

  /** The smbd child of a connected handle is dead, and so is the keeper that had the descriptor. */
  abandon(handle: Handle): void {
    const { now } = this.#context;
    handle.importedIn = null;
    handle.retained = false;
    const disconnect = {
      stat: null,
      since: now,
      deadlineNs: deadlineAfter(now.monotonicNs, handle.record.timeoutMs),
      orphan: true,
    };
    if (!this.#context.change(handle, { step: 'disconnect', server: null, disconnect })) return;
    this.#context.counters.disconnects++;
    this.#context.publish('disconnect', handle);
  }

  begin(handle: Handle): void {
    this.#unmounted.delete(handle.id);
    if (this.#asked.has(handle.id)) return;
    this.#asked.add(handle.id);
    this.#context.effects.push({ effect: 'remake', handle });
  }

  isUnderWay(id: string): boolean {
    return this.#asked.has(id);
  }

  done(id: string, result: Remade): void {
    if (!this.#asked.delete(id)) return;
    const handle = this.#context.table.live(id);
    if (handle !== undefined) {
      if (result.made) this.#made(handle, result.stat);
      else this.#failed(handle, result.status);
    }
    this.settle();
  }

  /** There is a new list of what the keeper has, and what it lacks is being made. */
  listed(): void {
    this.#owesSettled = true;
    this.settle();
  }

  settle(): void {
    if (!this.#owesSettled || this.#asked.size > 0) return;
    this.#owesSettled = false;
    this.#context.effects.push({ effect: 'settled' });
  }

  mounted(): void {
    for (const id of this.#unmounted) {
      const handle = this.#context.table.live(id);
      if (handle === undefined || disconnectOf(handle.state) === null) this.#unmounted.delete(id);
      else this.begin(handle);
    }
  }

  lost(): void {
    this.#asked.clear();
    this.#unmounted.clear();
    this.#owesSettled = false;
  }

  #made(handle: Handle, stat: FileStat): void {
    const { dev, ino } = stat;
    if (!this.#context.change(handle, { step: 'found', stat })) return;
    this.#context.table.replaceRecord(handle, { ...handle.record, dev, ino });
    handle.retained = true;
    handle.remade = true;
    handle.keptBy = this.#context.keeper;
    handle.importedIn = null;
    handle.importedBy = null;
    this.#owesSettled = true;
    this.#context.counters.remakes++;
    this.#context.publish('remade', handle);
  }

  #failed(handle: Handle, status: number): void {
    if (status === EEXIST) return;
    if (status === ENODEV) this.#unmounted.add(handle.id);
    else this.#context.end(handle, 'failed', reasonOf(status), { server: null, drop: true });
  }
}

function reasonOf(status: number): string {
  if (status === ESTALE || status === ENOENT) return 'file-gone';
  return status === EAGAIN ? 'locked-by-others' : 'descriptor-lost';
}
