// SPDX-License-Identifier: GPL-3.0-or-later
/** What the model knows of one open: of which it is certain, and what may be otherwise. */
import { LeaseState } from '../lib/smb2/index.js';
import type { Guard } from './records.js';

export type Kind = 'volatile' | 'durable' | 'resilient' | 'persistent';

export interface Mode {
  read: boolean;
  write: boolean;
  /** Share bits of MS-SMB2. */
  share: number;
  /** Attributes only: nobody's oplock, lease or share mode is in its way. */
  isStat: boolean;
}

export interface Range {
  offset: number;
  length: number;
  exclusive: boolean;
}

export interface HeldLock extends Range {
  /** False when nobody can know whether the server has it, as its answer was lost. */
  isSure: boolean;
  guard: Guard;
}

export interface Handle extends Mode {
  /** What is going on with it: its client alone may act on it then. */
  isBusy: boolean;
  serial: number;
  client: number;
  file: number;
  shareName: string;
  kind: Kind;
  /** LeaseState bits; those of an oplock that mean the same. */
  level: number;
  leaseKey: string | null;
  timeoutMs: number;
  state: 'connected' | 'away' | 'over';
  /** What may have become of it for a reason that is the client's own: a lost answer. */
  doubt: string | null;
  /** By which rule it has ended while its client was away. */
  endedBy: string | null;
  locks: HeldLock[];
  /** Of the whole file, when its share mode lets no other writer in. */
  guard: Guard | null;
  hasWritten: boolean;
  awayFromMs: number;
  /** It went with its smbd child. */
  wasKilled: boolean;
  /** When the client began to believe that it is over. */
  overFromMs: number;
  resumes: number;
}

/** Its share mode and locks hold while its client is away. */
export const isProtected = ({ kind }: Handle): boolean =>
  kind === 'resilient' || kind === 'persistent';

export function modesConflict(a: Mode, b: Mode): boolean {
  if (a.isStat || b.isStat) return false;
  return excludes(a, b) || excludes(b, a);
}

function excludes(one: Mode, other: Mode): boolean {
  return (other.read && (one.share & 1) === 0) || (other.write && (one.share & 2) === 0);
}

export function rangesConflict(a: Range, b: Range): boolean {
  if (!a.exclusive && !b.exclusive) return false;
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

/** MS-SMB2 3.3.4.18: what durability rests on. */
export const hasHandleCaching = (handle: Handle): boolean => (handle.level & LeaseState.H) !== 0;

export const name = (handle: Handle): string =>
  `#${handle.serial} (${handle.kind}, client ${handle.client}, file ${handle.file}, ${handle.shareName})`;
