// SPDX-License-Identifier: GPL-3.0-or-later
/** `persistent:strength = yes`: durable v2 handles have the promises of persistent ones. */
import { strict as assert } from 'node:assert';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS, tryLock } from './lib/dev-samba.js';
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
import {
  Access,
  CreateOption,
  Disposition,
  LeaseState,
  newGuid,
  type OpenOptions,
  Oplock,
  Share,
} from './lib/smb2/index.js';
import { RANGE, STRONG_KINDS, strong, strongOptions } from './lib/strong.js';
import { watch } from './lib/watch.js';

const STRENGTH = ['vfs objects = persistent', 'persistent:strength = yes'];

const samba = await DevSamba.up();
const SAME = `path = ${samba.sharePath('strong')}`;
await samba.addShare('same', SAME, 'posix locking = yes', 'vfs objects = persistent');
await samba.addShare('bare', SAME, 'posix locking = no');
await samba.addShare('strong-posix', 'posix locking = yes', ...STRENGTH);
await samba.addShare(
  'limited',
  ...STRENGTH,
  'persistent:persistent timeout = 7',
  'persistent:persistent timeout max = 20',
  'persistent:persistent local access = yield',
  'persistent:persistent durability = process',
);
await samba.addShare('patient', ...STRENGTH, 'persistent:persistent timeout max = 600');
await samba.addShare('processes', ...STRENGTH, 'persistent:durability = process');
const events = await watch(samba);
const test = suite('strength');

const UNSHARED = strongOptions({}, { share: Share.NONE });

async function away(options = strongOptions(), share = 'strong'): Promise<Held> {
  const held = await strong(samba, options, share);
  await drop(samba, held);
  return held;
}

async function comesBack(held: Held): Promise<void> {
  const back = await resume(samba, held);
  await back.open.close().ok();
  await back.client.drop();
}

async function isRefused(held: Held): Promise<void> {
  const back = await samba.back(held.client, held.client.tree.share);
  assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  await back.drop();
}

/** Whether another client has the file for itself, locks and all. */
async function isFree({ name, path, client }: Held): Promise<void> {
  const other = await samba.connect(client.tree.share);
  const theirs = await other.open(name, { share: Share.NONE }).ok();
  assert.equal(tryLock(path, 0, 1), 'locked');
  await theirs.lock(RANGE).ok();
  await theirs.close().ok();
  await other.drop();
}

// ---- what is granted -------------------------------------------------------

for (const [kind, options] of Object.entries(DURABLE_KINDS)) {
  const granted = options.version === 2 ? 'persistent' : 'durable';
  test(`a handle asked for as ${kind} is a ${granted} one`, async () => {
    const held = await hold(samba, 'strong', optionsOf(options));
    const handle = samba.handle(held.name);
    assert.equal(handle.kind, granted);
    assert.equal(handle.durability, granted === 'persistent' ? 'host' : 'process');
    const listed = samba.handles('--all', '--kind', granted);
    assert.ok(listed.some(({ id }) => id === handle.id));
    const { kind } = samba.stats().handles as { kind: Record<string, number> };
    assert.ok((kind[granted] ?? 0) > 0);
    await held.open.close().ok();
    await held.client.drop();
  });
}

test('without a lease with H or a batch oplock smbd grants nothing, and nothing is kept', async () => {
  const client = await samba.connect('strong');
  const name = newName();
  const open = await client.open(name, optionsOf(USUAL, { state: LeaseState.R })).ok();
  assert.equal(open.granted.durableV2, undefined);
  assert.equal(samba.handles('--all').filter((h) => h.path.endsWith(name)).length, 0);
  await open.close().ok();
});

test('the client is told of a durable handle, whatever it asks for, and may say persistent', async () => {
  const durable = { version: 2, createGuid: newGuid(), persistent: true } as const;
  const held = await strong(samba, { durable, oplock: Oplock.BATCH });
  assert.equal(held.open.granted.durableV2?.persistent, false);
  await drop(samba, held);
  await comesBack(held);
});

