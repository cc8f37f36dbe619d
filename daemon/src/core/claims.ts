// SPDX-License-Identifier: GPL-3.0-or-later
// Who may resume a handle. A claim that came before the disconnect (or the
// grant) that it depends on waits for it a moment.

import type { ClaimBody, RefusalReason, Verdict } from '../wire/smbd.js';
import type { Context } from './context.js';
import { count } from './counters.js';
import { type Handle, isEnded, NS_PER_MS, type State } from './handle.js';
import type { KeeperView } from './keeper-view.js';
import { yieldsToLocalAccess } from './policy.js';

export interface Claim extends ClaimBody {
  /** Names the claimant to the shell that will carry the verdict. */
  readonly ticket: number;
}

type Refusal = Extract<Verdict, { verdict: 'refuse' }>;

export class Claims {
  readonly #context: Context;
  readonly #keeper: KeeperView;
  readonly #waiting = new Map<string, Set<Claim>>();

  constructor(context: Context, keeper: KeeperView) {
    this.#context = context;
    this.#keeper = keeper;
  }

  claim(claim: Claim): void {
    const refusal = this.#decide(claim, false);
    if (refusal === null) return;
    if (refusal.reason === 'unknown' || refusal.reason === 'connected') this.#wait(claim);
    else this.#refuse(claim, refusal);
  }

  /** The handle's state changed: perhaps to what a claim is waiting for. */
  retry(id: string): void {
    for (const claim of this.#waiting.get(id) ?? []) {
      const refusal = this.#decide(claim, true);
      if (refusal === null) {
        this.#stopWaiting(claim);
      } else if (refusal.reason !== 'unknown' && refusal.reason !== 'connected') {
        this.#stopWaiting(claim);
        this.#refuse(claim, refusal);
      }
    }
  }

  #wait(claim: Claim): void {
    const { deadlines, now, policy } = this.#context;
    const claims = this.#waiting.get(claim.cookie) ?? new Set();
    this.#waiting.set(claim.cookie, claims.add(claim));
    deadlines.at(now.monotonicNs + BigInt(policy.overtakingMs) * NS_PER_MS, () => {
      if (!this.#stopWaiting(claim)) return;
      this.#keeper.believe(claim.cookie);
      const refusal = this.#decide(claim, true);
      if (refusal !== null) this.#refuse(claim, refusal);
    });
  }

  #stopWaiting(claim: Claim): boolean {
    const claims = this.#waiting.get(claim.cookie);
    if (claims === undefined || !claims.delete(claim)) return false;
    if (claims.size === 0) this.#waiting.delete(claim.cookie);
    return true;
  }

  /** Grants the claim, or says why not. */
  #decide(claim: Claim, waited: boolean): Refusal | null {
    const { table, now, policy } = this.#context;
    const handle = table.live(claim.cookie) ?? table.ended(claim.cookie);
    if (handle === undefined) return refusal('unknown', false);
    const { state } = handle;
    if (state.name === 'connected') {
      return { ...refusal('connected', false), serverId: handle.record.serverId };
    }
    if (state.name === 'claimed') return refusal('claimed', false);
    if (isEnded(state)) return refusal(endedReason(state), true);

    const { disconnect } = state;
    const mismatch = this.#mismatch(claim, handle);
    if (mismatch !== null) return refusal(mismatch, false);
    if (disconnect.deadlineNs <= now.monotonicNs) {
      this.#context.end(handle, 'expired', 'expired', { server: null, drop: true });
      return refusal('expired', true);
    }
    const modified =
      disconnect.stat !== null &&
      this.#context.writeTimes.isModified(handle.record, claim.stat, disconnect.stat);
    if (modified && yieldsToLocalAccess(policy, handle.record)) {
      this.#context.end(handle, 'superseded', 'modified', { server: null, drop: true });
      return refusal('modified', true);
    }
    this.#grant(claim, handle, modified, waited);
    return null;
  }

  /** What a client has cached of a file that was modified must not be trusted. */
  #grant(claim: Claim, handle: Handle, modified: boolean, restsOnBatch: boolean): void {
    const { effects, now, policy } = this.#context;
    const claimDeadlineNs = now.monotonicNs + BigInt(policy.claimMs) * NS_PER_MS;
    this.#context.change(handle, { step: 'claim', by: claim.serverId, claimDeadlineNs });
    const { path } = handle.record;
    const levelLost = handle.levelLost || modified;
    const verdict: Verdict = { verdict: 'resume', path, levelLost };
    const { ticket } = claim;
    effects.push({ effect: 'verdict', ticket, id: handle.id, verdict, restsOnBatch });
  }

  #refuse(claim: Claim, verdict: Refusal): void {
    const { counters, effects, table } = this.#context;
    count(counters.refusals, verdict.reason);
    const { ticket, cookie: id } = claim;
    effects.push({ effect: 'verdict', ticket, id, verdict, restsOnBatch: true });
    const handle = table.live(claim.cookie) ?? table.ended(claim.cookie) ?? null;
    this.#context.publish('refuse', handle, verdict.reason);
  }

  /** MS-SMB2 3.3.5.9.7 and 3.3.5.9.12: a lease ties the handle to the client's GUID. */
  #mismatch(claim: Claim, { record }: Handle): RefusalReason | null {
    if (claim.share !== record.share) return 'share';
    if (record.leaseKey !== null && claim.clientGuid !== record.clientGuid) return 'client';
    if (claim.stat.dev !== record.dev || claim.stat.ino !== record.ino) return 'file';
    return null;
  }
}

function refusal(reason: RefusalReason, final: boolean): Refusal {
  return { verdict: 'refuse', reason, final };
}

function endedReason(state: Extract<State, { reason: string }>): RefusalReason {
  return state.name === 'failed' ? 'closed' : state.name;
}
