// SPDX-License-Identifier: GPL-3.0-or-later
// The decisions that an admin might want otherwise.

import type { HandleKind } from '../shared/handle-view.js';
import type { HandleRecord, LocalAccess } from '../wire/records.js';

export interface Policy {
  /** Of a handle whose module did not say what local access does to it. */
  readonly localAccess: Readonly<Record<HandleKind, LocalAccess>>;
  /** How long an smbd child may take from the verdict to `resumed`. */
  readonly claimMs: number;
  /** How long a claim waits for the disconnect or grant that it overtook. */
  readonly overtakingMs: number;
  /** How long the keeper and smbd may differ before persistd believes the keeper. */
  readonly settleMs: number;
  /** How many ended handles are kept to be looked at. */
  readonly endedKept: number;
}

export const DEFAULT_POLICY: Policy = {
  localAccess: { durable: 'yield', resilient: 'keep', persistent: 'keep', plain: 'yield' },
  claimMs: 2_000,
  overtakingMs: 100,
  settleMs: 1_000,
  endedKept: 1_000,
};

/** Whether a handle that is away ends when a local process comes for its file. */
export function yieldsToLocalAccess(policy: Policy, record: HandleRecord): boolean {
  return (record.localAccess ?? policy.localAccess[record.kind]) === 'yield';
}
