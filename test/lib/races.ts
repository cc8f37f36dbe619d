// SPDX-License-Identifier: GPL-3.0-or-later
/** An owner with a handle, somebody else who comes at a bad moment, and what each may have. */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { type DevSamba, newGuid } from './dev-samba.js';
import type { Held } from './fault-points.js';
import {
  type Call,
  Disposition,
  LeaseState,
  type Open,
  type OpenOptions,
  type Reply,
  type Smb2Client,
} from './smb2/index.js';

/** Far less than the 35 s that a break may take, far more than a busy machine needs. */
export const SOON_MS = 10_000;

export type OwnerKind = 'durable' | 'resilient';

export interface Owner {
  kind: OwnerKind;
  client: Smb2Client;
  open: Open;
  name: string;
}

export const LOCK = { offset: 0, length: 10 };
/** The other opener's, who does not make a new file. */
export const EXISTING: OpenOptions = { disposition: Disposition.OPEN };

let serial = 0;

/** A client with a handle, a lease RWH unless it asks for an oplock, a lock, and "mine" in the file. */
export async function owner(
  samba: DevSamba,
  kind: OwnerKind,
  options: OpenOptions = {},
): Promise<Owner> {
  const name = `race-${++serial}.txt`;
  const client = await samba.connect('durable');
  const durable = { version: 2, timeoutMs: 60_000, createGuid: newGuid() } as const;
  const level = options.oplock ? {} : { lease: { key: newGuid(), state: LeaseState.RWH } };
  const asked = kind === 'durable' ? { durable, ...level } : level;
  const open = await client.open(name, { ...asked, ...options }).ok();
  await open.write(20, 'mine').ok();
  await open.lock(LOCK).ok();
  if (kind === 'resilient') await open.requestResiliency(60_000).ok();
  await samba.until('persistd to know it', () =>
    samba.handles('--all').some(({ path }) => path.endsWith(name)),
  );
  return { kind, client, open, name };
}

/** Until whoever got a request is done with it, or sleeps over it. */
async function underWay(samba: DevSamba, send: () => Call<Open>): Promise<[Call<Open>, boolean]> {
  const { clientPids } = samba.status();
  const before = new Map(clientPids.map((pid) => [pid, sleeps(pid)]));
  const call = send();
  let done = false;
  call.then(
    () => (done = true),
    () => (done = true),
  );
  await samba.until(
    'the other to wait',
    () => done || clientPids.some((pid) => isAsleep(pid) && sleeps(pid) !== before.get(pid)),
  );
  // an answer that was sent before that is on its way
  await new Promise(setImmediate);
  return [call, !done];
}

const proc = (pid: number, file: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
};

const sleeps = (pid: number) => /^voluntary_ctxt_switches:\s*(\d+)/m.exec(proc(pid, 'status'))?.[1];
const isAsleep = (pid: number) => /\) S /.test(proc(pid, 'stat'));

/** The other's CREATE, sent while a process stands at the point, which then goes on. */
export async function meanwhile(
  samba: DevSamba,
  held: Held,
  send: () => Call<Open>,
): Promise<{ reply: Reply<Open>; waited: boolean }> {
  await held.arrived;
  const [call, waited] = await underWay(samba, send);
  await held.release();
  return { reply: await call, waited };
}

/** The other has the file, and nothing of the owner's is in its way. */
export async function isTheOthers(samba: DevSamba, { name }: Owner, theirs: Open): Promise<void> {
  const ended = ['superseded', 'failed'];
  await samba.until('the end of the handle', () => ended.includes(samba.handle(name).state));
  await theirs.lock(LOCK).ok();
  assert.equal(String(await theirs.read(20, 4).ok()), 'mine');
  await theirs.close().ok();
}

/** The owner has everything that it had, and the other feels it. */
export async function isStillTheOwners(owned: Open, theirs?: Open): Promise<void> {
  if (theirs) assert.equal(await theirs.lock(LOCK).code(), 'LOCK_NOT_GRANTED');
  assert.equal(String(await owned.read(20, 4).ok()), 'mine');
  await owned.unlock(LOCK).ok();
  if (theirs) await theirs.lock(LOCK).ok();
  await theirs?.close().ok();
  await owned.close().ok();
}

/** Who comes by a share without the module meets stock code only: a few points tell. */
const TELLING = ['disconnect.begin', 'disconnect.locked', 'disconnect.before-unlock'];
TELLING.push('resume.after-claim', 'resume.locked', 'resume.after-event');

export function pointsFor<T>(share: string, points: Record<string, T>): [string, T][] {
  return Object.entries(points).filter(([point]) => share === 'durable' || TELLING.includes(point));
}

/** The points of a disconnect, and whether the file's share-mode record is locked there. */
export const CLOSING: Record<OwnerKind, Record<string, boolean>> = {
  durable: {
    'disconnect.begin': false,
    'disconnect.locked': true,
    'disconnect.before-stock': true,
    'disconnect.after-stock': true,
    'disconnect.before-park': true,
    'disconnect.after-park': true,
    'disconnect.before-unlock': true,
    'disconnect.after-unlock': false,
    'disconnect.before-event': false,
    'disconnect.after-event': false,
  },
  resilient: {
    'disconnect.begin': false,
    'protect.before-park': false,
    'protect.after-park': false,
    'disconnect.locked': true,
    'protect.before-records': true,
    'protect.before-close': true,
    'protect.after-close': true,
    'disconnect.before-unlock': true,
    'disconnect.after-unlock': false,
    'disconnect.before-event': false,
    'disconnect.after-event': false,
  },
};

/** The points of a resume: before smbd's records are locked for it, or from then on. */
export const RESUMING: Record<string, 'before' | 'after'> = {
  'resume.before-take': 'before',
  'resume.after-take': 'before',
  'resume.before-claim': 'before',
  'resume.after-claim': 'before',
  'resume.locked': 'after',
  'resume.before-entry': 'after',
  'resume.after-entry': 'after',
  'resume.after-locks': 'after',
  'resume.before-unlock': 'after',
  'resume.after-unlock': 'after',
  'resume.before-adopt': 'after',
  'resume.after-adopt': 'after',
  'resume.after-event': 'after',
};
