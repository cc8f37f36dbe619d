// SPDX-License-Identifier: GPL-3.0-or-later
// What the keeper says it holds, and what follows from it for the table.

import { type FileStat, type HandleRecord, type ServerId, sameServer } from '../wire/records.js';
import type { Context } from './context.js';
import {
  type Disconnect,
  deadlineAfter,
  disconnectOf,
  type Handle,
  type Moment,
  NS_PER_MS,
  type State,
} from './handle.js';
import type { Remaking } from './remaking.js';

export interface KeeperEntry {
  readonly id: string;
  readonly state: 'held' | 'parked' | 'orphaned';
  /** The smbd child that owns, or last owned, the descriptor. */
  readonly pid: bigint;
  /** Of `state`. */
  readonly since: Moment;
  readonly stat: FileStat;
  /** null: what was deposited is no handle record. */
  readonly record: HandleRecord | null;
}

export class KeeperView {
  readonly #context: Context;
  readonly #remaking: Remaking;
  readonly #entries = new Map<string, KeeperEntry>();
  /** Handles that their smbd child no longer holds, to be resolved by the next list. */
  readonly #unresolved = new Map<Handle, State>();
  /** Handles that nobody but the keeper has told of, and not long ago. */
  readonly #strangers = new Set<string>();
  #listStarted: Moment | null = null;
  #listed = false;

  constructor(context: Context, remaking: Remaking) {
    this.#context = context;
    this.#remaking = remaking;
  }

  /** The whole of what the keeper holds is known. */
  get listed(): boolean {
    return this.#listed;
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** Its descriptor is with the keeper alone, as far as the keeper has told. */
  isAlone(id: string): boolean {
    const state = this.#listed ? this.#entries.get(id)?.state : undefined;
    return state === 'parked' || state === 'orphaned';
  }

  isParked(id: string): boolean {
    return this.#entries.get(id)?.state === 'parked';
  }

  /** A claim has waited long enough for what smbd would say: what the keeper says counts. */
  believe(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.state === 'held') return;
    const handle = this.#context.table.live(id);
    if (handle === undefined) this.#takeOverIfUnknown(entry);
    else this.#followOwner(handle, entry);
  }