test('on a share of durability process it is a persistent handle that outlives processes', async () => {
  for (const share of ['limited', 'processes']) {
    const held = await strong(samba, strongOptions(), share);
    assert.equal(samba.handle(held.name).durability, 'process');
    await held.open.close().ok();
  }
});

const ASKED: readonly { share: string; asked: number; granted: number }[] = [
  { share: 'strong', asked: 0, granted: 60_000 },
  { share: 'strong', asked: 1_500, granted: 1_500 },
  { share: 'strong', asked: 900_000, granted: 300_000 },
  { share: 'limited', asked: 0, granted: 7_000 },
  { share: 'limited', asked: 20_001, granted: 20_000 },
  { share: 'patient', asked: 500_000, granted: 500_000 },
  { share: 'patient', asked: 900_000, granted: 600_000 },
];
for (const { share, asked, granted } of ASKED) {
  test(`${share}: ${asked} ms asked is ${granted} ms, on the wire and in the table`, async () => {
    const held = await strong(samba, strongOptions({ timeoutMs: asked }), share);
    assert.equal(held.open.granted.durableV2?.timeoutMs, granted);
    assert.equal(samba.handle(held.name).timeout_ms, granted);
    await held.open.close().ok();
  });
}

test('it stays persistent when its client asks for resiliency, and takes the timeout', async () => {
  const held = await strong(samba, UNSHARED);
  await held.open.requestResiliency(40_000).ok();
  const { kind, timeout_ms, durability } = samba.handle(held.name);
  assert.deepEqual([kind, timeout_ms, durability], ['persistent', 40_000, 'host']);
  assert.equal(await held.open.requestResiliency(301_000).code(), 'INVALID_PARAMETER');
  assert.equal(samba.handle(held.name).timeout_ms, 40_000);
  await drop(samba, held);
  await comesBack(held);
});

test('a replayed CREATE is answered with the same handle, which stays what it is', async () => {
  const options = strongOptions({ timeoutMs: 30_000 });
  // no request between: smbd forgets then what it would answer a replay with
  const held = await hold(samba, 'strong', options);
  const again = await held.client.open(held.name, options, { replay: true }).ok();
  assert.ok(again.fileId.equals(held.open.fileId));
  assert.equal(again.granted.durableV2?.timeoutMs, 30_000);
  await drop(samba, held);
  assert.equal(samba.handle(held.name).kind, 'persistent');
  await comesBack(held);
});

// ---- the client itself -----------------------------------------------------

for (const share of ['strong', 'strong-posix']) {
  for (const [name, kind] of Object.entries(STRONG_KINDS)) {
    test(`${share}: ${name}: a drop costs it nothing, locks included`, async () => {
      const held = await strong(samba, optionsOf(kind), share);
      await held.open.lock(RANGE).ok();
      await drop(samba, held);
      const { client, open } = await resume(samba, held);
      assert.ok(isKeptDescription(samba, held.path));
      assert.equal(open.oplock, held.open.oplock);
      assert.equal(open.granted.lease?.state, held.open.granted.lease?.state);
      assert.equal(String(await open.read(0, 20).ok()), 'still here');
      await open.unlock(RANGE).ok();
      await open.close().ok();
      await client.drop();
    });
  }
}

test('it can be dropped and resumed many times', async () => {
  let held = await strong(samba);
  await held.open.lock(RANGE).ok();
  for (let i = 0; i < 5; i++) {
    await drop(samba, held);
    held = await resume(samba, held);
    assert.ok(isKeptDescription(samba, held.path));
    assert.equal(samba.handle(held.name).kind, 'persistent');
  }
  await held.open.unlock(RANGE).ok();
  await held.open.close().ok();
});

test('it returns just before the deadline and has its handle', async () => {
  const held = await away(strongOptions({ timeoutMs: 6_000 }));
  await samba.until('the last seconds', () => {
    const left = samba.handle(held.name).expires_in_ms;
    return left !== null && left < 3_000;
  });
  await comesBack(held);
});

