// SPDX-License-Identifier: GPL-3.0-or-later
/** fdkeeper is upgraded under a real smbd: each handle stays the same open file. */
import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { Faults, faultPoints } from './lib/fault-points.js';
import { contend } from './lib/kernel-lock.js';
import {
  childOf,
  type Held,
  hold,
  isKeptDescription,
  newName,
  optionsOf,
  resume,
  USUAL,
} from './lib/scenario.js';
import { Disposition, type OpenOptions, Share, type Smb2Client } from './lib/smb2/index.js';

const samba = await DevSamba.up('--faults');
const faults = new Faults(samba);
const test = suite('upgrade');
const RANGE = { offset: 0, length: 10 };
const SHARE = 'posix'; // its byte-range locks are the kernel's, too

const upgrade = () => samba.verb('upgrade', 'keeper');

async function locked(options: OpenOptions, resilient: boolean, share = SHARE): Promise<Held> {
  const held = await hold(samba, share, options);
  if (resilient) await held.open.requestResiliency(60_000).ok();
  await held.open.write(0, 'written before').ok();
  await held.open.lock(RANGE).ok();
  return held;
}

/** Tries again and again to have the file; is refused each time, or it says so. */
async function intruder({ name, client: owner }: Held) {
  // the first try waits while the owner has a lease and does not give it up
  const client = await samba.connect(owner.tree.share, { timeoutMs: 60_000 });
  let tries = 0;
  let over = false;
  const trying = (async () => {
    while (!over) {
      const code = await client.open(name, { disposition: Disposition.OPEN }).code();
      assert.equal(code, 'SHARING_VIOLATION', `try ${tries} for ${name}`);
      tries += 1;
    }
  })();
  trying.catch(() => undefined);
  return async () => {
    over = true;
    await trying;
    await client.drop();
    assert.ok(tries > 0);
  };
}

/** Opens, writes, locks, reads, closes all the time. */
async function worker() {
  const client = await samba.connect(SHARE);
  let rounds = 0;
  let over = false;
  const working = (async () => {
    const steady = await client.open(newName(), optionsOf(USUAL)).ok();
    for (; !over; rounds += 1) {
      await steady.write(rounds * 8, String(rounds).padStart(8)).ok();
      const open = await client.open(newName(), optionsOf(USUAL)).ok();
      await open.lock(RANGE).ok();
      await open.write(0, `round ${rounds}`).ok();
      assert.equal(String(await open.read(0, 100).ok()), `round ${rounds}`);
      await open.unlock(RANGE).ok();
      await open.close().ok();
      assert.equal(String(await steady.read(rounds * 8, 8).ok()).trim(), String(rounds));
    }
    await steady.close().ok();
  })();
  working.catch(() => undefined);
  return async () => {
    over = true;
    await working;
    await client.drop();
    assert.ok(rounds > 0);
  };
}

/** Runs the body; meanwhile nobody gets a lock or a file that is another's. */
async function amidst(body: () => Promise<void>): Promise<void> {
  const durable = () => locked(optionsOf(USUAL), false);
  const resilient = () => locked({ ...optionsOf(USUAL), share: Share.NONE }, true);
  const persistent = () => locked({ ...optionsOf(USUAL), share: Share.NONE }, false, 'strong');
  const away = [await durable(), await resilient(), await persistent()] as const;
  const here = [await durable(), await resilient(), await persistent()] as const;
  for (const held of away) {
    await held.client.drop();
    await samba.disconnected(held.name);
  }
  await samba.until('the deposits', () => samba.kept() >= away.length + here.length);
  // who opens the file of a durable handle that is away ends it
  const contested = [away[1].path, here[0].path];
  const locks = await Promise.all(contested.map((path) => contend(path, 0, 10)));
  const ends = [
    await intruder(away[1]),
    await intruder(away[2]),
    await intruder(here[1]),
    await intruder(here[2]),
    await worker(),
  ];
  await body();
  for (const held of here) {
    assert.ok(isKeptDescription(samba, held.path), 'smbd and keeper have the same description');
    await held.client.drop();
    await samba.disconnected(held.name);
  }
  for (const end of ends) await end();
  for (const lock of locks) {
    const { tries, locked: had } = await lock.stop();
    assert.ok(tries > 0);
    assert.equal(had, 0, 'somebody had the lock');
  }
  for (const held of [...away, ...here]) {
    const back = await resume(samba, held);
    assert.ok(isKeptDescription(samba, held.path));
    assert.equal(String(await back.open.read(0, 20).ok()), 'written before');
    await back.open.unlock(RANGE).ok();
    await back.open.close().ok();
  }
  await samba.nothingLeft();
}