  /** The same for all: an smbd child may have died before it could say so. */
  believeAll(): void {
    for (const { id, state } of this.#context.table.allLive()) {
      if (state.name === 'connected') this.believe(id);
    }
    for (const id of this.#strangers) this.believe(id);
  }

  /** smbd says that it holds the handle, and may be dead by now, as the keeper has said before. */
  confirm(handle: Handle): void {
    const entry = this.#entries.get(handle.id);
    if (entry?.state === 'orphaned') this.#followOwner(handle, entry);
  }

  listStarted(keeper: string | null): void {
    this.#context.keeper = keeper;
    this.#remaking.lost();
    this.#entries.clear();
    this.#listed = false;
    this.#listStarted = this.#context.now;
  }

  lost(): void {
    this.listStarted(null);
    this.#listStarted = null;
    this.#context.publish('keeper-lost', null);
  }

  entry(entry: KeeperEntry): void {
    this.#entries.set(entry.id, entry);
    if (!this.#listed) return;
    const handle = this.#context.table.live(entry.id);
    if (handle === undefined) {
      if (this.#hasEnded(entry.id)) this.expectGone(entry.id);
      else if (entry.state !== 'held') this.#meet(entry);
      return;
    }
    this.#found(handle, entry);
    if (entry.state === 'orphaned') this.#followOwner(handle, entry);
    if (entry.state === 'parked') this.#afterSettling(() => this.#followIfCurrent(handle, entry));
  }

  /** `dead`: of the smbd children that hold handles which outlive the host. */
  listEnd(dead: readonly ServerId[]): void {
    const started = this.#listStarted;
    if (started === null) return;
    this.#listed = true;
    for (const entry of this.#entries.values()) this.#reconcile(entry);
    for (const handle of this.#context.table.allLive()) {
      if (!this.#entries.has(handle.id)) this.#missing(handle, started, dead);
    }
    this.#remaking.listed();
    for (const [handle, state] of this.#unresolved) {
      if (handle.state === state) this.resolve(handle);
    }
    this.#unresolved.clear();
    for (const id of this.#context.owedDrops) {
      if (this.#entries.has(id)) this.#context.drop(id);
      else this.gone(id);
    }
    this.#context.publish('keeper-back', null);
  }

  /** The keeper has closed the descriptor. */
  gone(id: string): void {
    this.#entries.delete(id);
    if (this.#context.owedDrops.delete(id)) this.#context.effects.push({ effect: 'delete', id });
    const handle = this.#context.table.live(id);
    if (handle === undefined) return;
    handle.retained = false;
    const { state } = handle;
    if (state.name !== 'disconnected') return;
    this.#afterSettling(() => {
      if (handle.state === state && !this.#entries.has(id)) this.#descriptorLost(handle);
    });
  }

  /** smbd closed the handle and drops its descriptor itself; if it did not, persistd does. */
  expectGone(id: string): void {
    this.#afterSettling(() => {
      if (this.#entries.has(id) && this.#context.table.live(id) === undefined) {
        this.#context.drop(id);
      }
    });
  }

  /** Its smbd child no longer holds this connected handle: is it waiting, or closed? */
  resolve(handle: Handle): void {
    if (!this.#listed) {
      this.#unresolved.set(handle, handle.state);
      return;
    }
    const entry = this.#entries.get(handle.id);
    if (entry === undefined || entry.state === 'held') {
      this.#context.end(handle, 'closed', 'sync', { server: null, drop: false });
      this.expectGone(handle.id);
    } else {
      this.#follow(handle, entry);
    }
  }

  #reconcile(entry: KeeperEntry): void {
    const handle = this.#context.table.live(entry.id);
    if (handle !== undefined) {
      this.#found(handle, entry);
      if (entry.state !== 'held') this.#followOwner(handle, entry);
    } else if (!this.#hasEnded(entry.id)) {
      this.#takeOverIfUnknown(entry);
    } else if (!this.#context.owedDrops.has(entry.id)) {
      this.#context.drop(entry.id);
    }
  }

  #hasEnded(id: string): boolean {
    return this.#context.table.ended(id) !== undefined || this.#context.owedDrops.has(id);
  }

  #found(handle: Handle, { state, stat }: KeeperEntry): void {
    const { keeper } = this.#context;
    handle.retained = true;
    if (handle.reopening !== null && handle.keptBy !== keeper) {
      handle.keptBy = keeper;
      this.#context.put(handle);
    }
    if (state !== 'held' && disconnectOf(handle.state)?.stat === null) {
      this.#context.change(handle, { step: 'found', stat });
    }
  }

  /** What changed after the list was asked for may rightly be absent from it. */
  #missing(handle: Handle, started: Moment, dead: readonly ServerId[]): void {
    const { state, record } = handle;
    const disconnect = disconnectOf(state);
    if (disconnect !== null && disconnect.since.monotonicNs >= started.monotonicNs) {
      this.#afterSettling(() => {
        if (handle.state === state && !this.has(handle.id)) this.#descriptorLost(handle);
      });
      return;
    }
    handle.retained = false;
    if (state.name === 'disconnected') this.#descriptorLost(handle);
    else if (state.name === 'connected' && handle.reopening !== null) {
      if (dead.some((server) => sameServer(server, record.serverId))) this.ownerDied(handle);
    }
  }

  /** The smbd child of a connected handle is dead, and the keeper does not have the descriptor. */
  ownerDied(handle: Handle): void {
    if (!this.#remaking.isFor(handle)) {
      this.#context.end(handle, 'failed', 'smbd-died', { server: null, drop: false });
      return;
    }
    this.#remaking.abandon(handle);
    if (this.#listed) this.#remaking.begin(handle);
  }

  #descriptorLost(handle: Handle): void {
    handle.retained = false;
    if (this.#remaking.isFor(handle)) this.#remaking.begin(handle);
    else this.#context.end(handle, 'failed', 'descriptor-lost', { server: null, drop: false });
  }

  #meet(entry: KeeperEntry): void {
    this.#strangers.add(entry.id);
    this.#afterSettling(() => {
      this.#strangers.delete(entry.id);
      const handle = this.#context.table.live(entry.id);
      if (handle === undefined) this.#takeOverIfUnknown(entry);
      else this.#followIfCurrent(handle, entry);
    });
  }

  #takeOverIfUnknown(entry: KeeperEntry): void {
    const { table } = this.#context;
    if (entry.record === null || this.#entries.get(entry.id) !== entry) return;
    if (table.live(entry.id) !== undefined || this.#hasEnded(entry.id)) return;
    const handle = this.#context.add(entry.record, { name: 'connected' }, true);
    if (entry.state !== 'held') this.#follow(handle, entry);
  }

  #followIfCurrent(handle: Handle, entry: KeeperEntry): void {
    if (this.#entries.get(entry.id) === entry) this.#followOwner(handle, entry);
  }

  /** Reports about a former holder's time are void. */
  #followOwner(handle: Handle, entry: KeeperEntry): void {
    if (handle.state.name !== 'connected' || handle.record.serverId.pid !== entry.pid) return;
    this.#follow(handle, entry);
  }

  #follow(handle: Handle, entry: KeeperEntry): void {
    const orphan = entry.state === 'orphaned';
    handle.importedIn = null;
    const disconnect: Disconnect = {
      stat: entry.stat,
      since: entry.since,
      deadlineNs: deadlineAfter(entry.since.monotonicNs, handle.record.timeoutMs),
      orphan,
    };
    if (!this.#context.change(handle, { step: 'disconnect', server: null, disconnect })) return;
    this.#context.counters.disconnects++;
    this.#context.publish('disconnect', handle);
  }

  #afterSettling(action: () => void): void {
    const { deadlines, now, policy } = this.#context;
    deadlines.at(now.monotonicNs + BigInt(policy.settleMs) * NS_PER_MS, action);
  }
}
