// SPDX-License-Identifier: GPL-3.0-or-later
// Does what the core wants done, and wakes the core when its next deadline comes.

import { constants } from 'node:os';
import type { Logger } from 'pino';
import { now } from './clock.js';
import type { Core } from './core/core.js';
import type { Effect } from './core/effects.js';
import { type Content, type Handle, NS_PER_MS, type Reopening } from './core/handle.js';
import type { Remade } from './core/remaking.js';
import { pathText } from './core/text.js';
import { logEvent } from './journal.js';
import type { WatchEvent } from './shared/admin.js';
import type { SteadyStore } from './store/steady-store.js';
import type { TakeoverAnswer, Verdict } from './wire/smbd.js';

const ENOENT = -2;
const LONGEST_SLEEP_MS = 60_000;

type VerdictEffect = Extract<Effect, { effect: 'verdict' }>;
type TakenOverEffect = Extract<Effect, { effect: 'takenOver' }>;

/** The keeper's answer is taken in. */
export interface Described {
  readonly committed: Promise<void>;
}

export interface Performance {
  /** Or kept in memory, while the store cannot be written. */
  readonly committed: Promise<void>;
  /** The keeper's answers, by handle; null: no keeper is connected. */
  readonly drops: ReadonlyMap<string, Promise<number | null>>;
  /** Resolves when the keeper has answered all that it was asked to describe. */
  readonly described: Promise<readonly Described[]>;
}

export interface PerformerParts {
  readonly core: Core;
  readonly store: SteadyStore;
  readonly log: Logger;
  drop(id: string): Promise<number | null>;
  watch(id: string): Promise<Content | null>;
  /** null: no keeper is connected, or the file cannot be opened by a file handle. */
  describe(id: string): Promise<Reopening | null>;
  /** null: no keeper is connected. */
  remake(handle: Handle): Promise<Remade | null>;
  settled(): void;
  publish(event: WatchEvent): void;
}

export class Performer {
  readonly #parts: PerformerParts;
  readonly #answers = new Map<number, (verdict: Verdict) => void>();
  readonly #takeovers = new Map<number, (answer: TakeoverAnswer) => void>();
  /** Resolves when everything so far is committed. */
  #committed: Promise<unknown> = Promise.resolve();
  /** Resolves when the keeper has answered all that it was told to drop. */
  #dropped: Promise<unknown> = Promise.resolve();
  #tickets = 0;
  #timer: NodeJS.Timeout | null = null;
  #timerNs: bigint | null = null;

  constructor(parts: PerformerParts) {
    this.#parts = parts;
  }

  /** The ticket for a claim, whose verdict `answer` will be given. */
  ticket(answer: (verdict: Verdict) => void): number {
    const ticket = ++this.#tickets;
    this.#answers.set(ticket, answer);
    return ticket;
  }

  /** The same for a takeover. */
  takeoverTicket(answer: (answer: TakeoverAnswer) => void): number {
    const ticket = ++this.#tickets;
    this.#takeovers.set(ticket, answer);
    return ticket;
  }

