// SPDX-License-Identifier: GPL-3.0-or-later
/** After somebody was killed: the client comes back, and each handle is looked at. */
import { existsSync, readFileSync } from 'node:fs';
import { tryLock } from '../lib/dev-samba.js';
import { Disposition, type Open, Share } from '../lib/smb2/index.js';
import type { Held, Lock } from './handle.js';
import { fault, RECORD_BYTES } from './records.js';
import type { Rule } from './rules.js';
import type { Scene } from './scene.js';

export interface Outcome {
  handle: string;
  what: 'resumed' | 'refused' | 'lost';
  why: string;
}

const READ_BYTES = 64 * RECORD_BYTES;
const NOT_GRANTED = ['LOCK_NOT_GRANTED', 'FILE_LOCK_CONFLICT'];

class Wrong extends Error {}

function expect(isSo: boolean, otherwise: string): void {
  if (!isSo) throw new Wrong(otherwise);
}

const show = ({ offset, isShared }: Lock): string =>
  `the ${isShared ? 'shared' : 'exclusive'} lock at ${offset}`;

/** Somebody else, in whose way the locks must be; undefined: the share mode is. */
async function judgeOpens(scene: Scene, held: Held): Promise<Open | undefined> {
  const judge = await scene.other();
  const options = { disposition: Disposition.OPEN, share: Share.ALL };
  const reply = await judge.open(held.open.path, options);
  if (scene.party.wish.sharing !== Share.NONE) return reply.ok();
  expect(reply.code === 'SHARING_VIOLATION', `its share mode is not in force: ${reply.code}`);
  return undefined;
}

async function isRefused(judge: Open, { offset, length }: Lock): Promise<boolean> {
  const { code } = await judge.lock({ offset, length });
  if (code !== 'SUCCESS' && !NOT_GRANTED.includes(code)) throw new Wrong(`a LOCK: ${code}`);
  if (code === 'SUCCESS') await judge.unlock({ offset, length }).ok();
  return code !== 'SUCCESS';
}

/** While its client is away, what is promised is in force. */
export async function checkProtection(scene: Scene, held: Held): Promise<void> {
  const { party } = scene;
  // of a durable one this is local access, which it yields to
  if (held.kind === 'durable' || !existsSync(held.path)) return;
  const sure = held.locks.filter(({ state, isShared }) => state === 'held' && !isShared);
  if (party.isPosix) {
    for (const lock of sure) {
      const state = tryLock(held.path, lock.offset, lock.length);
      expect(state.startsWith('busy'), `while it was away, a local process had ${show(lock)}`);
    }
  }
}

async function checkData(scene: Scene, held: Held): Promise<void> {
  const before = (await held.open.read(held.recordsAt, READ_BYTES)).value ?? Buffer.alloc(0);
  const wrong = fault(before, held.writer, held.written);
  expect(wrong === null, `${wrong}, read with the handle`);
  const isThere = before.subarray(held.written.answered * RECORD_BYTES).some((byte) => byte !== 0);
  if (held.written.perhaps && isThere) held.written.answered += 1;
  held.written.perhaps = false;
  await held.write();
  if (!existsSync(held.path)) return;
  const bytes = readFileSync(held.path).subarray(held.recordsAt, held.recordsAt + READ_BYTES);
  const left = fault(bytes, held.writer, held.written);
  expect(left === null || scene.party.name !== held.open.path, `${left}, on disk`);
}

/** One whose answer was lost is sent again, as the client does. */
async function replayLocks(held: Held): Promise<void> {
  for (const lock of held.locks) {
    if (lock.state !== 'unsure' || lock.sequence === undefined) continue;
    const { code } = await held.sendLock(lock);
    expect(code === 'SUCCESS', `${show(lock)}, sent again, is answered ${code}`);
    lock.state = 'held';
  }
}

