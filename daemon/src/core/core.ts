// SPDX-License-Identifier: GPL-3.0-or-later
// The core of persistd: takes what happened and when, returns what is to be
// done. Knows no sockets, no disks and no Samba.

import type { StatsView } from '../shared/admin.js';
import type { ServerId } from '../wire/records.js';
import type { ArriveBody, ContendBody, ImportBody, Imports, SmbdEvent } from '../wire/smbd.js';
import { Admin, AdminError } from './admin.js';
import { type Claim, Claims } from './claims.js';
import { Contention } from './contention.js';
import { Context } from './context.js';
import { count } from './counters.js';
import type { Effect } from './effects.js';
import {
  type Content,
  type Handle,
  isEnded,
  type Moment,
  outlivesHost,
  type Reopening,
} from './handle.js';
import { importsFor } from './imports.js';
import { type KeeperEntry, KeeperView } from './keeper-view.js';
import { LocalAccess, type Touch } from './local-access.js';
import { DEFAULT_POLICY, type Policy } from './policy.js';
import { type Remade, Remaking } from './remaking.js';
import { SmbdEvents } from './smbd-events.js';
import type { Table } from './table.js';
import { type Takeover, Takeovers } from './takeover.js';

/** Of what the shells around the core count. */
type ShellCounters =
  | 'schemaVersion'
  | 'bad_messages'
  | 'keeper_reconnects'
  | 'store_faults'
  | 'store_unwritten';

export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: AdminError };

export interface Administered<T> {
  readonly outcome: Outcome<T>;
  readonly effects: Effect[];
}

/** Handles that had to give way. The effects hold a drop for each. */
export interface Displaced {
  readonly ended: readonly Handle[];
  readonly effects: Effect[];
}

function attempt<T>(action: () => T): Outcome<T> {
  try {
    return { ok: true, value: action() };
  } catch (error) {
    if (error instanceof AdminError) return { ok: false, error };
    throw error;
  }
}

export class Core {
  readonly #context: Context;
  readonly #remaking: Remaking;
  readonly #keeper: KeeperView;
  readonly #claims: Claims;
  readonly #contention: Contention;
  readonly #takeovers: Takeovers;
  readonly #local: LocalAccess;
  readonly #smbd: SmbdEvents;
  readonly #admin: Admin;

  constructor(policy: Policy = DEFAULT_POLICY) {
    this.#context = new Context(policy);
    this.#remaking = new Remaking(this.#context);
    this.#keeper = new KeeperView(this.#context, this.#remaking);
    this.#claims = new Claims(this.#context, this.#keeper);
    this.#contention = new Contention(this.#context, this.#keeper);
    this.#takeovers = new Takeovers(this.#context, this.#keeper);
    this.#local = new LocalAccess(this.#context, this.#keeper);
    this.#smbd = new SmbdEvents(this.#context, this.#keeper, this.#contention, this.#remaking);
    this.#admin = new Admin(this.#context);
  }

  get table(): Table {
    return this.#context.table;
  }

