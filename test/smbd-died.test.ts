// SPDX-License-Identifier: GPL-3.0-or-later
/** smbd children are killed, and all of smbd is: clients get their handles back. */
import { strict as assert } from 'node:assert';
import { renameSync } from 'node:fs';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS } from './lib/dev-samba.js';
import { lockNumbered, replayNumbered } from './lib/numbered-locks.js';
import {
  childOf,
  type Held,
  hold,
  isKeptDescription,
  newName,
  optionsOf,
  resume,
} from './lib/scenario.js';
import {
  Access,
  LeaseState,
  newGuid,
  type OpenOptions,
  Oplock,
  Share,
  type Smb2Client,
} from './lib/smb2/index.js';

const samba = await DevSamba.up();
const test = suite('smbd-died');
const RANGE = { offset: 0, length: 10 };

async function killChild(pid: number, client: Smb2Client): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await client.drop();
}

/** All of smbd at once, and a new one. */
async function killSmbd(client: Smb2Client): Promise<void> {
  await samba.verb('kill', 'smbd');
  await client.drop();
  await samba.verb('restart', 'smbd');
}

const deaths: Record<string, (pid: number, client: Smb2Client) => Promise<void>> = {
  'its child was killed': killChild,
  'all of smbd was killed': (_pid, client) => killSmbd(client),
  'smbd was restarted': async (_pid, client) => {
    await samba.verb('restart', 'smbd');
    await client.drop();
  },
};

async function resilient(share: string, name: string, options: OpenOptions): Promise<Held> {
  const client = await samba.connect(share);
  const open = await client.open(name, options).ok();
  await open.requestResiliency(60_000).ok();
  return { client, open, name, path: samba.sharePath(share, name) };
}

for (const [death, die] of Object.entries(deaths)) {
  test(`stock loses the handle when ${death}`, async () => {
    const [held, pid] = await childOf(samba, () => hold(samba, 'plain'));
    await die(pid, held.client);
    const back = await samba.back(held.client, 'plain');
    assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  });

  for (const share of ['durable', 'posix']) {
    for (const [name, kind] of Object.entries(DURABLE_KINDS)) {
      test(`${share}: a ${name} handle and its locks come back when ${death}`, async () => {
        const [held, pid] = await childOf(samba, () => hold(samba, share, optionsOf(kind)));
        await held.open.write(0, 'still here').ok();
        await held.open.lock(RANGE).ok();
        await held.open.lock({ offset: 20, length: 0 }, { shared: true }).ok();
        await samba.until(
          'the locks with persistd',
          () => samba.handle(held.name).locks.length === 2,
        );
        await die(pid, held.client);
        const again = await resume(samba, held);
        assert.ok(isKeptDescription(samba, held.path));
        assert.equal(again.open.oplock, held.open.oplock);
        assert.equal(again.open.granted.lease?.state, held.open.granted.lease?.state);
        assert.equal(String(await again.open.read(0, 20).ok()), 'still here');
        await again.open.unlock(RANGE).ok();
        assert.equal(await again.open.unlock(RANGE).code(), 'RANGE_NOT_LOCKED');
        await again.open.unlock({ offset: 20, length: 0 }).ok();
        await again.open.close().ok();
        await samba.nothingLeft();
      });
    }

    test(`${share}: a resilient handle is in force before anybody opens, when ${death}`, async () => {
      const name = newName();
      const [held, pid] = await childOf(samba, () =>
        resilient(share, name, {
          share: Share.READ,
          lease: { key: newGuid(), state: LeaseState.RWH },
        }),
      );
      await held.open.lock(RANGE).ok();
      await samba.until('the lock with persistd', () => samba.handle(name).locks.length === 1);
      await die(pid, held.client);
      const other = await samba.connect(share);
      assert.equal(
        await other.open(name, { access: Access.WRITE_DATA }).code(),
        'SHARING_VIOLATION',
      );
      const reader = await other.open(name, { access: Access.READ_DATA }).ok();
      assert.equal(await reader.lock(RANGE, { shared: true }).code(), 'LOCK_NOT_GRANTED');
      await reader.close().ok();
      const again = await resume(samba, held);
      await again.open.unlock(RANGE).ok();
      await again.open.close().ok();
      await samba.nothingLeft();
    });
  }

  test(`a LOCK that was answered is not done again when ${death}`, async () => {
    const name = newName();
    const [held, pid] = await childOf(samba, () => resilient('durable', name, {}));
    await lockNumbered(held.open, RANGE);
    await samba.until('the lock with persistd', () => samba.handle(name).locks.length === 1);
    await die(pid, held.client);
    const { open } = await resume(samba, held);
    await replayNumbered(open, RANGE);
    await open.close().ok();
    await samba.nothingLeft();
  });

  test(`a client that was not told of a rename comes back when ${death}`, async () => {
    const held = await hold(samba, 'durable');
    await held.client.drop();
    await samba.disconnected(held.name);
    renameSync(held.path, `${held.path}.new`);
    const [back, pid] = await childOf(samba, () => resume(samba, held));
    await die(pid, back.client);
    const again = await resume(samba, back);
    assert.ok(isKeptDescription(samba, `${held.path}.new`));
    await again.open.close().ok();
    await samba.nothingLeft();
  });

  test(`two handles of a client on one file come back when ${death}`, async () => {
    const lease = { key: newGuid(), state: LeaseState.RWH };
    const wish = (): OpenOptions => ({ lease, durable: { version: 2, createGuid: newGuid() } });
    const [held, pid] = await childOf(samba, () => hold(samba, 'durable', wish()));
    const second = await held.client.open(held.name, wish()).ok();
    await held.open.lock(RANGE).ok();
    await second.lock({ offset: 30, length: 5 }).ok();
    await samba.until(
      'both locks with persistd',
      () =>
        samba.handles('--all').filter((h) => h.path === held.path && h.locks.length === 1)
          .length === 2,
    );
    await die(pid, held.client);
    const again = await resume(samba, held);
    const other = await again.client.reconnect(second).ok();
    await again.open.unlock(RANGE).ok();
    await other.unlock({ offset: 30, length: 5 }).ok();
    await other.close().ok();
    await again.open.close().ok();
    await samba.nothingLeft();
  });
}

