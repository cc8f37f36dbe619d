// SPDX-License-Identifier: GPL-3.0-or-later
import { statSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fdtool, newCookie } from './lib/keeper-parts.js';
import {
  CONTROL_DROP,
  GONE,
  HELD,
  indexed,
  keeperTest,
  list,
  makeFile,
  ORPHANED,
  PARKED,
  waitForUsed,
} from './lib/keeper-suite.js';

const { EEXIST, ENOENT, EPERM } = constants.errno;
const O_ACCMODE = 3;
const O_PATH = 0o10000000;

keeperTest('a killed depositor loses neither offset nor lock nor data', async (keeper) => {
  const control = await keeper.control();
  const first = await keeper.client();
  const file = makeFile(keeper, 'unlinked data');
  const cookie = newCookie();
  assert.equal(await first.run('deposit', cookie, file.path, 'rw', 1, 'record'), { status: 0 });
  await first.run('seek', cookie, 1234);
  assert.equal(await first.run('lock', cookie, 10, 5), { status: 0 });
  const name = `/proc/${keeper.pid}/fd/${fdtool('find-fd', keeper.pid, file.dev, file.ino)}`;
  assert.match(
    fdtool('same-description', keeper.pid, first.pid, file.dev, file.ino),
    /^same \d+ \d+$/,
  );
  unlinkSync(file.path);
  await control.entry(cookie, HELD);
  await first.end();

  const orphaned = await control.entry(cookie, ORPHANED);
  assert.is(orphaned.ownerPid, first.pid);
  assert.is(orphaned.record, 'record');
  assert.is(orphaned.nlink, 0n);
  assert.is(fdtool('ofd-lock', name, 10, 5), 'busy');
  assert.is(fdtool('ofd-lock', name, 15, 5), 'locked');

  const second = await keeper.client();
  const taken = await second.run('take', cookie);
  assert.is(taken.status, 0);
  assert.is(taken.offset, 1234);
  assert.is(taken.nlink, 0);
  assert.is(Number(taken.flags) & O_ACCMODE, 2);
  assert.is(Buffer.from(String(taken.contentHex), 'hex').toString(), 'unlinked data');
  assert.match(fdtool('same-description', keeper.pid, second.pid, file.dev, file.ino), /^same/);

  await second.run('adopt', cookie, 'adopted');
  const adopted = await control.entry(cookie, HELD);
  assert.is(adopted.ownerPid, second.pid);
  assert.is(adopted.record, 'adopted');
  assert.equal(await second.run('dropsync', cookie), { status: 0 });
  await control.packets.take((one) => one.type === GONE && one.cookie === cookie);
  assert.equal(await second.run('take', cookie), { status: -ENOENT });
  await control.close();
});

keeperTest('a held descriptor can be taken, also read-only and O_PATH', async (keeper) => {
  const client = await keeper.client();
  for (const how of ['rw', 'r', 'path']) {
    const file = makeFile(keeper);
    const cookie = newCookie();
    assert.equal(await client.run('deposit', cookie, file.path, how), { status: 0 }, how);
    const taken = await client.run('take', cookie);
    assert.is(taken.same, true, how);
    assert.is((Number(taken.flags) & O_PATH) !== 0, how === 'path', how);
  }
});

keeperTest('the index and QUERY show parked and orphaned files only', async (keeper) => {
  const control = await keeper.control();
  const client = await keeper.client();
  const file = makeFile(keeper);
  const [parked, orphaned] = [newCookie(), newCookie()];
  assert.is(statSync(keeper.path('keeper.index')).size, (2 * 2 ** 18 + 3) * 4);
  await client.run('deposit', parked, file.path, 'rw');
  await client.run('deposit', orphaned, file.path, 'rw');
  assert.equal(indexed(keeper, file), [0, 0]);
  assert.equal(await client.run('query', file.dev, file.ino), { status: 0, cookies: [] });

  assert.equal(await client.run('park', parked), { status: 0 });
  assert.equal(indexed(keeper, file), [1, 1]);
  assert.equal(await client.run('query', file.dev, file.ino), { status: 0, cookies: [parked] });
  await control.entry(parked, PARKED);

  await client.end();
  await control.entry(orphaned, ORPHANED);
  assert.equal(indexed(keeper, file), [2, 2]);
  const other = await keeper.client();
  const found = await other.run('query', file.dev, file.ino);
  assert.equal(found, { status: 0, cookies: [parked, orphaned] });
  await other.run('adopt', parked);
  assert.equal(await other.run('dropsync', orphaned), { status: 0 });
  assert.equal(indexed(keeper, file), [0, 0]);
  await control.close();
});

