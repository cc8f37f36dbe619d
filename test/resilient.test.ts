// SPDX-License-Identifier: GPL-3.0-or-later
/** FSCTL_LMR_REQUEST_RESILIENCY (MS-SMB2 2.2.31.3, 3.3.5.15.9), which no Samba knows. */
import { strict as assert } from 'node:assert';
import { appendFileSync, statSync } from 'node:fs';
import { suite } from 'uvu';
import { DevSamba, sameDescription, tryLock } from './lib/dev-samba.js';
import {
  Access,
  Dialect,
  Disposition,
  Fsctl,
  LeaseState,
  newGuid,
  type Open,
  type OpenOptions,
  Oplock,
  Share,
  type Smb2Client,
} from './lib/smb2/index.js';

const samba = await DevSamba.up();
const test = suite('resilient');
let serial = 0;
const newName = (): string => `resilient-${++serial}.txt`;

const levels: Record<string, () => OpenOptions> = {
  'no oplock': () => ({}),
  'a level II oplock': () => ({ oplock: Oplock.LEVEL_II }),
  'an exclusive oplock': () => ({ oplock: Oplock.EXCLUSIVE }),
  'a batch oplock': () => ({ oplock: Oplock.BATCH }),
  'an R lease': () => ({ lease: { key: newGuid(), state: LeaseState.R } }),
  'an RH lease': () => ({ lease: { key: newGuid(), state: LeaseState.RH } }),
  'an RWH lease': () => ({ lease: { key: newGuid(), state: LeaseState.RWH } }),
};

async function resilient(
  share: string,
  options: OpenOptions,
  timeoutMs = 60_000,
): Promise<{ a: Smb2Client; open: Open; name: string; path: string }> {
  const name = newName();
  const a = await samba.connect(share);
  const open = await a.open(name, options).ok();
  await open.write(0, 'resilient').ok();
  await open.requestResiliency(timeoutMs).ok();
  return { a, open, name, path: samba.sharePath(share, name) };
}

async function resume(a: Smb2Client, share: string, open: Open): Promise<Open> {
  const b = await samba.back(a, share);
  return b.reconnect(open).ok();
}

test('the stock share does not know the ioctl', async () => {
  const a = await samba.connect('plain');
  const open = await a.open(newName()).ok();
  assert.equal(await open.requestResiliency(1000).code(), 'INVALID_DEVICE_REQUEST');
  await open.close().ok();
});

for (const share of ['durable', 'posix']) {
  for (const [level, options] of Object.entries(levels)) {
    test(`${share}: an open with ${level} is kept over a drop, locks included`, async () => {
      const { a, open, name, path } = await resilient(share, options());
      await open.lock({ offset: 0, length: 10 }).ok();
      assert.equal(samba.handle(name).kind, 'resilient');
      const { dev, ino } = statSync(path);
      await a.drop();
      await samba.disconnected(name);
      const again = await resume(a, share, open);
      assert.ok(
        samba.status().clientPids.some((p) => sameDescription(p, samba.pid('keeper'), dev, ino)),
      );
      // smbd breaks a level II oplock, its owner's too, at a write or a lock
      const kept = open.oplock === Oplock.LEVEL_II ? Oplock.NONE : open.oplock;
      assert.equal(again.oplock, kept, 'the level is as it was');
      assert.equal(again.granted.lease?.state, open.granted.lease?.state);
      assert.equal(String(await again.read(0, 20).ok()), 'resilient');
      await again.unlock({ offset: 0, length: 10 }).ok();
      await again.close().ok();
    });
  }
}

test('in dialect 2.1 it is resumed by DHnC', async () => {
  const name = newName();
  const a = await samba.connect('durable', { dialect: Dialect.SMB_2_1 });
  const open = await a.open(name).ok();
  await open.requestResiliency(60_000).ok();
  await a.drop();
  const b = await samba.back(a, 'durable', { dialect: Dialect.SMB_2_1 });
  await (await b.reconnect(open).ok()).close().ok();
});

test('it is kept over LOGOFF', async () => {
  const { a, open } = await resilient('durable', {});
  await a.logoff();
  const again = await resume(a, 'durable', open);
  await again.close().ok();
});

test('bad input is refused and leaves the handle as it was', async () => {
  const { a, open, name } = await resilient('durable', {}, 40_000);
  const short = await open.ioctl(Fsctl.LMR_REQUEST_RESILIENCY, Buffer.alloc(7));
  assert.equal(short.code, 'INVALID_PARAMETER');
  assert.equal(await open.requestResiliency(301_000).code(), 'INVALID_PARAMETER');
  assert.equal(samba.handle(name).timeout_ms, 40_000);
  await a.drop();
  const again = await resume(a, 'durable', open);
  await again.close().ok();
});

test('0 means the default, and a second request replaces the timeout', async () => {
  const { open, name } = await resilient('durable', {}, 0);
  assert.equal(samba.handle(name).timeout_ms, 120_000);
  await open.requestResiliency(5_000).ok();
  assert.equal(samba.handle(name).timeout_ms, 5_000);
  await open.close().ok();
});

test('after the deadline it is refused, and nothing of it is left', async () => {
  const { a, open, name, path } = await resilient('posix', { share: Share.NONE }, 1_000);
  await open.lock({ offset: 0, length: 10 }).ok();
  await a.drop();
  await samba.until('the expiry', () => samba.handle(name).state === 'expired');
  const other = await samba.connect('posix');
  const theirs = await other.open(name, { share: Share.NONE }).ok();
  await theirs.lock({ offset: 0, length: 10 }).ok();
  await theirs.close().ok();
  assert.equal(tryLock(path, 0, 1), 'locked');
  const back = await samba.back(a, 'posix');
  assert.equal(await back.reconnect(open).code(), 'OBJECT_NAME_NOT_FOUND');
});

