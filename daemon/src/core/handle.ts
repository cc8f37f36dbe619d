// SPDX-License-Identifier: GPL-3.0-or-later
// A handle and its state.

import type { FileStat, HandleRecord, Lock, ServerId } from '../wire/records.js';

/** Both clocks, read together. */
export interface Moment {
  readonly monotonicNs: bigint;
  readonly realtimeNs: bigint;
}

export const NS_PER_MS = 1_000_000n;

/** What it takes to open the file of a lost descriptor again. */
export interface Reopening {
  /** F_GETFL of the descriptor. */
  readonly openFlags: number;
  /** name_to_handle_at(2). */
  readonly fileHandleType: number;
  /** Hexadecimal digits. */
  readonly fileHandle: string;
  /** The keeper's identity of it (docs/protocol.md 2.2), a character per byte. */
  readonly fileSystem: string;
}

/** What is known about a handle whose client is gone. */
export interface Disconnect {
  /** Of the file, when the client went; null: nobody saw that, and it is not made again yet. */
  readonly stat: FileStat | null;
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
  /** null: it does not outlive the keeper's descriptor. */
  reopening: Reopening | null;
  /** The keeper that had its descriptor last, as far as `reopening` is known; null: not known. */
  keptBy: string | null;
  /** The keeper's note of its lock sequence, hexadecimal digits. */
  note: string | null;
  /** Its descriptor was lost, and this is another description of the same file. */
  remade: boolean;
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

/** What is on disk of any other handle may be older than what its client was told. */
export function outlivesHost({ record, reopening }: Handle): boolean {
  return record.durability === 'host' && reopening !== null;
}

export function deadlineAfter(sinceNs: bigint, timeoutMs: number): bigint {
  return sinceNs + BigInt(timeoutMs) * NS_PER_MS;
}
