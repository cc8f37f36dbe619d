// SPDX-License-Identifier: GPL-3.0-or-later
/** Somebody comes for a file in the very moment in which its owner goes or returns. */
import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { Faults } from './lib/fault-points.js';
import {
  CLOSING,
  EXISTING,
  isStillTheOwners,
  isTheOthers,
  meanwhile,
  type Owner,
  owner,
  pointsFor,
  RESUMING,
  SOON_MS,
} from './lib/races.js';
import { acknowledgeBreaks, childOf } from './lib/scenario.js';
import { LeaseState, type Open, Oplock, Share, type Smb2Client } from './lib/smb2/index.js';

const samba = await DevSamba.up('--faults');
// the same directory, without the module
await samba.addShare('bare', `path = ${samba.sharePath('durable')}`, 'posix locking = no');
const faults = new Faults(samba);
const test = suite('races');

const sendOpen =
  (client: Smb2Client, { name }: Owner, options = EXISTING) =>
  () =>
    client.open(name, options, { timeoutMs: SOON_MS });

async function mayNotReturn({ client, open }: Owner): Promise<void> {
  const back = await samba.back(client, 'durable');
  assert.equal(await back.reconnect(open).code(), 'OBJECT_NAME_NOT_FOUND');
  await back.drop();
}

async function returns({ client, open }: Owner): Promise<Open> {
  const back = await samba.back(client, 'durable');
  return back.reconnect(open).ok();
}

async function goes(own: Owner): Promise<void> {
  await own.client.drop();
  await samba.disconnected(own.name);
}

test('resilient: the smbd child of the owner is killed in the middle of an open', async () => {
  const [own, pid] = await childOf(samba, () => owner(samba, 'resilient', { share: Share.NONE }));
  const other = await samba.connect('durable');
  const held = faults.hold('create.before-open');
  const opening = sendOpen(other, own)();
  await held.arrived;
  process.kill(pid, 'SIGKILL');
  await own.client.drop();
  await samba.until('its end', () => !existsSync(`/proc/${pid}`));
  await held.release();
  assert.equal(await opening.code(), 'SHARING_VIOLATION');
  await isStillTheOwners(await returns(own));
  await other.drop();
});

for (const from of ['durable', 'bare']) {
  for (const [point, locked] of pointsFor(from, CLOSING.durable)) {
    test(`durable: a client of '${from}' comes while the owner's smbd is at ${point}`, async () => {
      const own = await owner(samba, 'durable');
      const other = await samba.connect(from);
      const held = faults.hold(point);
      await own.client.drop();
      const { reply, waited } = await meanwhile(samba, held, sendOpen(other, own));
      if (locked) assert.ok(waited, 'the record of the file is locked');
      const theirs = reply.ok();
      await mayNotReturn(own);
      await isTheOthers(samba, own, theirs);
      await other.drop();
    });
  }

  for (const [point, locked] of pointsFor(from, CLOSING.resilient)) {
    test(`resilient: a client of '${from}' comes while the owner's smbd is at ${point}`, async () => {
      const own = await owner(samba, 'resilient');
      const other = await samba.connect(from);
      const held = faults.hold(point);
      await own.client.drop();
      const { reply, waited } = await meanwhile(samba, held, sendOpen(other, own));
      if (locked) assert.ok(waited, 'the record of the file is locked');
      const theirs = reply.ok();
      const again = await returns(own);
      assert.equal(again.granted.lease?.state, LeaseState.NONE, 'the other is in');
      await isStillTheOwners(again, theirs);
      await other.drop();
    });

    test(`resilient: it shares nothing with a client of '${from}' that comes at ${point}`, async () => {
      const own = await owner(samba, 'resilient', { share: Share.NONE });
      const other = await samba.connect(from);
      const held = faults.hold(point);
      await own.client.drop();
      const { reply } = await meanwhile(samba, held, sendOpen(other, own));
      assert.equal(reply.code, 'SHARING_VIOLATION');
      await isStillTheOwners(await returns(own));
      await other.drop();
    });
  }

  for (const [point, phase] of pointsFor(from, RESUMING)) {
    test(`durable: a client of '${from}' comes while the owner's resume is at ${point}`, async () => {
      const own = await owner(samba, 'durable');
      const other = await samba.connect(from);
      await goes(own);
      const back = await samba.back(own.client, 'durable');
      acknowledgeBreaks(back);
      const held = faults.hold(point);
      const reconnect = back.reconnect(own.open);
      const { reply, waited } = await meanwhile(samba, held, sendOpen(other, own));
      const theirs = reply.ok();
      if (phase === 'before') {
        assert.equal(await reconnect.code(), 'OBJECT_NAME_NOT_FOUND');
        await isTheOthers(samba, own, theirs);
      } else {
        assert.ok(waited, 'for the record of the file, or for the break of its lease');
        const again = await reconnect.ok();
        assert.equal(again.granted.lease?.state, LeaseState.RWH);
        assert.equal((await back.leaseBreaks.next()).newState, LeaseState.RH);
        await isStillTheOwners(again, theirs);
      }
      await back.drop();
      await other.drop();
    });

    test(`resilient: a client of '${from}' comes while the owner's resume is at ${point}`, async () => {
      const own = await owner(samba, 'resilient');
      const other = await samba.connect(from);
      await goes(own);
      const back = await samba.back(own.client, 'durable');
      acknowledgeBreaks(back);
      const held = faults.hold(point);
      const reconnect = back.reconnect(own.open);
      const { reply } = await meanwhile(samba, held, sendOpen(other, own));
      const theirs = reply.ok();
      const again = await reconnect.ok();
      const expected = phase === 'before' ? LeaseState.NONE : LeaseState.RWH;
      assert.equal(again.granted.lease?.state, expected);
      await isStillTheOwners(again, theirs);
      await back.drop();
      await other.drop();
    });
  }

  test(`a client of '${from}' has come and gone before the owner returns`, async () => {
    const durable = await owner(samba, 'durable');
    const resilient = await owner(samba, 'resilient');
    const closed = await owner(samba, 'resilient', { share: Share.NONE });
    const other = await samba.connect(from, { timeoutMs: SOON_MS });
    for (const own of [durable, resilient, closed]) await goes(own);
    await (await other.open(durable.name, EXISTING).ok()).close().ok();
    const theirs = await other.open(resilient.name, EXISTING).ok();
    await theirs.write(30, 'theirs').ok();
    await theirs.close().ok();
    assert.equal(await other.open(closed.name, EXISTING).code(), 'SHARING_VIOLATION');
    await other.drop();
    await mayNotReturn(durable);
    const again = await returns(resilient);
    assert.equal(again.granted.lease?.state, LeaseState.NONE);
    await isStillTheOwners(again);
    await isStillTheOwners(await returns(closed));
  });
}