test('after the deadline it is refused, and nothing of it is left', async () => {
  const wish = strongOptions({ timeoutMs: 1_000 }, { share: Share.NONE });
  const held = await strong(samba, wish, 'strong-posix');
  await held.open.lock(RANGE).ok();
  await held.client.drop();
  await events.next('expire', held.name);
  await isFree(held);
  await isRefused(held);
});

test('it is kept over LOGOFF', async () => {
  const held = await strong(samba);
  await held.client.logoff();
  await comesBack(held);
});

test('CLOSE and TREE_DISCONNECT end it', async () => {
  for (const end of [
    (held: Held) => held.open.close().ok(),
    (held: Held) => held.client.tree.disconnect().ok(),
  ]) {
    const held = await strong(samba, UNSHARED, 'strong-posix');
    await held.open.lock(RANGE).ok();
    await end(held);
    await isFree(held);
    await held.client.drop();
    await isRefused(held);
  }
});

test('marked for deletion, a drop is its last close', async () => {
  const held = await strong(samba);
  await held.open.info.setDeletePending(true).ok();
  await held.client.drop();
  await samba.until('the deletion', () => !existsSync(held.path));
  await isRefused(held);
});

for (const [what, anew] of Object.entries({
  'its lease key': (asked: OpenOptions) => ({ ...asked, durable: strongOptions().durable }),
  'its create GUID': (asked: OpenOptions) => asked,
})) {
  test(`a client that opens anew with ${what} finds its orphan out of its way`, async () => {
    const byGuid: OpenOptions = { ...optionsOf(STRONG_KINDS['v2, batch oplock']), share: 0 };
    const options = what === 'its lease key' ? UNSHARED : byGuid;
    const held = await strong(samba, options, 'strong-posix');
    await held.open.lock(RANGE).ok();
    await drop(samba, held);
    const back = await samba.back(held.client, 'strong-posix');
    const { durable, ...rest } = anew(options);
    const again = await back.open(held.name, { ...rest, ...(durable && { durable }) }).ok();
    const orphan = samba
      .handles('--all')
      .find((h) => h.path === held.path && h.state !== 'connected');
    assert.equal(orphan?.reason, 'own orphan');
    await again.lock(RANGE).ok();
    await again.close().ok();
    await back.drop();
  });
}

test('a LOCK replayed after the resume is answered without being done twice', async () => {
  const held = await strong(samba);
  const sequence = { index: 1, number: 3 };
  await held.open.lock(RANGE, { sequence }).ok();
  await drop(samba, held);
  const { open } = await resume(samba, held);
  await open.lock(RANGE, { sequence }).ok();
  await open.unlock(RANGE).ok();
  assert.equal(await open.unlock(RANGE).code(), 'RANGE_NOT_LOCKED');
  await open.close().ok();
});

test('a lease break that was under way at the drop keeps nobody waiting after the resume', async () => {
  const held = await strong(samba);
  const own = held.client.open(held.name, { disposition: Disposition.OPEN });
  await held.client.leaseBreaks.next();
  await drop(samba, held);
  await assert.rejects(own.ok());
  const back = await resume(samba, held);
  acknowledgeBreaks(back.client);
  const other = await samba.connect('strong', { timeoutMs: 5_000 });
  await (await other.open(held.name, { disposition: Disposition.OPEN }).ok()).close().ok();
  await back.open.close().ok();
});

test('one that has lost its lease while it was in use is kept all the same', async () => {
  const held = await strong(samba);
  acknowledgeBreaks(held.client);
  const other = await samba.connect('strong', { timeoutMs: 5_000 });
  await (await other.open(held.name, { disposition: Disposition.OVERWRITE_IF }).ok()).close().ok();
  await drop(samba, held);
  const { open } = await resume(samba, held);
  assert.equal(open.granted.lease?.state, LeaseState.NONE);
  await open.close().ok();
});

