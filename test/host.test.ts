// SPDX-License-Identifier: GPL-3.0-or-later
/** The keeper is killed, the host is reset, and clients get their handles back. */
import { strict as assert } from 'node:assert';
import {
  appendFileSync,
  existsSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS, tryLock } from './lib/dev-samba.js';
import { bootHost, killHost } from './lib/host-reset.js';
import { lockNumbered, replayNumbered } from './lib/numbered-locks.js';
import {
  drop,
  type Held,
  hold,
  isKeptDescription,
  newName,
  optionsOf,
  resume,
} from './lib/scenario.js';
import { Access, LeaseState, newGuid, type OpenOptions, Oplock, Share } from './lib/smb2/index.js';

const samba = await DevSamba.up();
for (const [share, posixLocking] of [
  ['host', 'no'],
  ['host-posix', 'yes'],
] as const) {
  await samba.addShare(
    share,
    'vfs objects = persistent',
    `posix locking = ${posixLocking}`,
    'persistent:durability = host',
  );
}
const test = suite('host');
const RANGE = { offset: 0, length: 10 };
const SHARED = { offset: 20, length: 5 };
const EMPTY = { offset: 40, length: 0 };

async function resilient(
  share: string,
  options: OpenOptions = {},
  name = newName(),
): Promise<Held> {
  const client = await samba.connect(share);
  const open = await client.open(name, options).ok();
  await open.requestResiliency(60_000).ok();
  return { client, open, name, path: samba.sharePath(share, name) };
}

async function lockAll({ open }: Held): Promise<void> {
  await open.lock(RANGE).ok();
  await open.lock(SHARED, { shared: true }).ok();
  await open.lock(EMPTY).ok();
}

async function unlockAll({ open }: Held): Promise<void> {
  for (const range of [RANGE, SHARED, EMPTY]) {
    await open.unlock(range).ok();
    assert.equal(await open.unlock(range).code(), 'RANGE_NOT_LOCKED');
  }
}

const remade = (name: string) =>
  samba.until(`${name} made again`, () => {
    const handle = samba.handle(name);
    return handle.remade && handle.retained && handle;
  });

/** The keeper dies while clients are away, and another one comes. */
async function keeperDies(...held: Held[]): Promise<void> {
  for (const each of held) await drop(samba, each);
  await samba.verb('kill', 'keeper');
  await samba.verb('restart', 'keeper');
}

/** The host is reset while clients are away. */
async function resetAway(...held: Held[]): Promise<void> {
  for (const each of held) await drop(samba, each);
  await killHost(samba);
  await bootHost(samba);
}

/** The host is reset while clients are connected. */
async function resetConnected(...held: Held[]): Promise<void> {
  await killHost(samba);
  for (const { client } of held) await client.drop();
  await bootHost(samba);
}

const KEEPER_KILLED = 'the keeper was killed';
const HOST_SHARES = ['host', 'host-posix'];
/** What its smbd child has given up is made again, whatever the share wants. */
const EVERY_SHARE = [...HOST_SHARES, 'durable', 'posix'];
const durabilityOf = (share: string) => (HOST_SHARES.includes(share) ? 'host' : 'process');

const losses = {
  [KEEPER_KILLED]: keeperDies,
  'the host was reset while it was away': resetAway,
  'the host was reset while it was connected': resetConnected,
};

