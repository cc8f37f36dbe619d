// SPDX-License-Identifier: GPL-3.0-or-later
/** What docs/outcomes.md says and no other test shows: a kind of handle, an event, an outcome. */
import { strict as assert } from 'node:assert';
import { existsSync, readFileSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS, tryLock } from './lib/dev-samba.js';
import { killed } from './lib/faults.js';
import {
  acknowledgeBreaks,
  drop,
  type Held,
  hold,
  isKeptDescription,
  newName,
  optionsOf,
  resume,
} from './lib/scenario.js';
import {
  Access,
  CreateOption,
  Disposition,
  LeaseState,
  newGuid,
  type OpenOptions,
  Oplock,
  Share,
  type Smb2Client,
} from './lib/smb2/index.js';
import { childOf } from './soak/processes.js';

const samba = await DevSamba.up();
const SAME = `path = ${samba.sharePath('durable')}`;
await samba.addShare('same', SAME, 'posix locking = yes', 'vfs objects = persistent');
await samba.addShare('bare', SAME, 'posix locking = no');
const test = suite('outcomes');

const DURABLE = DURABLE_KINDS['v2, lease v2'];
const LEASE = (state: number): OpenOptions => ({ lease: { key: newGuid(), state } });

async function resilient(options: OpenOptions = {}, timeoutMs = 60_000): Promise<Held> {
  const name = newName();
  const client = await samba.connect('durable');
  const open = await client.open(name, options).ok();
  await open.write(0, 'resilient').ok();
  await open.requestResiliency(timeoutMs).ok();
  return { client, open, name, path: samba.sharePath('durable', name) };
}

async function away(held: Promise<Held>): Promise<Held> {
  const there = await held;
  await drop(samba, there);
  return there;
}

const durable = (options = optionsOf(DURABLE)): Promise<Held> => hold(samba, 'durable', options);

async function comesBack(held: Held): Promise<void> {
  const back = await resume(samba, held);
  await back.open.close().ok();
  await back.client.drop();
}

async function isRefused(held: Held, share = 'durable'): Promise<void> {
  const back = await samba.back(held.client, share);
  assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  await back.drop();
}

test('durable: a share mode is given up, the next opener is not hindered', async () => {
  const held = await away(durable({ ...optionsOf(DURABLE), share: Share.NONE }));
  const other = await samba.connect('durable');
  await (await other.open(held.name).ok()).close().ok();
  assert.equal(samba.handle(held.name).state, 'superseded');
  await isRefused(held);
});

test('resilient: an open that an RH lease lets in leaves the handle resumable', async () => {
  const held = await away(resilient(LEASE(LeaseState.RH)));
  const other = await samba.connect('durable', { timeoutMs: 5_000 });
  const theirs = await other.open(held.name, { ...LEASE(LeaseState.R), access: Access.READ }).ok();
  await theirs.close().ok();
  await comesBack(held);
});

test('resilient: a client that only looks at attributes costs not even its lease', async () => {
  const held = await away(resilient(LEASE(LeaseState.RWH)));
  const other = await samba.connect('durable');
  await (await other.open(held.name, { access: Access.READ_ATTRIBUTES }).ok()).close().ok();
  const back = await resume(samba, held);
  assert.equal(back.open.granted.lease?.state, LeaseState.RWH);
  await back.open.close().ok();
});

test('resilient: its share mode holds on another share of the directory, with the module or without', async () => {
  const held = await away(resilient({ share: Share.READ }));
  for (const share of ['same', 'bare']) {
    const other = await samba.connect(share);
    assert.equal(await other.open(held.name).code(), 'SHARING_VIOLATION');
    await (await other.open(held.name, { access: Access.READ, share: Share.ALL }).ok())
      .close()
      .ok();
    await other.drop();
  }
  await comesBack(held);
});