async function checkLocks(scene: Scene, held: Held): Promise<void> {
  if (!existsSync(held.path)) return;
  const judge = await judgeOpens(scene, held);
  if (judge === undefined) return;
  for (const lock of held.locks) {
    const wasRefused = await isRefused(judge, lock);
    if (lock.state === 'held') expect(wasRefused, `another client gets ${show(lock)}`);
    if (lock.state === 'free') expect(!wasRefused, `${show(lock)} is there still`);
    const { offset, length } = lock;
    const { code } = await held.open.unlock({ offset, length });
    if (lock.state === 'held') expect(code === 'SUCCESS', `UNLOCK of ${show(lock)}: ${code}`);
    const again = await held.open.unlock({ offset, length });
    expect(again.code === 'RANGE_NOT_LOCKED', `${show(lock)} is there twice`);
    expect(!(await isRefused(judge, lock)), `${show(lock)} is there after its UNLOCK`);
    lock.state = 'free';
  }
  await judge.close().ok();
}

async function checkDescription(scene: Scene, held: Held, isAlone: boolean): Promise<void> {
  if (existsSync(held.path)) {
    const isSame = scene.party.isKeptDescription(held.path);
    expect(isSame, 'smbd and fdkeeper have different descriptions');
  }
  const level = held.open.granted.lease?.state ?? held.open.oplock;
  // of several protected handles with one lease each is in the others' way (docs/limits.md)
  const isBesideItself = held.kind !== 'durable' && scene.party.handles.length > 1;
  if (isAlone && !isBesideItself)
    expect(level === held.level, `it has level ${level} in place of ${held.level}`);
}

/** The client asks for its handle. */
async function reconnect(scene: Scene, held: Held, rule: Rule): Promise<Outcome> {
  const handle = held.writer;
  const { code, value } = await scene.party.client.reconnect(held.open);
  if (value === undefined) {
    const isAllowed = rule.allows !== 'resumed' && code === 'OBJECT_NAME_NOT_FOUND';
    return isAllowed
      ? { handle, what: 'refused', why: rule.why }
      : { handle, what: 'lost', why: `the reconnect is answered ${code}; ${rule.why}` };
  }
  held.open = value;
  if (rule.allows === 'ended') return { handle, what: 'lost', why: `resumed, but ${rule.why}` };
  const isStock = existsSync(held.path) && !scene.party.isKeptDescription(held.path);
  return rule.allows === 'either' && isStock
    ? { handle, what: 'refused', why: `${rule.why}; opened anew by name` }
    : { handle, what: 'resumed', why: '' };
}

/** The client has come back: each of its handles must be as the rules have it. */
export async function look(
  scene: Scene,
  rules: ReadonlyMap<Held, Rule>,
  isAlone: boolean,
): Promise<Outcome[]> {
  const outcomes = new Map<Held, Outcome>();
  for (const [held, rule] of rules) outcomes.set(held, await reconnect(scene, held, rule));
  const resumed = [...outcomes].filter(([, { what }]) => what === 'resumed');
  const checks = [
    (held: Held) => checkDescription(scene, held, isAlone),
    (held: Held) => checkData(scene, held),
    (held: Held) => replayLocks(held),
    // who opens the file breaks a level
    (held: Held) => checkLocks(scene, held),
  ];
  for (const check of checks) {
    for (const [held, outcome] of resumed) {
      if (outcome.what === 'lost') continue;
      try {
        await check(held);
      } catch (error) {
        Object.assign(outcome, { what: 'lost', why: String(error) });
      }
    }
  }
  return [...outcomes.values()];
}

/** In the end nobody has anything of it. */
export async function checkFree(scene: Scene): Promise<void> {
  const { party } = scene;
  if (!existsSync(party.path)) return;
  const client = await scene.other();
  const options = { disposition: Disposition.OPEN, share: Share.NONE };
  const open = await client.open(party.name, options).ok();
  await open.lock({ offset: 0, length: 2 ** 40 }).ok();
  await open.close().ok();
  expect(tryLock(party.path, 0, 0) === 'locked', 'a kernel lock is left');
}