  /** What the store held. After a reboot no smbd child holds anything any more. */
  restore(now: Moment, handles: Iterable<{ handle: Handle; sameBoot: boolean }>): Effect[] {
    return this.#run(now, () => {
      for (const { handle, sameBoot } of handles) this.#restoreOne(handle, sameBoot);
    });
  }

  events(now: Moment, server: ServerId, events: Iterable<SmbdEvent>): Effect[] {
    return this.#run(now, () => {
      for (const event of events) {
        this.#smbd.apply(server, event);
        this.#followUp();
      }
    });
  }

  claim(now: Moment, claim: Claim): Effect[] {
    return this.#run(now, () => this.#claims.claim(claim));
  }

  arrive(now: Moment, body: ArriveBody): Displaced {
    return this.#displace(now, () => this.#contention.arrive(body));
  }

  /** The handles that smbd has to take into its records before anybody opens their files. */
  import(now: Moment, body: ImportBody): { imports: Imports; effects: Effect[] } {
    const effects = this.#run(now, () => {
      if (!this.importGoesOn(now, body)) this.#keeper.believeAll();
    });
    const { tooMany, ...imports } = importsFor(this.#context, this.#keeper, now, body);
    effects.push(
      ...this.#run(now, () => {
        for (const handle of tooMany) {
          this.#context.end(handle, 'failed', 'too many locks', { server: null, drop: true });
        }
      }),
    );
    return { imports, effects };
  }

  /** What it needs to know was looked at when its round began, and will be at the end. */
  importGoesOn(now: Moment, body: ImportBody): boolean {
    return this.#context.importOffers.goesOn(body, now);
  }

  /** The smbd children that were told what to import, and may be at it still. */
  importers(now: Moment): ServerId[] {
    return this.#context.importOffers.importers(now);
  }

  importerDied(server: ServerId): void {
    this.#context.importOffers.died(server);
  }

  contend(now: Moment, body: ContendBody): Displaced {
    return this.#displace(now, () => this.#contention.contend(body));
  }

  takeover(now: Moment, takeover: Takeover): Effect[] {
    return this.#run(now, () => this.#takeovers.takeover(takeover));
  }

  /** `keeper` names it; one that takes over from another has the name of that one. */
  keeperListStarted(now: Moment, keeper: string | null = null): Effect[] {
    return this.#run(now, () => this.#keeper.listStarted(keeper));
  }

  keeperEntry(now: Moment, entry: KeeperEntry): Effect[] {
    return this.#run(now, () => {
      this.#keeper.entry(entry);
      this.#local.consider(entry.id);
    });
  }

  /** `dead` are those of `connectedServers` that do not exist any more. */
  keeperListEnd(now: Moment, dead: readonly ServerId[] = []): Effect[] {
    return this.#run(now, () => {
      this.#keeper.listEnd(dead);
      this.#local.considerAll();
    });
  }

  /** Also when a drop that the core asked for is done. */
  keeperGone(now: Moment, id: string): Effect[] {
    return this.#run(now, () => this.#keeper.gone(id));
  }

  /** What the keeper says it takes to open the file of a handle again. */
  described(now: Moment, id: string, reopening: Reopening | null): Effect[] {
    return this.#run(now, () => this.#remaking.described(id, reopening));
  }

  /** What came of a `remake` effect. */
  remade(now: Moment, id: string, result: Remade): Effect[] {
    return this.#run(now, () => this.#remaking.done(id, result));
  }

  /** Something was mounted or unmounted. */
  mounted(now: Moment): Effect[] {
    return this.#run(now, () => this.#remaking.mounted());
  }

  /** Whether the descriptor of a handle that is away is about to be made again. */
  isBeingRemade({ id, reopening }: Handle): boolean {
    if (reopening === null) return false;
    return !this.#keeper.listed || this.#remaking.isUnderWay(id);
  }

  keeperLost(now: Moment): Effect[] {
    return this.#run(now, () => this.#keeper.lost());
  }

  /** The keeper does what a `watch` effect asked for; the file is like this now. */
  watched(now: Moment, id: string, sinceNs: bigint, content: Content): Effect[] {
    return this.#run(now, () => this.#local.watched(id, sinceNs, content));
  }

  /** A local process came for a file that the keeper watches. */
  touched(now: Moment, touch: Touch): Effect[] {
    return this.#run(now, () => this.#local.touched(touch));
  }

  /** The keeper has the descriptor for the handle's next smbd child. */
  isParked(id: string): boolean {
    return this.#keeper.isParked(id);
  }

  /** It has said what it has, and tells of each change. */
  get keeperListed(): boolean {
    return this.#keeper.listed;
  }

  /** smbd children that hold handles of which nobody would report the end. */
  unwatchedServers(): ServerId[] {
    if (!this.#keeper.listed) return [];
    return [...this.table.allLive()]
      .filter(({ state, retained }) => state.name === 'connected' && !retained)
      .map(({ record }) => record.serverId);
  }

  /** smbd children that hold handles which outlive the host. */
  connectedServers(): ServerId[] {
    return [...this.table.allLive()]
      .filter((handle) => handle.state.name === 'connected' && outlivesHost(handle))
      .map(({ record }) => record.serverId);
  }

  serverDied(now: Moment, server: ServerId): Effect[] {
    return this.#run(now, () => {
      for (const handle of this.table.ofServer(server)) {
        if (handle.state.name === 'connected' && !handle.retained) this.#keeper.ownerDied(handle);
      }
    });
  }

  /** `request` may throw AdminError, and then has changed nothing. */
  administer<T>(now: Moment, request: (admin: Admin) => T): Administered<T> {
    let outcome: Outcome<T> = { ok: false, error: new AdminError('failure', 'not done') };
    const effects = this.#run(now, () => {
      outcome = attempt(() => request(this.#admin));
    });
    return { outcome, effects };
  }

  /** CLOCK_MONOTONIC of the next thing to do, which is done by `tick`. */
  nextDeadlineNs(): bigint | null {
    return this.#context.deadlines.nextNs();
  }

  tick(now: Moment): Effect[] {
    return this.#run(now, () => undefined);
  }

  stats(): Omit<StatsView, ShellCounters> {
    const { counters } = this.#context;
    const handles: StatsView['handles'] = { state: {}, kind: {}, share: {} };
    for (const { state, record } of this.table.allLive()) {
      count(handles.state, state.name);
      count(handles.kind, record.kind);
      count(handles.share, record.share);
    }
    return {
      grants: counters.grants,
      disconnects: counters.disconnects,
      resumes: counters.resumes,
      refusals: { ...counters.refusals },
      expiries: counters.expiries,
      supersedes: counters.supersedes,
      closes: counters.closes,
      remakes: counters.remakes,
      failures: { ...counters.failures },
      unsafe_opens: { ...counters.unsafeOpens },
      illegal_transitions: counters.illegalTransitions,
      unknown_cookies: counters.unknownCookies,
      events: counters.events,
      handles,
    };
  }

  #run(now: Moment, action: () => void): Effect[] {
    const context = this.#context;
    context.now = now;
    context.deadlines.run(now.monotonicNs);
    this.#followUp();
    action();
    this.#followUp();
    context.deadlines.run(now.monotonicNs);
    this.#followUp();
    const { effects } = context;
    context.effects = [];
    return effects;
  }

  #displace(now: Moment, action: () => Handle[]): Displaced {
    let ended: Handle[] = [];
    const effects = this.#run(now, () => {
      ended = action();
    });
    return { ended, effects };
  }

  #followUp(): void {
    const { changed } = this.#context;
    for (const id of changed) {
      changed.delete(id);
      this.#claims.retry(id);
      this.#takeovers.retry();
      this.#local.consider(id);
    }
  }

  #restoreOne(handle: Handle, sameBoot: boolean): void {
    if (isEnded(handle.state)) {
      this.#context.owedDrops.add(handle.id);
      this.table.addEnded(handle);
      return;
    }
    if (!sameBoot && !outlivesHost(handle)) handle.reopening = null;
    this.table.add(handle);
    this.#context.schedule(handle);
    if (sameBoot || handle.state.name !== 'connected') return;
    if (handle.reopening !== null) {
      this.#remaking.abandon(handle);
    } else {
      this.#context.end(handle, 'failed', 'descriptor-lost', { server: null, drop: true });
    }
  }
}