test('resilient: its byte-range locks hold on another share of the directory, with the module or without', async () => {
  const held = await resilient();
  await held.open.lock({ offset: 0, length: 10 }).ok();
  await drop(samba, held);
  for (const share of ['same', 'bare']) {
    const other = await samba.connect(share);
    const theirs = await other.open(held.name).ok();
    assert.equal(await theirs.lock({ offset: 5, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    await theirs.close().ok();
    await other.drop();
  }
  await comesBack(held);
});

test('durable: an open through a share without the module ends it', async () => {
  const other = await samba.connect('bare');
  // for writing it is local access; for reading, it is found out when the client returns
  for (const access of [Access.READ_WRITE_DELETE, Access.READ]) {
    const held = await away(durable());
    await (await other.open(held.name, { access }).ok()).close().ok();
    await isRefused(held);
    assert.equal(samba.handle(held.name).state, 'superseded');
  }
});

test('durable: another client renames the file: it ends', async () => {
  const held = await away(durable());
  const other = await samba.connect('durable');
  const theirs = await other.open(held.name, { access: Access.READ_WRITE_DELETE }).ok();
  await theirs.info.rename(`renamed-${held.name}`).ok();
  await theirs.close().ok();
  await isRefused(held);
});

test('resilient: another client renames the file, where its share mode lets him: resumed under the new name', async () => {
  const held = await away(resilient());
  const other = await samba.connect('durable');
  const theirs = await other.open(held.name, { access: Access.READ_WRITE_DELETE }).ok();
  await theirs.info.rename(`renamed-${held.name}`).ok();
  await theirs.close().ok();
  const back = await resume(samba, held);
  assert.ok((await back.open.info.all().ok()).name.endsWith(`renamed-${held.name}`));
  await back.open.close().ok();
});

const DELETE = {
  access: Access.DELETE,
  disposition: Disposition.OPEN,
  options: CreateOption.NON_DIRECTORY_FILE | CreateOption.DELETE_ON_CLOSE,
};

test('durable: another client deletes the file: it ends, and the file is gone', async () => {
  const held = await away(durable());
  const other = await samba.connect('durable');
  await (await other.open(held.name, DELETE).ok()).close().ok();
  assert.equal(existsSync(held.path), false);
  await isRefused(held);
});

test('resilient: another client deletes the file, where its share mode lets him: it is gone with the last close', async () => {
  const held = await away(resilient());
  const other = await samba.connect('durable');
  await (await other.open(held.name, DELETE).ok()).close().ok();
  assert.equal(existsSync(held.path), true);
  await comesBack(held);
  assert.equal(existsSync(held.path), false);
});

test('resilient: another client truncates the file, where its share mode lets him: resumed without a lease', async () => {
  const held = await away(resilient(LEASE(LeaseState.RWH)));
  const other = await samba.connect('durable', { timeoutMs: 5_000 });
  const theirs = await other.open(held.name, { disposition: Disposition.OVERWRITE_IF }).ok();
  await theirs.close().ok();
  const back = await resume(samba, held);
  assert.equal(back.open.granted.lease?.state, LeaseState.NONE);
  assert.equal(statSync(held.path).size, 0);
  await back.open.close().ok();
});

test('own orphan, by create GUID: it is out of the way of the client that opens anew', async () => {
  for (const isResilient of [false, true]) {
    const options: OpenOptions = {
      oplock: Oplock.BATCH,
      share: Share.NONE,
      durable: { version: 2, timeoutMs: 60_000, createGuid: newGuid() },
    };
    const held = await durable(options);
    if (isResilient) await held.open.requestResiliency(60_000).ok();
    await held.open.lock({ offset: 0, length: 10 }).ok();
    await drop(samba, held);
    const back = await samba.back(held.client, 'durable');
    const anew = await back.open(held.name, options).ok();
    assert.equal(samba.handles('--all').filter((h) => h.reason === 'own orphan').length > 0, true);
    await anew.lock({ offset: 0, length: 10 }).ok();
    await anew.close().ok();
    await back.drop();
  }
});

test('resilient: read, renamed and unlinked locally: the same description', async () => {
  for (const act of [
    (path: string) => void readFileSync(path),
    (path: string) => renameSync(path, `${path}.renamed`),
    (path: string) => unlinkSync(path),
  ]) {
    const held = await away(resilient());
    act(held.path);
    const back = await resume(samba, held);
    assert.equal(String(await back.open.read(0, 20).ok()), 'resilient');
    await back.open.close().ok();
  }
});

test('resilient: it can be dropped and resumed many times', async () => {
  let held = await resilient(LEASE(LeaseState.RWH));
  await held.open.lock({ offset: 0, length: 10 }).ok();
  for (let i = 0; i < 5; i++) {
    await drop(samba, held);
    held = await resume(samba, held);
    assert.ok(isKeptDescription(samba, held.path));
  }
  await held.open.unlock({ offset: 0, length: 10 }).ok();
  await held.open.close().ok();
});

test('resilient: it returns just before the deadline and has its handle', async () => {
  const held = await away(resilient({}, 3_000));
  await samba.until('the last second', () => {
    const left = samba.handle(held.name).expires_in_ms;
    return left !== null && left < 1_500;
  });
  await comesBack(held);
});

test('resilient: CLOSE and TREE_DISCONNECT end it', async () => {
  for (const end of [
    (held: Held) => held.open.close().ok(),
    (held: Held) => held.client.tree.disconnect().ok(),
  ]) {
    const held = await resilient({ share: Share.NONE });
    await held.open.lock({ offset: 0, length: 10 }).ok();
    await end(held);
    assert.equal(tryLock(held.path, 0, 10), 'locked');
    const other = await samba.connect('durable');
    await (await other.open(held.name, { share: Share.NONE }).ok()).close().ok();
    await held.client.drop();
    await isRefused(held);
  }
});

test('resilient: marked for deletion, a drop is its last close', async () => {
  const held = await resilient();
  await held.open.info.setDeletePending(true).ok();
  await held.client.drop();
  await samba.until('the deletion', () => !existsSync(held.path));
  await isRefused(held);
});

test('resilient: persistd is killed while it is away: the same description', async () => {
  const held = await away(resilient({ share: Share.NONE }));
  await killed(samba, 'persistd');
  const other = await samba.connect('durable');
  assert.equal(await other.open(held.name).code(), 'SHARING_VIOLATION');
  await samba.verb('restart', 'persistd');
  const back = await resume(samba, held);
  assert.ok(isKeptDescription(samba, held.path));
  await back.open.close().ok();
});

test('resilient: refused while persistd is away, resumed when it is back', async () => {
  const held = await away(resilient());
  await killed(samba, 'persistd');
  const early = await samba.back(held.client, 'durable');
  assert.equal(await early.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  await early.drop();
  await samba.verb('restart', 'persistd');
  await comesBack(held);
});

test('durable: a moment without persistd at the drop costs no resume in the same smbd child', async () => {
  const held = await durable();
  held.client.partition();
  const persistd = samba.pid('persistd');
  process.kill(persistd, 'SIGSTOP');
  let back: Smb2Client;
  try {
    back = await samba.back(held.client, 'durable');
  } finally {
    process.kill(persistd, 'SIGCONT');
  }
  await (await back.reconnect(held.open).ok()).close().ok();
});

test('a keeper that stands still at the drop costs no durable handle', async () => {
  const client = await samba.connect('durable');
  const opens = await Promise.all(
    [1, 2, 3].map(() => client.open(newName(), optionsOf(DURABLE)).ok()),
  );
  await samba.until('the deposits', () => samba.kept() >= opens.length);
  const keeper = samba.pid('keeper');
  const child = childOf(samba.pid('smbd'), client.connection.transport.localPort ?? 0);
  process.kill(keeper, 'SIGSTOP');
  try {
    await client.drop();
    await samba.until('the end of the smbd child', () => !existsSync(`/proc/${child}`));
  } finally {
    process.kill(keeper, 'SIGCONT');
  }
  const back = await samba.back(client, 'durable');
  for (const open of opens) await (await back.reconnect(open).ok()).close().ok();
});

test('resilient: the keeper is killed while it is away: it protects nothing, and is refused', async () => {
  const held = await away(resilient({ share: Share.NONE }));
  await killed(samba, 'keeper');
  const other = await samba.connect('durable');
  await (await other.open(held.name).ok()).close().ok();
  await samba.verb('restart', 'keeper');
  await isRefused(held);
});

for (const [kind, isResilient] of [
  ['durable', false],
  ['resilient', true],
] as const) {
  test(`${kind}: a lease break that was under way at the drop keeps nobody waiting after the resume`, async () => {
    const held = await durable();
    if (isResilient) await held.open.requestResiliency(60_000).ok();
    const own = held.client.open(held.name, { disposition: Disposition.OPEN });
    await held.client.leaseBreaks.next();
    await drop(samba, held);
    await assert.rejects(own.ok());
    const back = await resume(samba, held);
    acknowledgeBreaks(back.client);
    const other = await samba.connect('durable', { timeoutMs: 5_000 });
    await (await other.open(held.name, { disposition: Disposition.OPEN }).ok()).close().ok();
    await back.open.close().ok();
  });
}

test('resilient: what is left of a lease of another open that ended is not taken for its own', async () => {
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const createGuid = newGuid();
  const held = await resilient({ lease });
  const second = { lease, durable: { version: 2, timeoutMs: 60_000, createGuid } } as const;
  await held.client.open(held.name, second).ok();
  await drop(samba, held);
  const other = await samba.connect('durable', { timeoutMs: 5_000 });
  const theirs = await other.open(held.name, { disposition: Disposition.OPEN }).ok();
  const back = await resume(samba, held);
  assert.equal(back.open.granted.lease?.state, LeaseState.NONE);
  await theirs.close().ok();
  await back.open.close().ok();
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