test('handles away and in use, locks and clients at work are carried over', () =>
  amidst(async () => {
    const pids = new Set([samba.pid('keeper')]);
    for (let i = 0; i < 5; i += 1) {
      await upgrade();
      pids.add(samba.pid('keeper'));
    }
    assert.equal(pids.size, 6);
  }));

test('persistd and smbd children keep their connections', async () => {
  const before = samba.stats();
  const warnings = () => samba.smbdLog().match(/connection to fdkeeper ended/g)?.length ?? 0;
  const warned = warnings();
  const held = await hold(samba, 'durable');
  await upgrade();
  await (await held.client.open(newName(), optionsOf(USUAL)).ok()).close().ok();
  await held.open.close().ok();
  assert.equal(samba.stats().keeper_reconnects, before.keeper_reconnects);
  assert.equal(warnings(), warned);
  await samba.nothingLeft();
});

test('persistctl keeper upgrade says who serves now', async () => {
  const old = samba.pid('keeper');
  const { stdout, status } = samba.ctl('keeper', 'upgrade');
  assert.equal(status, 0);
  const [, pid = '', previous = ''] = /pid (\d+)\) has taken over 0 .* (\d+)\n$/.exec(stdout) ?? [];
  assert.equal(Number(previous), old);
  assert.ok(existsSync(`/proc/${pid}`));
  await upgrade(); // so that dev-samba knows who it is
});

const OLD_DIES = ['handover.after-fork', 'handover.before-end'];
const NEW_DIES = ['takeover.before-load', 'takeover.after-load'];
const PLAIN_DEATH = ['handover.before-fork', 'takeover.in-command'];

test('all points of an upgrade are known here', () => {
  const points = faultPoints().filter((point) => /^(handover|takeover)\./.test(point));
  assert.deepEqual(points.sort(), [...OLD_DIES, ...NEW_DIES, ...PLAIN_DEATH].sort());
});

for (const point of OLD_DIES) {
  test(`the old keeper is killed at ${point}: the new one has everything`, () =>
    amidst(async () => {
      const old = samba.pid('keeper');
      faults.kill(point);
      await upgrade();
      assert.ok(faults.disarm(point));
      assert.notEqual(samba.pid('keeper'), old);
    }));
}

for (const point of NEW_DIES) {
  test(`the new keeper is killed at ${point}: the old one goes on`, () =>
    amidst(async () => {
      const old = samba.pid('keeper');
      faults.kill(point);
      await assert.rejects(upgrade(), /fdkeeper was not upgraded: it ended without a word/);
      assert.ok(faults.disarm(point));
      assert.equal(samba.pid('keeper'), old);
    }));
}

for (const point of PLAIN_DEATH) {
  test(`killed at ${point}, where it is alone, it is a keeper that was killed`, async () => {
    const held = await hold(samba, 'durable');
    const away = await hold(samba, 'durable');
    await away.client.drop();
    await samba.disconnected(away.name);
    faults.kill(point);
    await upgrade().catch(() => undefined);
    assert.ok(faults.disarm(point));
    await samba.until('the end of the keeper', () => samba.status().pids.keeper === null);
    await samba.verb('restart', 'keeper');
    await samba.until('its handle', () => isKeptDescription(samba, held.path));
    await samba.until('the other one made again', () => samba.handle(away.name).remade);
    await (await resume(samba, away)).open.close().ok();
    await held.open.close().ok();
    await samba.nothingLeft();
  });
}

test('what clients do while nobody serves is done by the new keeper', async () => {
  const dropping = await hold(samba, SHARE);
  await dropping.open.write(0, 'written before').ok();
  const [killed, child] = await childOf(samba, () => hold(samba, SHARE));
  const client: Smb2Client = await samba.connect(SHARE);
  const moment = faults.hold('takeover.after-load');
  const upgraded = upgrade();
  await moment.arrived;
  await dropping.client.drop();
  process.kill(child, 'SIGKILL');
  const opened = await client.open(newName(), optionsOf(USUAL)).ok();
  const closed = await client.open(newName(), optionsOf(USUAL)).ok();
  await closed.close().ok();
  await moment.release();
  await upgraded;
  const path = samba.sharePath(SHARE, opened.path);
  await samba.until('the deposit', () => isKeptDescription(samba, path));
  assert.equal(samba.kept(), 3);
  for (const held of [dropping, killed]) {
    const back = await resume(samba, held);
    assert.ok(isKeptDescription(samba, held.path));
    await back.open.close().ok();
  }
  await opened.close().ok();
  await samba.nothingLeft();
});

test.after(() => samba.down());
test.run();
