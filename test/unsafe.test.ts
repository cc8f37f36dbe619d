// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * After a crash smbd's records do not say which files are promised to clients that
 * are away, and persistd, which knows, is away, too (docs/recovery.md).
 */
import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { childOf, type Held, hold, newName, resume } from './lib/scenario.js';
import { Dialect, Oplock, type Smb2Client } from './lib/smb2/index.js';

const samba = await DevSamba.up();
await samba.addShare('refusing', 'vfs objects = persistent', 'persistent:unsafe = refuse');
const test = suite('unsafe');

/** With the smbd child that serves it. */
async function resilient(share: string): Promise<[Held, number]> {
  const name = newName();
  return childOf(samba, async () => {
    const client = await samba.connect(share);
    const open = await client.open(name, { share: 0, oplock: Oplock.BATCH }).ok();
    await open.requestResiliency(60_000).ok();
    return { client, open, name, path: samba.sharePath(share, name) };
  });
}

async function killChild(pid: number, client: Smb2Client): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await client.drop();
  await samba.until('its end', () => !existsSync(`/proc/${pid}`));
}

const opens = () => samba.stats().unsafe_opens as { allowed: number; refused: number };

async function isThere(sibling: Smb2Client, held: Held): Promise<void> {
  let code = await sibling.open(held.name).code();
  // its smbd child has to find persistd first, and each open looks for 200 ms
  for (let i = 0; i < 50 && code === 'FILE_NOT_AVAILABLE'; i += 1) {
    code = await sibling.open(held.name).code();
  }
  assert.equal(code, 'SHARING_VIOLATION');
  const again = await resume(samba, held);
  assert.equal(again.open.oplock, Oplock.BATCH);
  await again.open.close().ok();
  await (await sibling.open(held.name).ok()).close().ok();
}

test('an open of a promised file waits for persistd', async () => {
  const [held, pid] = await resilient('durable');
  const sibling = await samba.connect('durable');
  await samba.verb('kill', 'persistd');
  await killChild(pid, held.client);
  const opening = sibling.open(held.name);
  await samba.verb('restart', 'persistd');
  assert.equal(await opening.code(), 'SHARING_VIOLATION');
  await isThere(sibling, held);
  assert.deepEqual(opens(), { allowed: 0, refused: 0 });
});

test('allow: when it has waited in vain it gets the file, which is said aloud', async () => {
  const [held, pid] = await resilient('durable');
  const sibling = await samba.connect('durable');
  await samba.verb('kill', 'persistd');
  await killChild(pid, held.client);
  const theirs = await sibling.open(held.name).ok();
  assert.match(samba.smbdLog(), /may belong to a handle whose client is away.* is allowed/);
  await samba.verb('restart', 'persistd');
  await samba.until('the count', () => opens().allowed > 0);
  const back = await samba.back(held.client, 'durable');
  assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  assert.equal(samba.handle(held.name).state, 'superseded');
  await theirs.close().ok();
});

test('refuse: nobody gets the file until persistd is back, all others are open', async () => {
  for (const [dialect, status] of [
    [Dialect.SMB_3_0_2, 'FILE_NOT_AVAILABLE'],
    [Dialect.SMB_2_1, 'SHARING_VIOLATION'],
  ] as const) {
    const [held, pid] = await resilient('refusing');
    const other = await hold(samba, 'refusing');
    const sibling = await samba.connect('refusing', { dialect });
    await samba.verb('kill', 'persistd');
    await killChild(pid, held.client);
    for (let i = 0; i < 3; i += 1) assert.equal(await sibling.open(held.name).code(), status);
    await (await sibling.open(newName()).ok()).close().ok();
    await other.open.write(0, 'as ever').ok();
    await other.open.close().ok();
    await samba.verb('restart', 'persistd');
    await samba.until('the count', () => opens().refused >= 3);
    await isThere(sibling, held);
  }
});

test('a durable handle gives way, and nobody waits', async () => {
  const [held, pid] = await childOf(samba, () => hold(samba, 'refusing'));
  const sibling = await samba.connect('refusing');
  await samba.verb('kill', 'persistd');
  await killChild(pid, held.client);
  await (await sibling.open(held.name).ok()).close().ok();
  await samba.verb('restart', 'persistd');
  await samba.until('its end', () => samba.handle(held.name).state === 'superseded');
  assert.deepEqual(opens(), { allowed: 0, refused: 0 });
});

test('all of smbd was killed: who connects before persistd is back finds out at the open', async () => {
  const [held] = await resilient('refusing');
  await samba.verb('kill', 'persistd');
  await samba.verb('kill', 'smbd');
  await held.client.drop();
  await samba.verb('restart', 'smbd');
  const other = await samba.connect('refusing');
  assert.match(samba.smbdLog(), /are not in smbd's records/);
  assert.equal(await other.open(held.name).code(), 'FILE_NOT_AVAILABLE');
  await (await other.open(newName()).ok()).close().ok();
  await samba.verb('restart', 'persistd');
  await isThere(other, held);
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
