// SPDX-License-Identifier: GPL-3.0-or-later
/** Byte-range locks outlive a drop, in smbd's records and in the kernel. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { LockView } from '../daemon/src/shared/handle-view.js';
import { DevSamba, DURABLE_KINDS, tryLock } from './lib/dev-samba.js';
import { contend } from './lib/kernel-lock.js';
import {
  acknowledgeBreaks,
  drop,
  type Held,
  hold,
  isKeptDescription,
  newName,
  optionsOf,
  resume,
  USUAL,
} from './lib/scenario.js';
import { LeaseState, type LockElement, newGuid, type Open } from './lib/smb2/index.js';
import { Session } from './lib/smb2/session.js';
import { Tree } from './lib/smb2/tree.js';

const samba = await DevSamba.up();
const test = suite('locks');

const FAR = 2n ** 63n;
const EXCLUSIVE = [
  { offset: 0, length: 10 },
  { offset: 1000, length: 0 },
  { offset: FAR, length: 10 },
  { offset: 2n ** 64n - 2n, length: 1 },
] satisfies LockElement[];
const SHARED = [
  { offset: 100, length: 10 },
  { offset: FAR + 100n, length: 10 },
] satisfies LockElement[];

/** What another client is told while these locks are held. */
const PROBES: readonly { range: LockElement; shared: boolean; free: boolean }[] = [
  { range: { offset: 9, length: 1 }, shared: false, free: false },
  { range: { offset: 9, length: 1 }, shared: true, free: false },
  { range: { offset: 10, length: 90 }, shared: false, free: true },
  { range: { offset: 109, length: 1 }, shared: false, free: false },
  { range: { offset: 109, length: 1 }, shared: true, free: true },
  { range: { offset: 995, length: 10 }, shared: false, free: false },
  { range: { offset: 1000, length: 10 }, shared: false, free: true },
  { range: { offset: FAR + 9n, length: 1 }, shared: true, free: false },
  { range: { offset: FAR + 100n, length: 1 }, shared: false, free: false },
  { range: { offset: FAR + 100n, length: 1 }, shared: true, free: true },
  { range: { offset: 2n ** 64n - 2n, length: 1 }, shared: true, free: false },
];

async function takeAll(open: Open): Promise<void> {
  for (const range of EXCLUSIVE) await open.lock(range).ok();
  for (const range of SHARED) await open.lock(range, { shared: true }).ok();
}

async function probeAll(
  open: Open,
  expected: (probe: (typeof PROBES)[number]) => boolean,
): Promise<void> {
  for (const probe of PROBES) {
    const { range, shared } = probe;
    const code = await open.lock(range, { shared }).code();
    const what = `${range.offset} length ${range.length} ${shared ? 'shared' : 'exclusive'}`;
    assert.equal(code, expected(probe) ? 'SUCCESS' : 'LOCK_NOT_GRANTED', what);
    if (code === 'SUCCESS') await open.unlock(range).ok();
  }
}

/** The locks as persistd has them, in an order of their own. */
function shown(id: string): LockView[] {
  const { stdout } = samba.ctl('show', id, '--json');
  const { locks } = JSON.parse(stdout).handle as { locks: LockView[] };
  return [...locks].sort((a, b) => (BigInt(a.start) < BigInt(b.start) ? -1 : 1));
}

const EXPECTED_VIEW: LockView[] = [
  { start: 0, count: 10, exclusive: true },
  { start: 100, count: 10, exclusive: false },
  { start: 1000, count: 0, exclusive: true },
  { start: String(FAR), count: 10, exclusive: true },
  { start: String(FAR + 100n), count: 10, exclusive: false },
  { start: String(2n ** 64n - 2n), count: 1, exclusive: true },
];