test('a sibling that has the file open keeps its own, and the other comes back', async () => {
  const kind = DURABLE_KINDS['v2, lease v2'];
  const options = { ...optionsOf(kind, { state: LeaseState.RH }), share: Share.ALL };
  const [held, pid] = await childOf(samba, () => hold(samba, 'durable', options));
  const sibling = await samba.connect('durable');
  const open = await sibling.open(held.name, { share: Share.ALL, access: Access.READ_DATA }).ok();
  await killChild(pid, held.client);
  const again = await resume(samba, held);
  assert.equal(again.open.granted.lease?.state, LeaseState.RH);
  assert.ok(isKeptDescription(samba, held.path));
  await open.lock(RANGE, { shared: true }).ok();
  assert.equal(await again.open.lock(RANGE).code(), 'LOCK_NOT_GRANTED');
  await open.close().ok();
  await again.open.lock(RANGE).ok();
  await again.open.close().ok();
  await samba.nothingLeft();
});

test('several resilient handles with one lease come back when all of smbd was killed', async () => {
  const name = newName();
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const held = await resilient('durable', name, { lease });
  const second = await held.client.open(name, { lease }).ok();
  await second.requestResiliency(60_000).ok();
  await second.lock(RANGE).ok();
  await killSmbd(held.client);
  const again = await resume(samba, held);
  const secondAgain = await again.client.reconnect(second).ok();
  await secondAgain.unlock(RANGE).ok();
  await secondAgain.close().ok();
  await again.open.close().ok();
  await samba.nothingLeft();
});

test('a break that the dead child had sent on ends with it, and so does the wait for it', async () => {
  const [held, pid] = await childOf(samba, () => hold(samba, 'durable'));
  const broken = new Promise<void>((resolve) => held.client.on('leaseBreak', () => resolve()));
  const sibling = await samba.connect('durable');
  const opening = sibling.open(held.name).ok();
  await broken;
  await killChild(pid, held.client);
  await (await opening).close().ok();
  await samba.nothingLeft();
});

test('a sibling with a connection of before is refused what a resilient handle forbids', async () => {
  const name = newName();
  const sibling = await samba.connect('durable');
  const [held, pid] = await childOf(samba, () =>
    resilient('durable', name, { share: 0, oplock: Oplock.BATCH }),
  );
  await killChild(pid, held.client);
  assert.equal(await sibling.open(name).code(), 'SHARING_VIOLATION');
  const again = await resume(samba, held);
  assert.equal(again.open.oplock, Oplock.BATCH);
  await again.open.close().ok();
  await (await sibling.open(name).ok()).close().ok();
  await samba.nothingLeft();
});

test("another client that conflicts gets a durable handle's file, and the owner is told", async () => {
  const [held, pid] = await childOf(samba, () => hold(samba, 'durable'));
  const sibling = await samba.connect('durable');
  await killChild(pid, held.client);
  const open = await sibling.open(held.name).ok();
  const back = await samba.back(held.client, 'durable');
  assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  assert.equal(samba.handle(held.name).state, 'superseded');
  await open.close().ok();
  await samba.nothingLeft();
});

test.after(() => samba.down());
test.run();