// ---- other clients, while it is away ---------------------------------------

test('a client that only looks at attributes costs not even its lease', async () => {
  const held = await away();
  const other = await samba.connect('strong');
  await (await other.open(held.name, { access: Access.READ_ATTRIBUTES }).ok()).close().ok();
  const { open } = await resume(samba, held);
  assert.equal(open.granted.lease?.state, LeaseState.RWH);
  await open.close().ok();
});

test('an open that an RH lease lets in leaves the handle resumable', async () => {
  const held = await away(strongOptions({ state: LeaseState.RH }));
  const other = await samba.connect('strong', { timeoutMs: 5_000 });
  const lease = { key: newGuid(), state: LeaseState.R };
  await (await other.open(held.name, { lease, access: Access.READ }).ok()).close().ok();
  await comesBack(held);
});

for (const [name, kind] of Object.entries(STRONG_KINDS)) {
  test(`${name}: an open that conflicts only with its level succeeds at once, the owner resumes with none`, async () => {
    const held = await away(optionsOf(kind));
    const other = await samba.connect('strong', { timeoutMs: 5_000 });
    const theirs = await other.open(held.name, { disposition: Disposition.OPEN }).ok();
    await theirs.write(20, 'theirs').ok();
    await theirs.close().ok();
    const { open } = await resume(samba, held);
    assert.equal(open.granted.lease?.state ?? open.oplock, 0);
    assert.equal(String(await open.read(20, 10).ok()), 'theirs');
    await open.close().ok();
  });
}

test('while away its share mode is in force, from every share that exports the file', async () => {
  const held = await away(strongOptions({}, { share: Share.READ }));
  for (const share of ['strong', 'same', 'bare']) {
    const other = await samba.connect(share);
    for (const access of [Access.READ_WRITE, Access.DELETE]) {
      assert.equal(await other.open(held.name, { access }).code(), 'SHARING_VIOLATION', share);
    }
    const reading = { access: Access.READ, share: Share.ALL };
    await (await other.open(held.name, reading).ok()).close().ok();
    await other.drop();
  }
  const { state, refused_others } = samba.handle(held.name);
  assert.deepEqual([state, refused_others], ['disconnected', 4], 'bare tells nobody');
  await comesBack(held);
});

