// SPDX-License-Identifier: GPL-3.0-or-later
// What the parts of the core share: the table, the time, the deadlines, and
// the one place where a handle's state changes.

import type { WatchEventName } from '../shared/admin.js';
import type { HandleRecord, ServerId } from '../wire/records.js';
import { Counters, count } from './counters.js';
import { Deadlines } from './deadlines.js';
import type { Effect } from './effects.js';
import {
  type EndedState,
  type EndName,
  type Handle,
  isEnded,
  type Moment,
  type State,
} from './handle.js';
import { ImportNews } from './import-news.js';
import { ImportOffers } from './import-offers.js';
import { type Step, transition } from './lifecycle.js';
import type { Policy } from './policy.js';
import { Table } from './table.js';
import { pathText, timeText } from './text.js';
import { WriteTimes } from './write-times.js';

export interface EndOptions {
  /** The smbd child that said so; null: persistd, the keeper or an admin. */
  readonly server: ServerId | null;
  /** Whether persistd must see to it that the keeper closes the descriptor. */
  readonly drop: boolean;
}

const ENDED_EVENT = {
  expired: 'expire',
  superseded: 'supersede',
  closed: 'close',
  failed: 'fail',
} as const satisfies Record<EndName, WatchEventName>;

export class Context {
  readonly table: Table;
  readonly counters = new Counters();
  readonly deadlines = new Deadlines();
  readonly writeTimes = new WriteTimes();
  readonly importOffers = new ImportOffers();
  readonly importNews = new ImportNews();
  /** Ended handles whose descriptor the keeper may still hold. They stay in the store. */
  readonly owedDrops = new Set<string>();
  /** Handles whose state changed since this was last emptied. */
  readonly changed = new Set<string>();
  /** Which keeper is connected; null: none, or it cannot be told. */
  keeper: string | null = null;
  effects: Effect[] = [];
  now: Moment = { monotonicNs: 0n, realtimeNs: 0n };

  constructor(readonly policy: Policy) {
    this.table = new Table(policy.endedKept);
  }

  /** False, counted and reported, if the step is illegal in this state. */
  change(handle: Handle, step: Step): boolean {
    const result = transition(handle.state, handle.record.serverId, step);
    if (!result.legal) {
      this.illegal(handle.id, result.from, step.step);
      return false;
    }
    this.changed.add(handle.id);
    if (result.state !== handle.state) {
      handle.state = result.state;
      this.schedule(handle);
    }
    if (isEnded(result.state)) this.table.retire(handle);
    else this.put(handle);
    return true;
  }

  illegal(id: string, from: State['name'], step: Step['step']): void {
    this.counters.illegalTransitions++;
    this.effects.push({ effect: 'illegal', id, from, step });
  }

  end(handle: Handle, name: EndName, reason: string, options: EndOptions): boolean {
    const ended: EndedState = { name, reason, at: this.now };
    if (!this.change(handle, { step: 'end', server: options.server, ended })) return false;
    if (options.drop) {
      this.owedDrops.add(handle.id);
      this.put(handle);
      this.drop(handle.id);
    } else {
      this.effects.push({ effect: 'delete', id: handle.id });
    }
    this.#countEnd(name, reason);
    this.publish(ENDED_EVENT[name], handle, reason);
    return true;
  }

  /** A handle that is new to persistd, in whatever state. */
  add(record: HandleRecord, state: State, retained: boolean): Handle {
    const handle: Handle = {
      id: record.cookie,
      record,
      state,
      locks: [],
      retained,
      unlinked: false,
      reopening: null,
      keptBy: null,
      note: null,
      remade: false,
      levelLost: false,
      refusedOthers: 0,
      lastRefused: null,
      resumes: 0,
      importedIn: record.recordsEpoch,
      importedBy: null,
    };
    this.table.add(handle);
    this.changed.add(handle.id);
    this.schedule(handle);
    this.put(handle);
    return handle;
  }

  put(handle: Handle): void {
    this.effects.push({ effect: 'put', handle });
  }

  drop(id: string): void {
    this.effects.push({ effect: 'drop', id });
  }

  publish(event: WatchEventName, handle: Handle | null, reason?: string): void {
    const subject =
      handle === null
        ? {}
        : {
            id: handle.id,
            share: handle.record.share,
            path: pathText(handle.record.path),
            user: handle.record.user,
          };
    const why = reason === undefined ? {} : { reason };
    const at = timeText(this.now.realtimeNs);
    this.effects.push({ effect: 'publish', event: { at, event, ...subject, ...why } });
  }

  /** A state is a new object each time, so a deadline knows whether it is still meant. */
  schedule(handle: Handle): void {
    const { state } = handle;
    if (state.name === 'disconnected') {
      this.deadlines.at(state.disconnect.deadlineNs, () => {
        if (handle.state === state) {
          this.end(handle, 'expired', 'expired', { server: null, drop: true });
        }
      });
    } else if (state.name === 'claimed') {
      this.deadlines.at(state.claimDeadlineNs, () => {
        if (handle.state === state) this.change(handle, { step: 'lapse' });
      });
    }
  }

  #countEnd(name: EndName, reason: string): void {
    if (name === 'expired') this.counters.expiries++;
    else if (name === 'superseded') this.counters.supersedes++;
    else if (name === 'closed') this.counters.closes++;
    else count(this.counters.failures, reason);
  }
}
