// SPDX-License-Identifier: GPL-3.0-or-later
/** When a handle ends, nothing of it is left that another opener could feel. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { HandleView } from '../daemon/src/shared/handle-view.js';
import { DevSamba, DURABLE_KINDS, tryLock } from './lib/dev-samba.js';
import {
  acknowledgeBreaks,
  drop,
  type Held,
  hold,
  newName,
  optionsOf,
  resume,
  USUAL,
} from './lib/scenario.js';
import { CreateOption, LeaseState, Share } from './lib/smb2/index.js';

const samba = await DevSamba.up();
const test = suite('close');

/** No descriptor, and the table has it as ended. */
async function gone(name: string, state: HandleView['state'] = 'closed'): Promise<void> {
  await samba.until(`the end of ${name}`, () => samba.handle(name).state === state);
  await samba.until('an empty keeper', () => samba.kept() === 0);
}

/** One that the keeper has: a deposit is taken a moment after the CREATE is answered. */
async function kept(share: string, options = optionsOf(USUAL)): Promise<Held> {
  const held = await hold(samba, share, options);
  await held.open.lock({ offset: 0, length: 10 }).ok();
  await samba.until('the deposit', () => samba.kept() === 1);
  return held;
}

for (const share of ['durable', 'posix']) {
  for (const [label, kind] of Object.entries(DURABLE_KINDS)) {
    test(`${share}: ${label}: CLOSE ends it`, async () => {
      const held = await kept(share, optionsOf(kind));
      await held.open.close().ok();
      assert.equal(tryLock(held.path, 0, 10), 'locked');
      await gone(held.name);
      const back = await samba.connect(share, { clientGuid: held.client.clientGuid });
      assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
      await back.drop();
      await held.client.drop();
    });
  }

  test(`${share}: CLOSE of a resumed one ends it`, async () => {
    let held = await kept(share);
    await drop(samba, held);
    held = await resume(samba, held);
    await held.open.close().ok();
    assert.equal(tryLock(held.path, 0, 10), 'locked');
    await gone(held.name);
  });

  test(`${share}: TREE_DISCONNECT ends it`, async () => {
    const held = await kept(share);
    await held.client.tree.disconnect().ok();
    assert.equal(tryLock(held.path, 0, 10), 'locked');
    await gone(held.name);
    const back = await samba.back(held.client, share);
    assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  });

  test(`${share}: smbcontrol close-share ends it`, async () => {
    const held = await kept(share);
    const { server_id } = samba.handle(held.name);
    samba.smbcontrol(server_id.pid, 'close-share', share);
    await gone(held.name);
    assert.equal(tryLock(held.path, 0, 10), 'locked');
    const back = await samba.back(held.client, share);
    assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  });

  test(`${share}: LOGOFF and a new session in its place keep it`, async () => {
    let held = await kept(share);
    await held.client.logoff();
    await samba.disconnected(held.name);
    assert.equal(samba.kept(), 1);
    held = await resume(samba, held);
    held = await resume(samba, held); // PreviousSessionId ends the live session
    await held.open.close().ok();
    await gone(held.name);
  });

  test(`${share}: DELETE_ON_CLOSE: a drop is its last close, as on stock`, async () => {
    const options = CreateOption.NON_DIRECTORY_FILE | CreateOption.DELETE_ON_CLOSE;
    const held = await kept(share, { ...optionsOf(USUAL), options });
    await samba.until('the grant', () =>
      samba.handles('--all').some((h) => h.filename === held.name),
    );
    await held.client.drop();
    await gone(held.name);
    const back = await samba.back(held.client, share);
    assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  });

  test(`${share}: persistctl close ends a disconnected one`, async () => {
    const held = await kept(share);
    await drop(samba, held);
    if (share === 'posix') assert.equal(tryLock(held.path, 0, 10), 'busy');
    assert.equal(samba.ctl('close', samba.handle(held.name).id).status, 0);
    await gone(held.name);
    assert.equal(tryLock(held.path, 0, 10), 'locked');
    await free(share, held.name);
    const back = await samba.back(held.client, share);
    assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  });

  test(`${share}: persistctl expire ends a disconnected one`, async () => {
    const held = await kept(share);
    await drop(samba, held);
    assert.equal(samba.ctl('expire', samba.handle(held.name).id).status, 0);
    await gone(held.name, 'expired');
    assert.equal(tryLock(held.path, 0, 10), 'locked');
    await free(share, held.name);
  });

  test(`${share}: what persistctl ended is not opened again by name`, async () => {
    for (const verb of ['close', 'expire']) {
      const held = await kept(share);
      await drop(samba, held);
      assert.equal(samba.ctl(verb, samba.handle(held.name).id).status, 0);
      const back = await samba.back(held.client, share);
      assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
      await free(share, held.name);
    }
  });
}

