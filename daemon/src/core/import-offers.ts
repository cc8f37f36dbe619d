// SPDX-License-Identifier: GPL-3.0-or-later
// Which smbd child was told to take which handles into smbd's records: it is told of
// some at a time, and several that begin together share the work.

import { type ServerId, sameServer } from '../wire/records.js';
import type { ImportBody } from '../wire/smbd.js';
import { type Handle, type Moment, NS_PER_MS } from './handle.js';

/** Many times what it takes. To do it twice does no harm. */
const LASTS_NS = 300n * NS_PER_MS;

/** Gone through as far as the last answer of this round said. */
interface Pass {
  readonly rest: Iterable<Handle>;
  readonly untilNs: bigint;
}

/** An smbd child that was told of handles, and has perhaps not done all of them. */
interface Importer {
  readonly server: ServerId;
  untilNs: bigint;
  isDead: boolean;
}

interface Offer {
  readonly importer: Importer;
  readonly round: bigint;
  readonly untilNs: bigint;
}

export class ImportOffers {
  readonly #offers = new WeakMap<Handle, Offer>();
  readonly #importers = new Map<string, Importer>();
  readonly #passes = new Map<string, Pass>();

  make(handle: Handle, { serverId, round }: ImportBody, now: Moment): void {
    const untilNs = now.monotonicNs + LASTS_NS;
    this.#offers.set(handle, { importer: this.#importer(serverId, untilNs), round, untilNs });
  }

  #importer(server: ServerId, untilNs: bigint): Importer {
    const key = serverKey(server);
    const importer = this.#importers.get(key) ?? { server, untilNs, isDead: false };
    importer.untilNs = untilNs;
    this.#importers.set(key, importer);
    return importer;
  }

  /** The smbd children that may be at it still. */
  importers(now: Moment): ServerId[] {
    for (const [key, { untilNs }] of this.#importers) {
      if (untilNs <= now.monotonicNs) this.#importers.delete(key);
    }
    return [...this.#importers.values()].map(({ server }) => server);
  }

  /** What it was told of is for others to do. */
  died(server: ServerId): void {
    const importer = this.#importers.get(serverKey(server));
    if (importer === undefined) return;
    importer.isDead = true;
    this.#importers.delete(serverKey(server));
  }

  /** It was taken in, or cannot be. */
  end(handle: Handle): void {
    this.#offers.delete(handle);
  }

  /** Who may be at it still. What a child was told in an earlier round it has given up. */
  to(handle: Handle, { serverId, round }: ImportBody, now: Moment): 'nobody' | 'asker' | 'other' {
    const offer = this.#offers.get(handle);
    if (offer === undefined || offer.untilNs <= now.monotonicNs) return 'nobody';
    if (offer.importer.isDead) return 'nobody';
    if (!sameServer(offer.importer.server, serverId)) return 'other';
    return offer.round === round ? 'asker' : 'nobody';
  }

  /** Whether the answer goes on where the last one of its round stopped. */
  goesOn(body: ImportBody, now: Moment): boolean {
    const pass = this.#passes.get(roundKey(body));
    return pass !== undefined && pass.untilNs > now.monotonicNs;
  }

  /** What the round has not gone through. (An iterator of a Map does not end with a loop.) */
  rest(body: ImportBody, now: Moment): Iterable<Handle> | null {
    return this.goesOn(body, now) ? (this.#passes.get(roundKey(body))?.rest ?? null) : null;
  }

  /** The round goes on from here. (A question about a file, or of an older module, has none.) */
  stop(body: ImportBody, rest: Iterable<Handle>, now: Moment): void {
    if (body.round === 0n || body.share === null) return;
    for (const [key, { untilNs }] of this.#passes) {
      if (untilNs <= now.monotonicNs) this.#passes.delete(key);
    }
    const untilNs = now.monotonicNs + LASTS_NS;
    this.#passes.set(roundKey(body), { rest, untilNs });
  }

  finish(body: ImportBody): void {
    this.#passes.delete(roundKey(body));
  }
}

function serverKey({ pid, uniqueId }: ServerId): string {
  return `${pid}.${uniqueId}`;
}

function roundKey({ serverId, share, round }: ImportBody): string {
  return `${serverKey(serverId)} ${round} ${share}`;
}