for (const share of ['durable', 'posix']) {
  for (const [label, kind] of Object.entries(DURABLE_KINDS)) {
    test(`${share}: ${label}: locks of every sort hold after a drop, and are released singly`, async () => {
      let held = await hold(samba, share, optionsOf(kind));
      await takeAll(held.open);
      await drop(samba, held);
      held = await resume(samba, held);
      assert.ok(isKeptDescription(samba, held.path));
      acknowledgeBreaks(held.client);
      const other = await samba.connect(share);
      const probe = await other.open(held.name).ok();
      await probeAll(probe, ({ free }) => free);
      assert.equal(await held.open.unlock({ offset: 0, length: 9 }).code(), 'RANGE_NOT_LOCKED');
      for (const range of [...EXCLUSIVE, ...SHARED]) await held.open.unlock(range).ok();
      await probeAll(probe, () => true);
      await held.open.close().ok();
      await other.drop();
    });
  }

  test(`${share}: persistctl shows the locks before, while away and after`, async () => {
    let held = await hold(samba, share);
    await takeAll(held.open);
    const { id } = await samba.until('all locks', () => {
      const handle = samba.handle(held.name);
      return handle.locks.length === EXPECTED_VIEW.length && handle;
    });
    assert.deepEqual(shown(id), EXPECTED_VIEW);
    await drop(samba, held);
    assert.deepEqual(shown(id), EXPECTED_VIEW);
    held = await resume(samba, held);
    await samba.until('the resume', () => samba.handle(held.name).state === 'connected');
    assert.deepEqual(shown(id), EXPECTED_VIEW);
    await held.open.unlock({ offset: FAR, length: 10 }).ok();
    await samba.until('the unlock', () => shown(id).length === EXPECTED_VIEW.length - 1);
    await held.open.close().ok();
  });

  test(`${share}: a close after a resume frees all that was not unlocked`, async () => {
    let held = await hold(samba, share);
    await takeAll(held.open);
    await drop(samba, held);
    held = await resume(samba, held);
    await held.open.close().ok();
    const other = await samba.connect(share);
    await probeAll(await other.open(held.name).ok(), () => true);
    await other.drop();
  });

  test(`${share}: locks outlive a second drop, those taken in between too`, async () => {
    let held = await hold(samba, share);
    await held.open.lock({ offset: 0, length: 10 }).ok();
    await held.open.lock({ offset: 50, length: 10 }).ok();
    await drop(samba, held);
    held = await resume(samba, held);
    await held.open.lock({ offset: 20, length: 10 }).ok();
    await held.open.unlock({ offset: 50, length: 10 }).ok();
    await drop(samba, held);
    held = await resume(samba, held);
    acknowledgeBreaks(held.client);
    const other = await samba.connect(share);
    const probe = await other.open(held.name).ok();
    assert.equal(await probe.lock({ offset: 0, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    assert.equal(await probe.lock({ offset: 29, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    assert.equal(await probe.lock({ offset: 50, length: 10 }).code(), 'SUCCESS');
    await held.open.unlock({ offset: 0, length: 10 }).ok();
    await held.open.unlock({ offset: 20, length: 10 }).ok();
    assert.equal(await probe.lock({ offset: 0, length: 30 }).code(), 'SUCCESS');
    await held.open.close().ok();
    await other.drop();
  });

  test(`${share}: two handles with one lease: each has its own locks, whichever is back`, async () => {
    const name = newName();
    const path = samba.sharePath(share, name);
    const lease = { key: newGuid(), state: LeaseState.RWH };
    const a = await samba.connect(share);
    const options = () => ({ ...optionsOf(USUAL), lease });
    const one = await a.open(name, options()).ok();
    const two = await a.open(name, options()).ok();
    await one.lock({ offset: 0, length: 10 }).ok();
    await two.lock({ offset: 20, length: 10 }).ok();
    await a.drop();
    await samba.until('both', () => samba.away(name).length === 2);
    const b = await samba.back(a, share);
    const second = await b.reconnect(two).ok();
    if (share === 'posix') {
      assert.equal(tryLock(path, 0, 10), 'busy');
      assert.equal(tryLock(path, 20, 10), 'busy');
    }
    await second.unlock({ offset: 20, length: 10 }).ok();
    if (share === 'posix') {
      assert.equal(tryLock(path, 0, 10), 'busy');
      assert.equal(tryLock(path, 20, 10), 'locked');
    }
    await second.close().ok();
    if (share === 'posix') assert.equal(tryLock(path, 0, 10), 'busy');
    const first = await b.reconnect(one).ok();
    assert.equal(await first.lock({ offset: 20, length: 10 }).code(), 'SUCCESS');
    await first.unlock({ offset: 0, length: 10 }).ok();
    await first.lock({ offset: 0, length: 10 }).ok();
    await first.unlock({ offset: 0, length: 10 }).ok();
    if (share === 'posix') {
      assert.equal(tryLock(path, 0, 10), 'locked');
      assert.equal(tryLock(path, 20, 10), 'busy');
    }
    await first.close().ok();
    if (share === 'posix') assert.equal(tryLock(path, 20, 10), 'locked');
  });

  test(`${share}: a handle that is back cannot take what another one, still away, holds`, async () => {
    const name = newName();
    const lease = { key: newGuid(), state: LeaseState.RWH };
    const durable = () => ({ version: 2, timeoutMs: 60_000, createGuid: newGuid() }) as const;
    const a = await samba.connect(share);
    const holder = await a.open(name, { lease, durable: durable() }).ok();
    const rival = await a.open(name, { lease, durable: durable() }).ok();
    await holder.lock({ offset: 0, length: 10 }).ok();
    await a.drop();
    await samba.until('both', () => samba.away(name).length === 2);
    const b = await samba.back(a, share);
    const early = await b.reconnect(rival).ok();
    assert.equal(await early.lock({ offset: 0, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    assert.equal(await early.write(5, 'x').code(), 'FILE_LOCK_CONFLICT');
    await early.lock({ offset: 10, length: 1 }).ok();
    const late = await b.reconnect(holder).ok();
    assert.equal(await early.lock({ offset: 0, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    assert.equal(await late.lock({ offset: 10, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    await late.unlock({ offset: 0, length: 10 }).ok();
    await early.lock({ offset: 0, length: 1 }).ok();
    await late.close().ok();
    await early.close().ok();
  });

  test(`${share}: a LOCK that was refused before the drop costs nothing`, async () => {
    const held = await hold(samba, share, { ...optionsOf(USUAL, { state: LeaseState.RH }) });
    await held.open.lock({ offset: 0, length: 1 }).ok();
    assert.equal(await held.open.lock({ offset: 0, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    await drop(samba, held);
    const again = await resume(samba, held);
    await again.open.unlock({ offset: 0, length: 1 }).ok();
    await again.open.close().ok();
  });

  test(`${share}: LOGOFF, and back on the same connection to the same smbd`, async () => {
    const { client, open, path, name } = await hold(samba, share);
    await open.lock({ offset: 0, length: 10 }).ok();
    const { user, password } = samba.status();
    await client.session.logoff().ok();
    await samba.disconnected(name);
    if (share === 'posix') assert.equal(tryLock(path, 0, 10), 'busy');
    const { connection, negotiated } = client.session;
    const credentials = { user, password, domain: '' };
    const session = await Session.setup(connection, negotiated, { credentials });
    const tree = await Tree.connect(session, share).ok();
    const again = await tree.reconnect(open).ok();
    assert.ok(isKeptDescription(samba, path));
    if (share === 'posix') assert.equal(tryLock(path, 0, 10), 'busy');
    await again.unlock({ offset: 0, length: 10 }).ok();
    if (share === 'posix') assert.equal(tryLock(path, 0, 10), 'locked');
    await again.lock({ offset: 0, length: 10 }).ok();
    await again.close().ok();
    if (share === 'posix') assert.equal(tryLock(path, 0, 10), 'locked');
  });
}

/** Whether a local process could have the range at any moment of what is done. */
async function neverFree(
  held: Held,
  range: readonly [number, number],
  act: () => Promise<void>,
): Promise<void> {
  const contender = await contend(held.path, ...range);
  await act();
  const { tries, locked } = await contender.stop();
  assert.ok(tries > 300, `${tries} tries`);
  assert.equal(locked, 0, `could be locked in ${locked} of ${tries} tries`);
}

for (const [label, kind] of Object.entries(DURABLE_KINDS)) {
  test(`posix: ${label}: the kernel's lock is never free from LOCK to UNLOCK`, async () => {
    let held = await hold(samba, 'posix', optionsOf(kind));
    await held.open.lock({ offset: 100, length: 10 }).ok();
    assert.equal(tryLock(held.path, 100, 10), 'busy');
    await neverFree(held, [100, 10], async () => {
      await drop(samba, held);
      held = await resume(samba, held);
      await held.client.echo().ok();
    });
    assert.equal(tryLock(held.path, 100, 10), 'busy');
    assert.equal(tryLock(held.path, 110, 10), 'locked');
    await held.open.unlock({ offset: 100, length: 10 }).ok();
    assert.equal(tryLock(held.path, 100, 10), 'locked');
    await held.open.close().ok();
  });
}

test("posix: the kernel's lock is never free in five drops in a row", async () => {
  let held = await hold(samba, 'posix');
  await held.open.lock({ offset: 0, length: 1 }).ok();
  await neverFree(held, [0, 1], async () => {
    for (let i = 0; i < 5; i++) {
      await held.client.drop();
      held = await resume(samba, held);
    }
  });
  await held.open.unlock({ offset: 0, length: 1 }).ok();
  assert.equal(tryLock(held.path, 0, 1), 'locked');
  await held.open.close().ok();
});

test('posix: a shared lock lets local readers in and keeps writers out', async () => {
  let held = await hold(samba, 'posix');
  await held.open.write(0, Buffer.alloc(64)).ok();
  await held.open.lock({ offset: 0, length: 10 }, { shared: true }).ok();
  const both = () => [tryLock(held.path, 0, 10, 'r'), tryLock(held.path, 0, 10, 'w')];
  assert.deepEqual(both(), ['locked', 'busy']);
  await drop(samba, held);
  assert.deepEqual(both(), ['locked', 'busy']);
  held = await resume(samba, held);
  assert.deepEqual(both(), ['locked', 'busy']);
  await held.open.unlock({ offset: 0, length: 10 }).ok();
  assert.deepEqual(both(), ['locked', 'locked']);
  await held.open.close().ok();
});

test('posix: a close of the resumed handle frees the kernel lock, and smbd lives on', async () => {
  let held = await hold(samba, 'posix');
  await held.open.lock({ offset: 0, length: 10 }).ok();
  await held.open.lock({ offset: 5, length: 20 }, { shared: true }).code();
  await drop(samba, held);
  held = await resume(samba, held);
  const smbds = samba.status().clientPids;
  await held.open.close().ok();
  assert.equal(tryLock(held.path, 0, 100), 'locked');
  await held.client.echo().ok();
  assert.deepEqual(samba.status().clientPids, smbds);
});

test('posix: overlapping shared locks of one handle go one by one', async () => {
  let held = await hold(samba, 'posix');
  await held.open.lock({ offset: 0, length: 10 }, { shared: true }).ok();
  await held.open.lock({ offset: 5, length: 10 }, { shared: true }).ok();
  await drop(samba, held);
  held = await resume(samba, held);
  await held.open.unlock({ offset: 0, length: 10 }).ok();
  assert.equal(tryLock(held.path, 0, 5), 'locked');
  assert.equal(tryLock(held.path, 5, 10), 'busy');
  await held.open.unlock({ offset: 5, length: 10 }).ok();
  assert.equal(tryLock(held.path, 0, 100), 'locked');
  await held.open.close().ok();
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