  perform(effects: readonly Effect[]): Performance {
    const batch = new Map<string, Handle | null>();
    const drops = new Map<string, Promise<number | null>>();
    const described: Promise<Described>[] = [];
    const verdicts: VerdictEffect[] = [];
    const takenOver: TakenOverEffect[] = [];
    for (const effect of effects) {
      switch (effect.effect) {
        case 'put':
          batch.set(effect.handle.id, effect.handle);
          break;
        case 'delete':
          batch.set(effect.id, null);
          break;
        case 'drop':
          drops.set(effect.id, this.#drop(effect.id));
          break;
        case 'watch':
          void this.#watch(effect.id, effect.sinceNs);
          break;
        case 'describe':
          described.push(this.#describe(effect.id));
          break;
        case 'remake':
          void this.#remake(effect.handle);
          break;
        case 'settled':
          this.#parts.settled();
          break;
        case 'publish':
          logEvent(this.#parts.log, effect.event);
          this.#parts.publish(effect.event);
          break;
        case 'illegal':
          this.#parts.log.warn(
            { id: effect.id, from: effect.from, step: effect.step },
            'illegal transition ignored',
          );
          break;
        case 'verdict':
          verdicts.push(effect);
          break;
        case 'takenOver':
          takenOver.push(effect);
          break;
      }
    }
    const earlier = this.#committed;
    const committed = this.#commit(batch);
    for (const verdict of verdicts) {
      this.#deliver(verdict, verdict.restsOnBatch ? this.#committed : earlier);
    }
    if (drops.size > 0) this.#dropped = Promise.all([this.#dropped, ...drops.values()]);
    for (const each of takenOver) this.#tell(each);
    this.#sleep();
    return { committed, drops, described: Promise.all(described) };
  }

  /** No more deadlines; resolves when all is committed. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#committed;
  }

  async #commit(batch: Map<string, Handle | null>): Promise<void> {
    if (batch.size === 0) return;
    const written = this.#parts.store.write(batch);
    this.#committed = Promise.all([this.#committed, written]);
    await written;
  }

  /**
   * After the disconnect that a claim rests on is committed: a persistd that
   * died in between would take the handle for connected, and the claimant's
   * `resumed` for a mistake.
   */
  #deliver({ ticket, id, verdict }: VerdictEffect, committed: Promise<unknown>): void {
    void committed.then(() => {
      this.#answers.get(ticket)?.(verdict);
      this.#answers.delete(ticket);
      if (verdict.verdict === 'resume') this.#parts.log.debug({ id }, 'may be resumed');
    });
  }

  #tell({ ticket, answer }: TakenOverEffect): void {
    void Promise.all([this.#committed, this.#dropped]).then(() => {
      this.#takeovers.get(ticket)?.(answer);
      this.#takeovers.delete(ticket);
    });
  }

  async #drop(id: string): Promise<number | null> {
    const status = await this.#parts.drop(id);
    if (status === 0 || status === ENOENT) {
      this.perform(this.#parts.core.keeperGone(now(), id));
    } else if (status !== null) {
      this.#parts.log.error({ id, status }, 'the keeper did not drop the descriptor');
    }
    return status;
  }

  async #describe(id: string): Promise<Described> {
    const reopening = await this.#parts.describe(id);
    return this.perform(this.#parts.core.described(now(), id, reopening));
  }

  async #remake(handle: Handle): Promise<void> {
    const { id, record } = handle;
    const result = await this.#parts.remake(handle);
    if (result === null) return;
    if (!result.made) {
      this.#parts.log.warn(
        { id, share: record.share, path: pathText(record.path), status: result.status },
        `the handle's file cannot be opened again: ${errnoName(result.status)}`,
      );
    }
    this.perform(this.#parts.core.remade(now(), id, result));
  }

  async #watch(id: string, sinceNs: bigint): Promise<void> {
    const content = await this.#parts.watch(id);
    if (content === null) this.#parts.log.debug({ id }, 'local access is not watched');
    else this.perform(this.#parts.core.watched(now(), id, sinceNs, content));
  }

  #sleep(): void {
    const nextNs = this.#parts.core.nextDeadlineNs();
    if (nextNs === this.#timerNs && this.#timer !== null) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerNs = nextNs;
    this.#timer = null;
    if (nextNs === null) return;
    const leftMs = Number((nextNs - now().monotonicNs + NS_PER_MS - 1n) / NS_PER_MS);
    const sleepMs = Math.min(Math.max(leftMs, 0), LONGEST_SLEEP_MS);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.perform(this.#parts.core.tick(now()));
    }, sleepMs);
  }
}

/** errno(3); libuv's own names lack some, ESTALE among them. */
function errnoName(status: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === -status);
  return found?.[0] ?? `error ${-status}`;
}
