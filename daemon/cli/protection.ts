// SPDX-License-Identifier: GPL-3.0-or-later
// What a handle keeps others from, in words.

import type { HandleView, LockView } from '../src/shared/handle-view.js';

/** FILE_SHARE_* of MS-SMB2 2.2.13, in smbstatus's order. */
const SHARE_MODES = [
  [1, 'R', 'read'],
  [2, 'W', 'write'],
  [4, 'D', 'delete'],
] as const;

/** What others are let do, and so what they are not. */
export function shareModeText({ sharemode }: HandleView): string {
  const bits = Number(sharemode);
  const allowed = SHARE_MODES.filter(([bit]) => (bits & bit) !== 0);
  if (allowed.length === 0) return 'none (others may not open it)';
  const letters = allowed.map(([, letter]) => letter).join('');
  return `${letters} (others may ${allowed.map(([, , verb]) => verb).join(', ')})`;
}

export function locksText({ locks }: HandleView): string {
  return locks.length === 0 ? 'none' : locks.map(lockText).join(', ');
}

function lockText({ exclusive, count, start }: LockView): string {
  return `${exclusive ? 'exclusive' : 'shared'} ${count} bytes at ${start}`;
}

export function oplockText({ oplock, lease_state, level_lost }: HandleView): string {
  const level = `${oplock} ${lease_state}`.trimEnd();
  return level_lost ? `${level} (lost to another open)` : level;
}

/** In one cell: share mode, number of locks, lease or oplock. */
export function protectionText(handle: HandleView): string {
  const share = shareModeText(handle).split(' ', 1);
  const level = handle.level_lost ? 'NONE' : handle.lease_state || handle.oplock;
  const { length } = handle.locks;
  return [...share, length === 1 ? '1 lock' : `${length} locks`, level].join(', ');
}

export function refusedText({ refused_others, last_refused }: HandleView): string | null {
  if (last_refused === null) return null;
  const times = refused_others === 1 ? 'once' : `${refused_others} times, last`;
  return `${times} ${last_refused}`;
}
