// SPDX-License-Identifier: GPL-3.0-or-later
// Which smbd child was told to take which handle into smbd's records, so that several
// that begin at the same time share the work.

import { type ServerId, sameServer } from '../wire/records.js';
import type { ImportBody } from '../wire/smbd.js';
import { type Handle, type Moment, NS_PER_MS } from './handle.js';

/** Many times what it takes. To do it twice does no harm. */
const LASTS_NS = 300n * NS_PER_MS;

interface Offer {
  readonly server: ServerId;
  readonly round: bigint;
  readonly untilNs: bigint;
}

export class ImportOffers {
  readonly #offers = new WeakMap<Handle, Offer>();

  make(handle: Handle, { serverId, round }: ImportBody, now: Moment): void {
    const untilNs = now.monotonicNs + LASTS_NS;
    this.#offers.set(handle, { server: serverId, round, untilNs });
  }

  /** It was taken in, or cannot be. */
  end(handle: Handle): void {
    this.#offers.delete(handle);
  }

  /** Who may be at it still. What a child was told in an earlier round it has given up. */
  to(handle: Handle, { serverId, round }: ImportBody, now: Moment): 'nobody' | 'asker' | 'other' {
    const offer = this.#offers.get(handle);
    if (offer === undefined || offer.untilNs <= now.monotonicNs) return 'nobody';
    if (!sameServer(offer.server, serverId)) return 'other';
    return offer.round === round ? 'asker' : 'nobody';
  }
}
