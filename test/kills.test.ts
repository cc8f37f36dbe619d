// SPDX-License-Identifier: GPL-3.0-or-later
/** persistd is killed again and again while clients work. */
import { strict as assert } from 'node:assert';
import { randomInt } from 'node:crypto';
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import type { HandleView } from '../daemon/src/shared/handle-view.js';
import { type Account, connect, dropAll, durableOptions, newName } from './lib/day.js';
import { DevSamba, sameDescription } from './lib/dev-samba.js';
import { killed } from './lib/faults.js';
import type { Open, Smb2Client } from './lib/smb2/index.js';

const KILLS = 50;
/** From persistd's start to its end, at most: smbd children find it again meanwhile, or not yet. */
const LIFE_MS = 600;
const CLIENTS = 3;
const LIVING = ['connected', 'disconnected', 'claimed'];
const BY_CLIENT = new Set(['close', 'stock']);
/** docs/protocol.md 1.3, and what persistd finds out by itself. */
const EXPLAINED = new Set([
  ...BY_CLIENT,
  'sync',
  'expired',
  'superseded',
  'descriptor-lost',
  'smbd-died',
]);

const samba = await DevSamba.up();
const { port, user, password } = samba.status();
const account = (share: string): Account => ({ port, user, password, share });
const test = suite('kills');

/** What stock Samba does without an error: a client that drops and comes back. */
async function round(share: string): Promise<void> {
  const client = await connect(account(share));
  const open = await client.open(newName(), durableOptions()).ok();
  await open.write(0, 'kept').ok();
  await open.lock({ offset: 0, length: 2 }).ok();
  await client.drop();
  const back = await connect(account(share), client);
  const again = await back.reconnect(open).ok();
  assert.equal(String(await again.read(0, 10).ok()), 'kept');
  await again.unlock({ offset: 0, length: 2 }).ok();
  await again.close().ok();
  await back.drop();
}

async function work(share: string, isOver: () => boolean): Promise<number> {
  let rounds = 0;
  for (; !isOver(); rounds++) await round(share);
  return rounds;
}

async function list(): Promise<HandleView[]> {
  return JSON.parse(await samba.verb('ctl', '--', 'list', '--all', '--json')).handles;
}

const ended = new Map<string, HandleView>();

async function noteEnded(): Promise<void> {
  for (const handle of await list()) {
    if (!LIVING.includes(handle.state)) ended.set(handle.id, handle);
  }
}

test(`${KILLS} kills cost no client an error, and every handle is accounted for`, async () => {
  let isOver = false;
  const workers = ['plain', ...Array<string>(CLIENTS).fill('durable')].map((share) =>
    work(share, () => isOver),
  );
  const kills = async () => {
    for (let i = 0; i < KILLS && !isOver; i++) {
      await sleep(randomInt(LIFE_MS));
      await samba.verb('kill', 'persistd');
      await samba.verb('restart', 'persistd');
      if (i % 5 === 0) await noteEnded();
    }
  };
  const killing = kills();
  try {
    // a worker that fails ends the test at once
    await Promise.race([killing, Promise.all(workers)]);
  } finally {
    isOver = true;
    await killing;
  }
  const rounds = await Promise.all(workers);
  for (const count of rounds) assert.ok(count > KILLS / 10, `only ${count} rounds`);

  await samba.until(
    'no handle alive and no descriptor kept',
    () =>
      samba.kept() === 0 && samba.handles('--all').every(({ state }) => !LIVING.includes(state)),
    20_000,
  );
  await noteEnded();
  assert.ok(ended.size > 0);
  const unexplained = [...ended.values()].filter(({ reason }) => !EXPLAINED.has(reason ?? ''));
  assert.deepEqual(unexplained, []);
  const closed = [...ended.values()].filter(({ state }) => state === 'closed');
  assert.ok(
    closed.some(({ reason, resumes }) => BY_CLIENT.has(reason ?? '') && resumes > 0),
    'some were resumed between two kills',
  );
  await samba.nothingLeft();
});

function isPossessed(open: Open): boolean {
  const { dev, ino } = statSync(samba.sharePath('durable', open.path));
  const keeper = samba.pid('keeper');
  return samba.status().clientPids.some((pid) => sameDescription(pid, keeper, dev, ino));
}

test('a disconnected handle survives a kill with its deadline, and resumes', async () => {
  const client = await connect(account('durable'));
  const open = await client.open(newName(), durableOptions()).ok();
  await open.lock({ offset: 0, length: 5 }).ok();
  assert.ok(isPossessed(open), 'deposited');
  await client.drop();
  const before = await samba.disconnected(open.path);
  await killed(samba, 'persistd');
  await samba.verb('restart', 'persistd');
  const after = samba.handle(open.path);
  const dueMs = ({ expires_at }: HandleView) => Date.parse(expires_at ?? '');
  assert.ok(Math.abs(dueMs(after) - dueMs(before)) <= 20, 'the deadline moved');
  const { expires_at: _due, expires_in_ms: _left, ...rest } = after;
  const { expires_at: _dueBefore, expires_in_ms: _leftBefore, ...same } = before;
  assert.deepEqual(rest, same);
  const back = await connect(account('durable'), client);
  const again = await back.reconnect(open).ok();
  assert.ok(isPossessed(again), 'the same description');
  await again.unlock({ offset: 0, length: 5 }).ok();
  await again.close().ok();
  await samba.nothingLeft();
});

test('a moment without persistd at the drop costs no resume in the same smbd child', async () => {
  const client = await connect(account('durable'));
  const open = await client.open(newName(), durableOptions()).ok();
  await open.requestResiliency(60_000).ok();
  // the old connection stays, and so does its smbd child
  client.partition();
  const persistd = samba.pid('persistd');
  process.kill(persistd, 'SIGSTOP');
  let back: Smb2Client;
  try {
    back = await connect(account('durable'), client);
  } finally {
    process.kill(persistd, 'SIGCONT');
  }
  await (await back.reconnect(open).ok()).close().ok();
  await samba.nothingLeft();
});

test.after.each(dropAll);
test.after(() => samba.down());
test.run();