test('while away its share mode is in force, from every share that exports the file', async () => {
  for (const share of ['durable', 'posix']) {
    const { a, open, name } = await resilient(share, { share: Share.READ });
    await a.drop();
    await samba.disconnected(name);
    const other = await samba.connect(share);
    assert.equal(await other.open(name, { access: Access.READ_WRITE }).code(), 'SHARING_VIOLATION');
    assert.equal(await other.open(name, { access: Access.DELETE }).code(), 'SHARING_VIOLATION');
    assert.equal(samba.handle(name).state, 'disconnected');
    const again = await resume(a, share, open);
    await again.close().ok();
  }
});

test('while away its byte-range locks are in force', async () => {
  const { a, open, name } = await resilient('durable', {});
  await open.lock({ offset: 0, length: 10 }).ok();
  await a.drop();
  await samba.disconnected(name);
  const other = await samba.connect('durable');
  const theirs = await other.open(name).ok();
  assert.equal(await theirs.lock({ offset: 5, length: 1 }).code(), 'LOCK_NOT_GRANTED');
  assert.equal(await theirs.write(5, 'x').code(), 'FILE_LOCK_CONFLICT');
  await theirs.lock({ offset: 10, length: 1 }).ok();
  await theirs.close().ok();
  const again = await resume(a, 'durable', open);
  await again.unlock({ offset: 0, length: 10 }).ok();
  await again.close().ok();
});

for (const [what, options] of Object.entries({
  'a lease': () => ({ lease: { key: newGuid(), state: LeaseState.RWH } }),
  'a batch oplock': () => ({ oplock: Oplock.BATCH }),
})) {
  test(`an open that conflicts with ${what} only succeeds at once, the owner resumes with none`, async () => {
    const { a, open, name } = await resilient('durable', options());
    await a.drop();
    await samba.disconnected(name);
    const other = await samba.connect('durable', { timeoutMs: 5_000 });
    const theirs = await other.open(name, { disposition: Disposition.OPEN }).ok();
    await theirs.write(20, 'theirs').ok();
    await theirs.close().ok();
    const again = await resume(a, 'durable', open);
    assert.equal(again.granted.lease?.state ?? again.oplock, 0);
    assert.equal(String(await again.read(20, 10).ok()), 'theirs');
    await again.close().ok();
  });
}

test('a local write while away costs it its lease, not the handle', async () => {
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const { a, open, name, path } = await resilient('durable', { lease });
  await a.drop();
  await samba.disconnected(name);
  appendFileSync(path, ' and more');
  const again = await resume(a, 'durable', open);
  assert.equal(again.granted.lease?.state, LeaseState.NONE);
  assert.equal(String(await again.read(0, 30).ok()), 'resilient and more');
  await again.close().ok();
});

test('closing or expiring it by persistctl frees the file for the next opener', async () => {
  for (const verb of ['close', 'expire']) {
    const { a, name } = await resilient('durable', { share: Share.NONE });
    await a.drop();
    const { id } = await samba.disconnected(name);
    const other = await samba.connect('durable');
    assert.equal(await other.open(name).code(), 'SHARING_VIOLATION');
    assert.equal(samba.ctl(verb, id).status, 0);
    await (await other.open(name).ok()).close().ok();
  }
});

test('a client that opens anew with its lease key finds its orphan out of its way', async () => {
  for (const makeResilient of [true, false]) {
    const name = newName();
    const a = await samba.connect('posix');
    const lease = { key: newGuid(), state: LeaseState.RWH };
    const durable = { version: 2, timeoutMs: 60_000, createGuid: newGuid() } as const;
    const share = Share.NONE;
    const open = await a.open(name, { lease, durable, share }).ok();
    if (makeResilient) await open.requestResiliency(60_000).ok();
    await open.lock({ offset: 0, length: 10 }).ok();
    await a.drop();
    await samba.disconnected(name);
    const b = await samba.back(a, 'posix');
    const anew = await b
      .open(name, { lease, share, durable: { ...durable, createGuid: newGuid() } })
      .ok();
    await anew.lock({ offset: 0, length: 10 }).ok();
    await anew.close().ok();
  }
});

test('a resilient handle that comes back leaves a durable one of the same lease as it is', async () => {
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const a = await samba.connect('durable');
  const name = newName();
  const durable = await a
    .open(name, { lease, durable: { version: 2, createGuid: newGuid() } })
    .ok();
  const open = await a.open(name, { lease }).ok();
  await open.requestResiliency(60_000).ok();
  await a.drop();
  await samba.until('both away', () => samba.away(name).length === 2);
  const b = await samba.back(a, 'durable');
  const first = await b.reconnect(open).ok();
  const second = await b.reconnect(durable).ok();
  await first.close().ok();
  await second.close().ok();
});

test('a LOCK replayed after the resume is answered without being done twice', async () => {
  const { a, open } = await resilient('durable', {});
  const sequence = { index: 1, number: 3 };
  await open.lock({ offset: 0, length: 10 }, { sequence }).ok();
  await a.drop();
  const again = await resume(a, 'durable', open);
  await again.lock({ offset: 0, length: 10 }, { sequence }).ok();
  await again.unlock({ offset: 0, length: 10 }).ok();
  assert.equal(await again.unlock({ offset: 0, length: 10 }).code(), 'RANGE_NOT_LOCKED');
  await again.close().ok();
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
