// SPDX-License-Identifier: GPL-3.0-or-later
// A handle and its state.

import type { FileStat, HandleRecord, Lock, ServerId } from '../wire/records.js';

/** Both clocks, read together. */
export interface Moment {
  readonly monotonicNs: bigint;
  readonly realtimeNs: bigint;
}

export const NS_PER_MS = 1_000_000n;

/** What is known about a handle whose client is gone. */
export interface Disconnect {
  /** Of the file, when the client went. */
  readonly stat: FileStat;
  readonly since: Moment;
  /** CLOCK_MONOTONIC. */
  readonly deadlineNs: bigint;
  /** The smbd child died without saying goodbye. */
  readonly orphan: boolean;
}

export type LiveState =
  | { readonly name: 'connected' }
  | { readonly name: 'disconnected'; readonly disconnect: Disconnect }
  | {
      /** An smbd child was told that it may resume the handle, and has not said how it went. */
      readonly name: 'claimed';
      readonly by: ServerId;
      readonly claimDeadlineNs: bigint;
      readonly disconnect: Disconnect;
    };

export type EndName = 'expired' | 'superseded' | 'closed' | 'failed';

export interface EndedState {
  readonly name: EndName;
  readonly reason: string;
  readonly at: Moment;
}

export type State = LiveState | EndedState;

export interface Handle {
  /** The cookie, 32 hexadecimal digits. */
  readonly id: string;
  /** As granted or resumed last; `path` follows renames. */
  record: HandleRecord;
  state: State;
  locks: Lock[];
  /** The keeper holds its descriptor. */
  retained: boolean;
  unlinked: boolean;
  /** Another open has cost it its oplock or lease while its client was away. */
  levelLost: boolean;
  /** Clients that it kept from the file while its own was away, and the last of them. */
  refusedOthers: number;
  lastRefused: string | null;
  resumes: number;
  /** Which contents of smbd's databases its records are in; null: their owner died. */
  importedIn: string | null;
  /** The smbd child that looked after that last; not stored. */
  importedBy: ServerId | null;
}

export function isEnded(state: State): state is EndedState {
  return (
    state.name === 'expired' ||
    state.name === 'superseded' ||
    state.name === 'closed' ||
    state.name === 'failed'
  );
}

export function disconnectOf(state: State): Disconnect | null {
  return state.name === 'disconnected' || state.name === 'claimed' ? state.disconnect : null;
}

/** What tells that the data of a file has changed. */
export type Content = Pick<FileStat, 'sizeBytes' | 'mtimeNs'>;

export function hasLevel({ leaseKey, leaseState, oplock }: HandleRecord): boolean {
  return leaseKey === null ? oplock !== 0 : leaseState !== 0;
}

export function deadlineAfter(sinceNs: bigint, timeoutMs: number): bigint {
  return sinceNs + BigInt(timeoutMs) * NS_PER_MS;
}