test('while away its byte-range locks are in force, from every share that exports the file', async () => {
  const held = await strong(samba);
  await held.open.lock(RANGE).ok();
  await drop(samba, held);
  for (const share of ['strong', 'same', 'bare']) {
    const other = await samba.connect(share);
    const theirs = await other.open(held.name).ok();
    assert.equal(await theirs.lock({ offset: 5, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    assert.equal(await theirs.write(5, 'x').code(), 'FILE_LOCK_CONFLICT');
    await theirs.lock({ offset: 10, length: 1 }).ok();
    await theirs.close().ok();
    await other.drop();
  }
  const { open } = await resume(samba, held);
  await open.unlock(RANGE).ok();
  await open.close().ok();
});

test('another client renames the file, where its share mode lets him: resumed under the new name', async () => {
  const held = await away();
  const other = await samba.connect('strong');
  const theirs = await other.open(held.name, { access: Access.READ_WRITE_DELETE }).ok();
  await theirs.info.rename(`renamed-${held.name}`).ok();
  await theirs.close().ok();
  const { open } = await resume(samba, held);
  assert.ok((await open.info.all().ok()).name.endsWith(`renamed-${held.name}`));
  await open.close().ok();
});

test('another client deletes the file, where its share mode lets him: it is gone with the last close', async () => {
  const held = await away();
  const other = await samba.connect('strong');
  const options = CreateOption.NON_DIRECTORY_FILE | CreateOption.DELETE_ON_CLOSE;
  const deletion = { access: Access.DELETE, disposition: Disposition.OPEN, options };
  await (await other.open(held.name, deletion).ok()).close().ok();
  assert.equal(existsSync(held.path), true);
  await comesBack(held);
  assert.equal(existsSync(held.path), false);
});

test('another client truncates the file, where its share mode lets him: resumed without a lease', async () => {
  const held = await away();
  const other = await samba.connect('strong', { timeoutMs: 5_000 });
  await (await other.open(held.name, { disposition: Disposition.OVERWRITE_IF }).ok()).close().ok();
  const { open } = await resume(samba, held);
  assert.equal(open.granted.lease?.state, LeaseState.NONE);
  assert.equal(statSync(held.path).size, 0);
  await open.close().ok();
});

for (const where of ['away', 'connected'] as const) {
  test(`another node of its cluster takes the file at once: ${where}`, async () => {
    const appInstanceId = newGuid();
    const wish = () => strongOptions({}, { share: Share.NONE, appInstanceId });
    const held = await strong(samba, wish(), 'strong-posix');
    await held.open.lock(RANGE).ok();
    if (where === 'away') await drop(samba, held);
    const other = await samba.connect('strong-posix', { timeoutMs: 5_000 });
    const theirs = await other.open(held.name, wish()).ok();
    assert.equal(theirs.granted.lease?.state, LeaseState.RWH);
    await theirs.lock(RANGE).ok();
    const kinds = samba.handles('--all').filter((h) => h.path === held.path);
    assert.deepEqual(kinds.map((h) => [h.state, h.kind, h.reason]).sort(), [
      ['connected', 'persistent', null],
      ['superseded', 'persistent', 'app instance'],
    ]);
    await held.client.drop();
    await isRefused(held);
    await theirs.close().ok();
  });
}

// ---- on the server ---------------------------------------------------------

const harmless: Record<string, (path: string) => void> = {
  read: (path) => void readFileSync(path),
  'chmod-ed': (path) => chmodSync(path, 0o666),
  renamed: (path) => renameSync(path, `${path}.renamed`),
  unlinked: (path) => unlinkSync(path),
};
for (const [what, act] of Object.entries(harmless)) {
  test(`${what} locally: the same description, lease and all`, async () => {
    const held = await away();
    act(held.path);
    const { open } = await resume(samba, held);
    assert.equal(open.granted.lease?.state, LeaseState.RWH);
    assert.equal(String(await open.read(0, 20).ok()), 'still here');
    await open.close().ok();
  });
}

test('a local write while away costs it its lease, not the handle', async () => {
  const held = await away();
  appendFileSync(held.path, ', and locally');
  const { open } = await resume(samba, held);
  assert.equal(open.granted.lease?.state, LeaseState.NONE);
  assert.equal(String(await open.read(0, 30).ok()), 'still here, and locally');
  await open.close().ok();
});

test('persistent local access = yield: a local write ends it and frees the file', async () => {
  const held = await away(UNSHARED, 'limited');
  appendFileSync(held.path, ', and locally');
  await events.next('supersede', held.name);
  await isFree(held);
  await isRefused(held);
});

for (const verb of ['close', 'expire'] as const) {
  test(`persistctl ${verb} frees the file for the next opener`, async () => {
    const held = await away(UNSHARED);
    const other = await samba.connect('strong');
    assert.equal(await other.open(held.name).code(), 'SHARING_VIOLATION');
    assert.equal(samba.ctl(verb, samba.handle(held.name).id).status, 0);
    await isFree(held);
    await isRefused(held);
  });
}

test('persistctl extend moves its deadline', async () => {
  const held = await away();
  const { id, expires_at: before } = samba.handle(held.name);
  assert.equal(samba.ctl('extend', id, '--by', '5m').status, 0);
  const { expires_at: after } = samba.handle(held.name);
  const gainedMs = Date.parse(after ?? '') - Date.parse(before ?? '');
  assert.ok(Math.abs(gainedMs - 300_000) <= 1, `${gainedMs} ms; both are shown in whole ones`);
  await comesBack(held);
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(async () => {
  await events.end();
  await samba.down();
});
test.run();