/** The next client may have it for itself and lock it. */
async function free(share: string, name: string): Promise<void> {
  const client = await samba.connect(share);
  const open = await client.open(name, { share: Share.NONE }).ok();
  await open.lock({ offset: 0, length: 10 }).ok();
  await open.close().ok();
  await client.drop();
}

test('persistctl close refuses one that is in use', async () => {
  const held = await kept('durable');
  assert.equal(samba.ctl('close', samba.handle(held.name).id).status, 5);
  await held.open.write(0, 'works on').ok();
  await held.open.close().ok();
  await gone(held.name);
});

test('persistctl extend moves the deadline', async () => {
  let held = await hold(samba, 'durable', optionsOf(USUAL, { timeoutMs: 8_000 }));
  await drop(samba, held);
  const before = samba.handle(held.name);
  assert.equal(samba.ctl('extend', before.id, '--by', '60s').status, 0);
  const after = samba.handle(held.name);
  const movedMs = Date.parse(after.expires_at ?? '') - Date.parse(before.expires_at ?? '');
  assert.ok(Math.abs(movedMs - 60_000) <= 1, `${movedMs} ms, both rounded`);
  await samba.until(
    'the old deadline',
    () => Date.now() > Date.parse(before.expires_at ?? '') + 1000,
    20_000,
  );
  held = await resume(samba, held);
  await held.open.close().ok();
  await gone(held.name);
});

test('posix: the very next request after a CLOSE has the lock', async () => {
  const name = newName();
  const rh = () => optionsOf(USUAL, { state: LeaseState.RH });
  const a = await samba.connect('posix');
  const b = await samba.connect('posix');
  acknowledgeBreaks(a);
  acknowledgeBreaks(b);
  const waiting = await b.open(name).ok();
  for (let i = 0; i < 200; i++) {
    const open = await a.open(name, rh()).ok();
    await open.lock({ offset: 0, length: 10 }).ok();
    if (i % 10 === 0) {
      assert.equal(await waiting.lock({ offset: 0, length: 10 }).code(), 'LOCK_NOT_GRANTED');
    }
    await open.close().ok();
    assert.equal(await waiting.lock({ offset: 0, length: 10 }).code(), 'SUCCESS', `round ${i}`);
    await waiting.unlock({ offset: 0, length: 10 }).ok();
  }
  await waiting.close().ok();
  await samba.until('an empty keeper', () => samba.kept() === 0);
});

test('posix: the very next request after the CLOSE of a resumed one has the lock', async () => {
  const b = await samba.connect('posix');
  for (let i = 0; i < 5; i++) {
    let held = await kept('posix', optionsOf(USUAL, { state: LeaseState.RH }));
    await drop(samba, held);
    held = await resume(samba, held);
    const waiting = await b.open(held.name).ok();
    assert.equal(await waiting.lock({ offset: 0, length: 10 }).code(), 'LOCK_NOT_GRANTED');
    await held.open.close().ok();
    assert.equal(await waiting.lock({ offset: 0, length: 10 }).code(), 'SUCCESS', `round ${i}`);
    await waiting.close().ok();
    await samba.until('an empty keeper', () => samba.kept() === 0);
  }
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
