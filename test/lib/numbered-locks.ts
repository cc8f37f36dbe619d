// SPDX-License-Identifier: GPL-3.0-or-later
/** LOCKs with a LockSequence, which a client replays after a reconnect (MS-SMB2 3.3.5.14). */
import { strict as assert } from 'node:assert';
import type { Open } from './smb2/index.js';

const LOCKED = { index: 1, number: 3 };
const UNLOCKED = { index: 2, number: 5 };
const OTHER_RANGE = { offset: 50, length: 1 };

export type Range = { offset: number; length: number };

/** A LOCK of the range, and beside it an UNLOCK; both are answered. */
export async function lockNumbered(open: Open, range: Range): Promise<void> {
  await open.lock(OTHER_RANGE).ok();
  await open.unlock(OTHER_RANGE, { sequence: UNLOCKED }).ok();
  await open.lock(range, { sequence: LOCKED }).ok();
}

/** Replays both: neither is done again. */
export async function replayNumbered(open: Open, range: Range): Promise<void> {
  await open.lock(range, { sequence: LOCKED }).ok();
  await open.unlock(OTHER_RANGE, { sequence: UNLOCKED }).ok();
  await open.unlock(range).ok();
  assert.equal(await open.unlock(range).code(), 'RANGE_NOT_LOCKED');
}
