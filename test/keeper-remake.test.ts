// SPDX-License-Identifier: GPL-3.0-or-later
/** fdkeeper opens files again by their file handles, and takes their locks. */
import { renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Handle } from '../daemon/src/core/handle.js';
import { KeeperClient } from '../daemon/src/keeper/client.js';
import type { Lock } from '../daemon/src/wire/records.js';
import { handle } from './fixtures/handle.js';
import { packetBytes } from './lib/keeper-control.js';
import { fdtool, type Keeper, newCookie } from './lib/keeper-parts.js';
import { keeperTest, makeFile, ORPHANED } from './lib/keeper-suite.js';

const { ESTALE, EEXIST, ENODEV, EMFILE, EAGAIN } = constants.errno;
const NOTHING = () => undefined;

/** persistd's own side of control.sock. */
async function persistd(keeper: Keeper): Promise<KeeperClient> {
  let listed: () => void = NOTHING;
  const ready = new Promise<void>((resolve) => {
    listed = resolve;
  });
  const client = new KeeperClient(keeper.path('control.sock'), {
    listStarted: NOTHING,
    entry: NOTHING,
    listEnd: listed,
    gone: NOTHING,
    touched: NOTHING,
    mounted: NOTHING,
    lost: NOTHING,
    refused: NOTHING,
    bad: (why) => assert.unreachable(why),
  });
  client.start();
  await ready;
  return client;
}

/** A handle of a file that the keeper had, and has no more. */
async function lost(
  keeper: Keeper,
  path: string,
  { mode = 'rw', locks = [] as Lock[] } = {},
): Promise<{ client: KeeperClient; lost: Handle }> {
  const id = newCookie();
  const smbd = await keeper.client();
  const client = await persistd(keeper);
  await smbd.run('deposit', id, path, mode);
  const reopening = await client.describe(id);
  assert.ok(reopening !== null);
  assert.is(await client.drop(id), 0);
  // its copy, too
  await smbd.end();
  const { ino } = statSync(path, { bigint: true });
  const base = handle(id);
  const record = { ...base.record, path, ino, posixLocking: locks.length > 0 };
  return { client, lost: { ...base, record, locks, reopening, note: '6e6f7465' } };
}

keeperTest('a file is opened again, with its record and note, and is orphaned', async (keeper) => {
  const { path, dev, ino } = makeFile(keeper, 'some bytes');
  const { client, lost: one } = await lost(keeper, path);
  const result = await client.remake(one);
  assert.ok(result?.made);
  if (!result?.made) return;
  assert.equal([result.stat.dev, result.stat.ino, result.stat.sizeBytes], [dev, ino, 10n]);
  const smbd = await keeper.client();
  const taken = await smbd.run('take', one.id);
  assert.equal([taken.status, taken.note], [0, 'note']);
  assert.equal(await client.remake(one), { made: false, status: -EEXIST });
  client.stop();
  const control = await keeper.control();
  const seq = control.send(32);
  await control.packets.take((packet) => packet.type === 66 && packet.seq === seq);
  const entry = await control.entry(one.id, ORPHANED);
  assert.is(entry.ino, ino);
  await control.close();
});

keeperTest('it is found under its new name, also where another has the old one', async (keeper) => {
  const { path } = makeFile(keeper, 'mine');
  const { client, lost: one } = await lost(keeper, path);
  renameSync(path, `${path}.moved`);
  writeFileSync(path, 'not mine');
  const result = await client.remake(one);
  assert.ok(result?.made && result.stat.sizeBytes === 4n);
  client.stop();
});

keeperTest('a deleted file is gone, and so is one whose inode another one has', async (keeper) => {
  const { path } = makeFile(keeper);
  const { client, lost: one } = await lost(keeper, path);
  rmSync(path);
  writeFileSync(path, 'another');
  assert.equal(await client.remake(one), { made: false, status: -ESTALE });
  const { ino } = statSync(path, { bigint: true });
  const reused = { ...one, record: { ...one.record, ino } };
  assert.equal(await client.remake(reused), { made: false, status: -ESTALE });
  client.stop();
});