for (const point of ['disconnect.begin', 'disconnect.locked', 'disconnect.after-event']) {
  for (const kind of ['durable', 'resilient'] as const) {
    test(`${kind}: its own client is back on another connection while the first is at ${point}`, async () => {
      const own = await owner(samba, kind);
      const held = faults.hold(point);
      await own.client.drop();
      await held.arrived;
      const returning = returns(own);
      await held.release();
      const again = await returning;
      assert.equal(again.granted.lease?.state, LeaseState.RWH);
      await isStillTheOwners(again);
    });

    test(`${kind}: its own client opens the file anew while the first connection is at ${point}`, async () => {
      const own = await owner(samba, kind);
      const { lease } = own.open.asked;
      const held = faults.hold(point);
      await own.client.drop();
      await held.arrived;
      const { clientGuid } = own.client;
      const connecting = samba.connect('durable', { clientGuid });
      await held.release();
      const same = await connecting;
      const theirs = await sendOpen(same, own, { ...EXISTING, ...(lease ? { lease } : {}) })().ok();
      await mayNotReturn(own);
      await isTheOthers(samba, own, theirs);
      await same.drop();
    });
  }
}

for (const point of Object.keys(RESUMING)) {
  for (const kind of ['durable', 'resilient'] as const) {
    test(`${kind}: two come back for it, one of them is at ${point}`, async () => {
      const own = await owner(samba, kind, { oplock: Oplock.BATCH });
      await goes(own);
      // other client GUIDs: those of one client are served by one smbd child
      const one = await samba.connect('durable');
      const two = await samba.connect('durable');
      const held = faults.hold(point);
      const first = one.reconnect(own.open, {}, { timeoutMs: SOON_MS });
      const second = () => two.reconnect(own.open, {}, { timeoutMs: SOON_MS });
      const { reply } = await meanwhile(samba, held, second);
      const replies = [await first, reply];
      assert.deepEqual(replies.map(({ code }) => code).sort(), [
        'OBJECT_NAME_NOT_FOUND',
        'SUCCESS',
      ]);
      const winner = replies[0]?.code === 'SUCCESS' ? one : two;
      await samba.until('the resume', () => samba.handle(own.name).state === 'connected');
      await (winner === one ? two : one).drop();
      await goes({ ...own, client: winner });
      await isStillTheOwners(await returns(own));
    });
  }
}

for (const point of ['resume.after-claim', 'resume.after-locks', 'resume.after-unlock']) {
  for (const kind of ['durable', 'resilient'] as const) {
    test(`${kind}: another comes when the claim of one who is at ${point} has lapsed`, async () => {
      const own = await owner(samba, kind, { oplock: Oplock.BATCH });
      await goes(own);
      const one = await samba.connect('durable');
      const two = await samba.connect('durable');
      const held = faults.hold(point);
      const first = one.reconnect(own.open, {}, { timeoutMs: SOON_MS });
      await held.arrived;
      await samba.until('the lapse', () => samba.handle(own.name).state === 'disconnected');
      const second = () => two.reconnect(own.open, {}, { timeoutMs: SOON_MS });
      const { reply } = await meanwhile(samba, held, second);
      const replies = [await first, reply];
      assert.deepEqual(replies.map(({ code }) => code).sort(), [
        'OBJECT_NAME_NOT_FOUND',
        'SUCCESS',
      ]);
      await samba.until('the resume', () => samba.handle(own.name).state === 'connected');
      const [client, loser] = replies[0]?.code === 'SUCCESS' ? [one, two] : [two, one];
      await loser.drop();
      await goes({ ...own, client });
      await isStillTheOwners(await returns(own));
    });
  }
}

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
