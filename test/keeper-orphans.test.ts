// SPDX-License-Identifier: GPL-3.0-or-later
// What the keeper has of an smbd child that died, and how others take care of it.
import { constants } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { newCookie } from './lib/keeper-parts.js';
import { HELD, indexSlots, keeperTest, makeFile, ORPHANED, PARKED } from './lib/keeper-suite.js';

const { EPERM } = constants.errno;
const PROTECT = 1;
const DIED = 0x8009;
const SLOTS = 2 ** 18;
const AWAY = 2 * SLOTS;
const ALL_ORPHANED = 2 * SLOTS + 1;

keeperTest('the others are told, and one of them parks what is left', async (keeper) => {
  const control = await keeper.control();
  const [dying, living] = [await keeper.client(), await keeper.client()];
  const file = makeFile(keeper);
  const cookie = newCookie();
  await dying.run('deposit', cookie, file.path, 'rw', 1, 'record');
  assert.is((await control.entry(cookie, HELD)).state, HELD);
  assert.equal(await living.run('park', cookie), { status: -EPERM });
  assert.is(keeper.indexSlot(ALL_ORPHANED), 0);

  await dying.end();
  assert.is((await living.run('receive')).type, DIED);
  assert.is((await control.entry(cookie, ORPHANED)).state, ORPHANED);
  assert.equal([keeper.indexSlot(AWAY), keeper.indexSlot(ALL_ORPHANED)], [1, 1]);

  assert.equal(await living.run('park', cookie), { status: 0 });
  assert.is((await control.entry(cookie, PARKED)).record, 'record');
  assert.equal([keeper.indexSlot(AWAY), keeper.indexSlot(ALL_ORPHANED)], [1, 0]);
  assert.is((await living.run('take', cookie)).status, 0);
});

keeperTest('a protected one keeps its surrogate', async (keeper) => {
  const [dying, living] = [await keeper.client(), await keeper.client()];
  const cookie = newCookie();
  await dying.run('deposit', cookie, makeFile(keeper).path, 'rw');
  await dying.end();
  await living.run('receive');
  const { status, surrogate } = await living.run('park', cookie, PROTECT);
  assert.is(status, 0);
  assert.equal(await living.run('park', cookie, PROTECT), { status: 0, surrogate });
});

keeperTest('a child that dies without a descriptor is no news', async (keeper) => {
  const [dying, living] = [await keeper.client(), await keeper.client()];
  const file = makeFile(keeper);
  await dying.end();
  assert.equal(await living.run('query', file.dev, file.ino), { status: 0, cookies: [] });
});

keeperTest('a note outlives its child; others cannot write it', async (keeper) => {
  const [dying, living] = [await keeper.client(), await keeper.client()];
  const cookie = newCookie();
  await dying.run('deposit', cookie, makeFile(keeper).path, 'rw');
  await dying.run('note', cookie, 'first');
  await dying.run('note', cookie, 'second');
  await living.run('note', cookie, 'foreign');
  assert.is((await dying.run('take', cookie)).note, 'second');
  await dying.end();
  assert.is((await living.run('take', cookie)).note, 'second');
});

keeperTest('the index counts held descriptors by file, too', async (keeper) => {
  const client = await keeper.client();
  const file = makeFile(keeper);
  const [slot] = indexSlots(file.dev, file.ino);
  const cookie = newCookie();
  await client.run('deposit', cookie, file.path, 'rw');
  assert.equal([keeper.indexSlot(slot), keeper.indexSlot(SLOTS + slot)], [0, 1]);
  await client.run('park', cookie);
  assert.equal([keeper.indexSlot(slot), keeper.indexSlot(SLOTS + slot)], [1, 1]);
  await client.run('dropsync', cookie);
  assert.equal([keeper.indexSlot(slot), keeper.indexSlot(SLOTS + slot)], [0, 0]);
});

test.run();
