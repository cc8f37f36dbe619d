// SPDX-License-Identifier: GPL-3.0-or-later
// The decisions that an admin might want otherwise.

import type { HandleKind } from '../shared/handle-view.js';

export interface Policy {
  /** Of a handle whose file a local process changed while the client was away. */
  readonly modified: Readonly<Record<HandleKind, 'close' | 'keep'>>;
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
  modified: { durable: 'close', resilient: 'keep', persistent: 'keep', plain: 'close' },
  claimMs: 2_000,
  overtakingMs: 100,
  settleMs: 1_000,
  endedKept: 1_000,
};