keeperTest('a file system that is not mounted is told apart', async (keeper) => {
  const { client, lost: one } = await lost(keeper, makeFile(keeper).path);
  const { reopening } = one;
  assert.ok(reopening !== null);
  if (reopening === null) return;
  for (const fileSystem of [
    reopening.fileSystem.replace(/^\S+/, 'uuid:00000000-0000-0000-0000-000000000001'),
    reopening.fileSystem.replace(/^\S+/, 'fsid:0000000000000001'),
    reopening.fileSystem.replace(/ \S+ /, ' nosuchtype '),
    'nonsense',
    '',
  ]) {
    const elsewhere = { ...one, reopening: { ...reopening, fileSystem } };
    assert.equal(await client.remake(elsewhere), { made: false, status: -ENODEV }, fileSystem);
  }
  client.stop();
});

keeperTest('one that was deposited a moment ago is described, whoever naps', async (keeper) => {
  const client = await persistd(keeper);
  const smbd = await keeper.client();
  const { path } = makeFile(keeper);
  for (let round = 0; round < 200; round++) {
    const id = newCookie();
    await smbd.run('post', id, path, 'rw');
    assert.ok((await client.describe(id)) !== null, `round ${round}`);
  }
  assert.is(await client.describe(newCookie()), null);
  client.stop();
});

keeperTest('its locks are taken again, unless somebody else has them', async (keeper) => {
  const { path } = makeFile(keeper);
  const locks = [
    { start: 0n, count: 10n, exclusive: true },
    { start: 20n, count: 5n, exclusive: false },
    { start: 30n, count: 0n, exclusive: true },
    { start: 2n ** 63n + 5n, count: 1n, exclusive: true },
    { start: 1000n, count: 2n ** 64n - 1001n, exclusive: true },
  ];
  const { client, lost: one } = await lost(keeper, path, { locks });
  assert.ok((await client.remake(one))?.made);
  assert.match(fdtool('ofd-lock', path, 0, 10, 'w'), /^busy/);
  assert.match(fdtool('ofd-lock', path, 20, 5, 'w'), /^busy/);
  assert.match(fdtool('ofd-lock', path, 20, 5, 'r'), /^locked/);
  assert.match(fdtool('ofd-lock', path, 30, 10, 'w'), /^locked/);
  assert.match(fdtool('ofd-lock', path, 5000, 1, 'w'), /^busy/);
  const second = { ...one, id: newCookie() };
  assert.equal(await client.remake(second), { made: false, status: -EAGAIN });
  client.stop();
});

keeperTest('many locks travel in several packets', async (keeper) => {
  const { path } = makeFile(keeper);
  const locks = Array.from({ length: 2_000 }, (_, index) => ({
    start: BigInt(index) * 2n,
    count: 1n,
    exclusive: true,
  }));
  const { client, lost: one } = await lost(keeper, path, { locks });
  assert.ok((await client.remake(one))?.made);
  assert.match(fdtool('ofd-lock', path, 3_998, 1, 'w'), /^busy/);
  assert.match(fdtool('ofd-lock', path, 3_999, 1, 'w'), /^locked/);
  client.stop();
});

keeperTest(
  'a full table refuses',
  async (keeper) => {
    const { client, lost: one } = await lost(keeper, makeFile(keeper).path);
    const smbd = await keeper.client();
    await smbd.run('deposit', newCookie(), makeFile(keeper).path, 'r');
    await smbd.run('query', 1, 1);
    assert.equal(await client.remake(one), { made: false, status: -EMFILE });
    client.stop();
  },
  ['--max-descriptors', '1'],
);

keeperTest(
  'a descriptor that only names its file, or only reads it, is made as such',
  async (keeper) => {
    for (const mode of ['path', 'r']) {
      const { path } = makeFile(keeper);
      const { client, lost: one } = await lost(keeper, path, { mode });
      const before = one.reopening?.openFlags;
      assert.ok((await client.remake(one))?.made, mode);
      assert.is((await client.describe(one.id))?.openFlags, before, mode);
      client.stop();
    }
  },
);

keeperTest('a REMAKE or LOCK of the wrong size ends the connection', async (keeper) => {
  const short = Buffer.alloc(27);
  const lying = Buffer.alloc(40);
  lying.writeUInt16LE(500, 16);
  for (const [type, payload] of [
    [41, short],
    [41, lying],
    [42, Buffer.alloc(25)],
    [40, Buffer.alloc(1)],
    [43, Buffer.alloc(1)],
  ] as const) {
    const control = await keeper.control();
    control.socket.write(packetBytes(type, 1, newCookie(), payload));
    await control.closed;
  }
  const control = await keeper.control();
  assert.is((await control.info()).protocolErrors, 5);
  await control.close();
});

test.run();