for (const [loss, lose] of Object.entries(losses)) {
  for (const share of loss === KEEPER_KILLED ? EVERY_SHARE : HOST_SHARES) {
    for (const [name, kind] of Object.entries(DURABLE_KINDS)) {
      test(`${share}: a ${name} handle is made again, with its locks, when ${loss}`, async () => {
        const held = await hold(samba, share, optionsOf(kind));
        assert.equal(samba.handle(held.name).durability, durabilityOf(share));
        await held.open.write(0, 'still here').ok();
        await lockAll(held);
        await lose(held);
        await remade(held.name);
        if (share.endsWith('posix')) assert.match(tryLock(held.path, 0, 10), /^busy/);
        const again = await resume(samba, held);
        assert.ok(isKeptDescription(samba, held.path));
        assert.equal(again.open.oplock, held.open.oplock);
        assert.equal(again.open.granted.lease?.state, held.open.granted.lease?.state);
        assert.equal(String(await again.open.read(0, 20).ok()), 'still here');
        await unlockAll(again);
        if (share.endsWith('posix')) assert.match(tryLock(held.path, 0, 10), /^locked/);
        await again.open.close().ok();
        await samba.nothingLeft();
      });
    }

    test(`${share}: a resilient handle is in force before its owner is back, when ${loss}`, async () => {
      const lease = { key: newGuid(), state: LeaseState.RWH };
      const held = await resilient(share, { share: Share.READ, lease });
      await lockAll(held);
      await lose(held);
      await remade(held.name);
      const other = await samba.connect(share);
      const writing = { access: Access.WRITE_DATA };
      assert.equal(await other.open(held.name, writing).code(), 'SHARING_VIOLATION');
      const reader = await other.open(held.name, { access: Access.READ_DATA }).ok();
      assert.equal(await reader.lock(RANGE, { shared: true }).code(), 'LOCK_NOT_GRANTED');
      await reader.close().ok();
      const again = await resume(samba, held);
      assert.ok(isKeptDescription(samba, held.path));
      await unlockAll(again);
      await again.open.close().ok();
      await samba.nothingLeft();
    });
  }

  test(`two handles of a client on one file come back when ${loss}`, async () => {
    const lease = { key: newGuid(), state: LeaseState.RWH };
    const wish = (): OpenOptions => ({ lease, durable: { version: 2, createGuid: newGuid() } });
    const held = await hold(samba, 'host', wish());
    const second = await held.client.open(held.name, wish()).ok();
    await held.open.lock(RANGE).ok();
    await second.lock({ offset: 30, length: 5 }).ok();
    await held.client.drop();
    await samba.until('both away', () => samba.away(held.name).length === 2);
    await lose();
    await samba.until('both made again', () => samba.away(held.name).every((h) => h.remade));
    const again = await resume(samba, held);
    const other = await again.client.reconnect(second).ok();
    assert.equal(await again.open.lock({ offset: 30, length: 5 }).code(), 'LOCK_NOT_GRANTED');
    await again.open.unlock(RANGE).ok();
    await other.unlock({ offset: 30, length: 5 }).ok();
    await other.close().ok();
    await again.open.close().ok();
    await samba.nothingLeft();
  });

  test(`a LOCK that was answered is not done again when ${loss}`, async () => {
    const held = await resilient('host');
    await lockNumbered(held.open, RANGE);
    await lose(held);
    await remade(held.name);
    const { open } = await resume(samba, held);
    await replayNumbered(open, RANGE);
    await open.close().ok();
    await samba.nothingLeft();
  });

  test(`a deleted or replaced file fails alone when ${loss}`, async () => {
    const [gone, replaced, stays] = [
      await hold(samba, 'host'),
      await hold(samba, 'host'),
      await hold(samba, 'host'),
    ];
    for (const held of [gone, replaced, stays]) await drop(samba, held);
    // what the handles hold is gone with the keeper only
    unlinkSync(gone.path);
    writeFileSync(`${replaced.path}.new`, 'another');
    renameSync(`${replaced.path}.new`, replaced.path);
    await lose();
    await remade(stays.name);
    for (const { name } of [gone, replaced]) {
      const { state, reason } = await samba.until('its end', () => {
        const handle = samba.handle(name);
        return handle.state !== 'disconnected' && handle;
      });
      assert.deepEqual([state, reason], ['failed', 'file-gone']);
    }
    assert.equal(readFileSync(replaced.path, 'utf8'), 'another');
    assert.equal(existsSync(gone.path), false);
    const back = await samba.back(replaced.client, 'host');
    assert.equal(await back.reconnect(replaced.open).code(), 'OBJECT_NAME_NOT_FOUND');
    const again = await resume(samba, stays);
    await again.open.close().ok();
    await samba.nothingLeft();
  });
}

test('durability process: one that was away is made again when every process was killed', async () => {
  const held = await hold(samba, 'durable');
  assert.equal(samba.handle(held.name).durability, 'process');
  await held.open.lock(RANGE).ok();
  await resetAway(held);
  await remade(held.name);
  const again = await resume(samba, held);
  await again.open.unlock(RANGE).ok();
  await again.open.close().ok();
  await samba.nothingLeft();
});

test('durability process: one that was connected is lost when its smbd child and the keeper die', async () => {
  const held = await hold(samba, 'durable');
  await resetConnected(held);
  const ended = await samba.until(
    'its end',
    () => {
      const handle = samba.handle(held.name);
      return handle.state === 'failed' && handle;
    },
    20_000,
  );
  assert.deepEqual([ended.reason, ended.remade], ['smbd-died', false]);
  await samba.nothingLeft();
});

