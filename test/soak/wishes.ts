// SPDX-License-Identifier: GPL-3.0-or-later
/** What a client may ask for when it opens a file. */
import { Access, LeaseState, newGuid, type OpenOptions, Oplock, Share } from '../lib/smb2/index.js';
import type { SoakClient } from './client.js';
import type { Handle, Mode } from './handle.js';

export interface Wish {
  handle: Handle;
  options: OpenOptions;
  /** Of the resiliency request that follows; 0: none. */
  resilientMs: number;
}

/** A share with `persistent:strength = yes`. */
export const STRONG = 'soak-strong';
/** What a durable handle of it may have at most; each wish is for more. */
export const STRONG_DURABLE_MS = 1_000;

const LEASES = { RWH: LeaseState.RWH, RH: LeaseState.RH, RW: LeaseState.RW, R: LeaseState.R };
/** smbd's own for a v1 handle, which names none. */
const V1_TIMEOUT_MS = 960_000;

type Level = Pick<OpenOptions, 'lease' | 'oplock'>;

function level(client: SoakClient, file: number): Level {
  const key = client.leaseKey(file);
  const choice = client.random.weighted({ RWH: 6, RH: 3, RW: 1, R: 1, batch: 4, II: 1, none: 2 });
  if (choice === 'none') return {};
  if (choice === 'batch') return { oplock: Oplock.BATCH };
  if (choice === 'II') return { oplock: Oplock.LEVEL_II };
  return { lease: { key, state: LEASES[choice] } };
}

function mode({ random }: SoakClient): Mode {
  if (random.chance(0.08)) return { read: false, write: false, share: Share.ALL, isStat: true };
  const sharing = random.weighted({ ALL: 14, READ: 2, NONE: 2, READ_WRITE: 2 });
  const write = random.chance(0.8);
  return { read: true, write, share: Share[sharing], isStat: false };
}

export function wish(client: SoakClient, shares: readonly string[]): Wish {
  const { random, world } = client;
  const file = random.int(world.files.length);
  const shareName = random.pick(shares);
  const wanted = mode(client);
  const asked = wanted.isStat ? {} : level(client, file);
  const timeoutMs = random.chance(0.2) ? 2_000 : 60_000;
  const version = random.pick([0, 1, 2, 2] as const);
  const v1TimeoutMs = shareName === STRONG ? STRONG_DURABLE_MS : V1_TIMEOUT_MS;
  const options: OpenOptions = { ...asked, share: wanted.share, access: accessOf(wanted) };
  if (!wanted.isStat && version === 1) options.durable = { version };
  if (!wanted.isStat && version === 2) {
    options.durable = { version, timeoutMs, createGuid: newGuid() };
  }
  const isResilient = !wanted.isStat && random.chance(0.35);
  const handle: Handle = {
    ...wanted,
    serial: world.model.nextSerial(),
    client: client.id,
    file,
    shareName,
    kind: 'volatile',
    level: LeaseState.NONE,
    leaseKey: asked.lease ? asked.lease.key.toString('hex') : null,
    timeoutMs: version === 1 ? v1TimeoutMs : timeoutMs,
    state: 'connected',
    isBusy: true,
    doubt: 'being opened',
    endedBy: null,
    locks: [],
    guard: null,
    hasWritten: false,
    wasKilled: false,
    awayFromMs: 0,
    overFromMs: 0,
    resumes: 0,
  };
  return { handle, options, resilientMs: isResilient ? random.pick([2_000, 15_000, 15_000]) : 0 };
}

function accessOf({ isStat, write }: Mode): number {
  if (isStat) return Access.READ_ATTRIBUTES;
  return write ? Access.READ_WRITE : Access.READ;
}