keeperTest('only the owner parks and drops what is held', async (keeper) => {
  const control = await keeper.control();
  const owner = await keeper.client();
  const other = await keeper.client();
  const file = makeFile(keeper);
  const cookie = newCookie();
  await owner.run('deposit', cookie, file.path, 'rw');
  assert.equal(await other.run('park', cookie), { status: -EPERM });
  assert.equal(await other.run('dropsync', cookie), { status: -EPERM });
  assert.equal(await other.run('deposit', cookie, file.path, 'rw'), { status: -EEXIST });
  assert.is((await control.info()).protocolErrors, 0);
  await other.run('drop', cookie);
  await other.run('adopt', cookie);
  assert.equal(await other.run('park', newCookie()), { status: -ENOENT });
  assert.is((await control.info()).protocolErrors, 2);
  assert.equal(await owner.run('park', cookie), { status: 0 });
  assert.equal(await owner.run('park', cookie), { status: 0 });
  assert.equal(await other.run('deposit', cookie, file.path, 'rw'), { status: -EEXIST });
  await other.run('drop', cookie);
  assert.equal(await other.run('take', cookie), { status: -ENOENT });
  await control.close();
});

keeperTest('LOOK parks, and tells what an import has to know', async (keeper) => {
  const control = await keeper.control();
  const owner = await keeper.client();
  const other = await keeper.client();
  const file = makeFile(keeper);
  const cookie = newCookie();
  await owner.run('deposit', cookie, file.path, 'rw');
  await owner.run('note', cookie, 'sequence');
  assert.equal(await other.run('look', cookie), { status: -EPERM });
  assert.equal(await other.run('look', newCookie()), { status: -ENOENT });
  await owner.end();
  await control.entry(cookie, ORPHANED);
  const seen = { status: 0, surrogate: 0, ino: Number(file.ino), note: 'sequence' };
  assert.equal(await other.run('look', cookie), seen);
  await control.entry(cookie, PARKED);
  const { surrogate } = await other.run('look', cookie, '1');
  assert.ok(Number(surrogate) > 0);
  assert.equal(await other.run('look', cookie), { ...seen, surrogate });
  await other.run('drop', cookie);
  await control.close();
});

keeperTest('a deposit made again replaces the descriptor and the record', async (keeper) => {
  const control = await keeper.control();
  const first = await keeper.client();
  const [old, fresh] = [makeFile(keeper), makeFile(keeper)];
  const cookie = newCookie();
  await first.run('deposit', cookie, old.path, 'rw', 1, 'one');
  assert.equal(await first.run('deposit', cookie, fresh.path, 'rw', 1, 'two'), { status: 0 });
  assert.is((await control.entry(cookie, HELD)).record, 'two');
  await first.end();
  await control.entry(cookie, ORPHANED);
  assert.equal(indexed(keeper, fresh), [1, 1]);
  const second = await keeper.client();
  assert.equal(await second.run('deposit', cookie, old.path, 'rw', 1, 'three'), { status: 0 });
  const entry = await control.entry(cookie, HELD);
  assert.is(entry.record, 'three');
  assert.is(entry.ino, old.ino);
  assert.equal(indexed(keeper, fresh), [0, 0]);
  assert.is((await control.info()).used, 1);
  await control.close();
});

keeperTest('what a child sent before it was killed is served', async (keeper) => {
  const control = await keeper.control();
  const client = await keeper.client();
  const file = makeFile(keeper);
  const cookies = Array.from({ length: 200 }, newCookie);
  await client.run('ask', file.dev, file.ino);
  for (const cookie of cookies) {
    await client.run('post', cookie, file.path, 'rw');
  }
  await client.end();
  await waitForUsed(control, 200);
  const entries = await list(control);
  assert.ok([...entries.values()].every((entry) => entry.state === ORPHANED));
  await control.close();
});

keeperTest('a child that does not read its replies loses none, delays nobody', async (keeper) => {
  const client = await keeper.client();
  // More replies than its socket buffer holds; its requests wait in turn.
  const count = 450;
  for (let i = 0; i < count; i += 1) {
    await client.run('ask', 1, i);
  }
  const bystander = await keeper.client();
  assert.equal(await bystander.run('query', 1, 1), { status: 0, cookies: [] });
  for (let seq = 1; seq <= count; seq += 1) {
    assert.equal(await client.run('receive'), { type: 0x8006, seq, status: 0 });
  }
});

keeperTest('no descriptor leaks over thousands of deposits', async (keeper) => {
  const control = await keeper.control();
  const client = await keeper.client();
  const file = makeFile(keeper);
  await client.run('query', 1, 1);
  await control.info();
  const before = keeper.descriptorCount();
  for (let round = 0; round < 300; round += 1) {
    const [parked, held] = [newCookie(), newCookie()];
    await client.run('deposit', parked, file.path, 'rw');
    await client.run('post', held, file.path, 'rw');
    await client.run('park', parked);
    await client.run('take', parked);
    await client.run('adopt', parked);
    await client.run('dropsync', parked);
    await client.run('drop', held);
  }
  const doomed = await keeper.client();
  const cookies = Array.from({ length: 50 }, newCookie);
  for (const cookie of cookies) {
    await doomed.run('deposit', cookie, file.path, 'rw');
  }
  await doomed.end();
  for (const cookie of cookies) {
    await control.entry(cookie, ORPHANED);
    control.send(CONTROL_DROP, cookie);
  }
  await waitForUsed(control, 0);
  assert.is(keeper.descriptorCount(), before);
  await control.close();
});

test.run();