for (const [loss, lose] of [
  ['the keeper was killed', keeperDies],
  ['the host was reset', resetAway],
] as const) {
  test(`a file that was renamed while away is made again when ${loss}`, async () => {
    const held = await resilient('host', { oplock: Oplock.BATCH });
    await drop(samba, held);
    renameSync(held.path, `${held.path}.new`);
    await lose();
    await remade(held.name);
    const again = await resume(samba, held);
    assert.ok(isKeptDescription(samba, `${held.path}.new`));
    await again.open.write(0, 'under its new name').ok();
    await again.open.close().ok();
    assert.equal(readFileSync(`${held.path}.new`, 'utf8'), 'under its new name');
    await samba.nothingLeft();
  });
}

test('the deadline counts on through the outage', async () => {
  const held = await hold(samba, 'host', optionsOf(DURABLE_KINDS['v2, lease v2']));
  await drop(samba, held);
  const { disconnected_at: before, expires_at: expiry } = samba.handle(held.name);
  await killHost(samba);
  await bootHost(samba);
  const after = await remade(held.name);
  assert.equal(after.disconnected_at, before);
  const shift = Math.abs(Date.parse(after.expires_at ?? '') - Date.parse(expiry ?? ''));
  assert.ok(shift < 50, `the deadline moved by ${shift} ms`);
  await samba.nothingLeft();
});

test('a sibling with a connection of before is refused as soon as there is another keeper', async () => {
  const sibling = await samba.connect('host');
  const held = await resilient('host', { share: 0 });
  await keeperDies(held);
  assert.equal(await sibling.open(held.name).code(), 'SHARING_VIOLATION');
  const again = await resume(samba, held);
  await again.open.close().ok();
  await (await sibling.open(held.name).ok()).close().ok();
  await samba.nothingLeft();
});

test('a local write while there is no keeper is seen, as at any other time', async () => {
  const held = await hold(samba, 'host');
  const kept = await resilient('host');
  for (const each of [held, kept]) await drop(samba, each);
  await samba.verb('kill', 'keeper');
  for (const { path } of [held, kept]) appendFileSync(path, 'changed');
  await samba.verb('restart', 'keeper');
  const { reason } = await samba.until('its end', () => {
    const handle = samba.handle(held.name);
    return handle.state === 'superseded' && handle;
  });
  assert.equal(reason, 'modified');
  const again = await resume(samba, kept);
  await again.open.close().ok();
  await samba.nothingLeft();
});

test('a handle in use is deposited with the next keeper, and is no other description', async () => {
  const held = await hold(samba, 'host');
  await samba.verb('kill', 'keeper');
  await samba.verb('restart', 'keeper');
  await samba.until('its deposit', () => samba.handle(held.name).retained);
  await drop(samba, held);
  const again = await resume(samba, held);
  const { remade: isRemade, durability } = samba.handle(held.name);
  assert.deepEqual([isRemade, durability], [false, 'host']);
  await again.open.close().ok();
  await samba.nothingLeft();
});

test('a handle is made again as often as keepers die', async () => {
  const held = await resilient('host', { share: 0 });
  await drop(samba, held);
  for (let round = 0; round < 3; round++) {
    await samba.verb('kill', 'keeper');
    await samba.verb('restart', 'keeper');
    await samba.until('it', () => samba.handle(held.name).retained && samba.kept() === 1);
  }
  const other = await samba.connect('host');
  assert.equal(await other.open(held.name).code(), 'SHARING_VIOLATION');
  const again = await resume(samba, held);
  await again.open.close().ok();
  await samba.nothingLeft();
});

test('a tree connect waits for keeper and persistd, if smbd is there before them', async () => {
  const held = await resilient('host', { share: 0 });
  await drop(samba, held);
  await killHost(samba);
  await samba.verb('restart', 'smbd');
  const coming = samba.connect('host');
  await bootHost(samba, ['persistd', 'keeper']);
  const other = await coming;
  assert.equal(await other.open(held.name).code(), 'SHARING_VIOLATION');
  const again = await resume(samba, held);
  await again.open.close().ok();
  await samba.nothingLeft();
});

test.after(() => samba.down());
test.run();
