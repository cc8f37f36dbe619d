// SPDX-License-Identifier: GPL-3.0-or-later
/** A local process comes for the file while its handle is away (docs/local-access.md). */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename } from 'node:path';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS } from './lib/dev-samba.js';
import { killed } from './lib/faults.js';
import {
  mappedWriter,
  marks,
  openQuickly,
  processName,
  truncateByPath,
} from './lib/local-process.js';
import { drop, type Held, hold, newName, optionsOf, resume, USUAL } from './lib/scenario.js';
import { Access, LeaseState, newGuid, type OpenOptions, Share } from './lib/smb2/index.js';
import { watch } from './lib/watch.js';

const HELD_UP_MS = 50;
const ME = `${process.pid} (${processName(process.pid)})`;

const samba = await DevSamba.up();
await samba.addShare('keeping', 'vfs objects = persistent', 'persistent:local access = keep');
await samba.addShare(
  'yielding',
  'vfs objects = persistent',
  'persistent:local access = keep',
  'persistent:resilient local access = YIELD',
);
const test = suite('local access');

const marked = () => marks(samba.pid('keeper'));
const ended = (held: Held) =>
  samba.until(`the end of ${held.name}`, () => {
    const handle = samba.handle(basename(held.path));
    return handle.state === 'superseded' && handle;
  });

async function refused(held: Held): Promise<void> {
  const back = await samba.back(held.client, held.client.tree.share);
  assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  await back.drop();
}

/** The client is gone and the file is watched. */
async function dropWatched(held: Held): Promise<void> {
  const before = marked();
  await drop(samba, held);
  await samba.until('the watch', () => marked() === before + 1);
}

async function away(share: string, options: OpenOptions = optionsOf(USUAL)): Promise<Held> {
  const held = await hold(samba, share, options);
  await held.open.write(0, 'written before').ok();
  await dropWatched(held);
  return held;
}

async function resilient(share: string, options: OpenOptions): Promise<Held> {
  const client = await samba.connect(share);
  const name = newName();
  const open = await client.open(name, options).ok();
  await open.write(0, 'written before').ok();
  await open.requestResiliency(60_000).ok();
  return { client, open, name, path: samba.sharePath(share, name) };
}

/** Until the keeper has looked at all that happened before. */
async function settled(): Promise<void> {
  const other = await away('durable');
  appendFileSync(other.path, 'x');
  await ended(other);
}

const comers: Record<string, { come(path: string): void; reason: RegExp }> = {
  'appends to it': {
    come: (path) => appendFileSync(path, 'more'),
    reason: new RegExp(`by local process ${ME.replace(/[()]/g, '\\$&')}$`),
  },
  'opens it for writing, and is gone': {
    come: openQuickly,
    reason: /^opened for writing by local process /,
  },
  'truncates it by its path': {
    come: (path) => void truncateByPath(path, 3),
    reason: /^modified by local process /,
  },
};

for (const [kind, options] of Object.entries(DURABLE_KINDS)) {
  for (const [what, { come, reason }] of Object.entries(comers)) {
    test(`${kind}: a local process that ${what} ends the handle`, async () => {
      const held = await away('durable', optionsOf(options));
      come(held.path);
      assert.match((await ended(held)).reason ?? '', reason);
      await samba.until('a closed descriptor', () => samba.kept() === 0);
      assert.equal(marked(), 0);
      await refused(held);
    });
  }
}

test('it has the file for itself while it is still open, and watch names it', async () => {
  const watching = await watch(samba);
  const held = await away('durable');
  const fd = openSync(held.path, 'r+');
  const { reason } = await watching.next('supersede', held.name);
  assert.equal(reason, `opened for writing by local process ${ME}`);
  await samba.until('a closed descriptor', () => samba.kept() === 0);
  writeSync(fd, 'LOCAL');
  closeSync(fd);
  await refused(held);
  assert.equal(readFileSync(held.path, 'utf8'), 'LOCALen before');
  await watching.end();
});

const harmless: Record<string, (path: string) => void> = {
  reads: (path) => void readFileSync(path),
  'looks at its attributes': (path) => void statSync(path),
  'changes its mode': (path) => chmodSync(path, 0o666),
  'touches its access time': (path) => void execFileSync('touch', ['-a', path]),
  renames: (path) => renameSync(path, `${path}.renamed`),
  unlinks: (path) => unlinkSync(path),
  'puts another file in its place': (path) => {
    writeFileSync(`${path}.new`, 'another', { mode: 0o666 });
    renameSync(`${path}.new`, path);
  },
};

for (const [what, act] of Object.entries(harmless)) {
  test(`a local process that ${what} costs the handle nothing`, async () => {
    const held = await away('durable');
    act(held.path);
    await settled();
    const { open } = await resume(samba, held);
    assert.equal(open.granted.lease?.state, LeaseState.RWH);
    assert.equal(String(await open.read(0, 100).ok()), 'written before');
    await open.close().ok();
  });
}

test('one that had it open before ends the handle when it writes', async () => {
  const held = await hold(samba, 'durable');
  const fd = openSync(held.path, 'r+');
  await dropWatched(held);
  writeSync(fd, 'local');
  assert.equal((await ended(held)).reason, `modified by local process ${ME}`);
  closeSync(fd);
  await refused(held);
});

test('one that had it mapped before ends the handle when it closes it', async () => {
  const held = await hold(samba, 'durable');
  await held.open.write(0, 'written before').ok();
  const writer = await mappedWriter(held.path);
  await dropWatched(held);
  await writer.write();
  await writer.close();
  assert.match(
    (await ended(held)).reason ?? '',
    /^modified by local process \d+ \(mapped_writer\)$/,
  );
  await writer.end();
  await refused(held);
});

test('one that still has it mapped is noticed when the client comes back', async () => {
  const held = await hold(samba, 'durable');
  await held.open.write(0, 'written before').ok();
  const writer = await mappedWriter(held.path);
  await dropWatched(held);
  await writer.write();
  await refused(held);
  assert.equal(samba.handle(held.name).reason, 'modified');
  await writer.end();
});

for (const kind of ['v2, lease v2', 'v1, batch oplock'] as const) {
  test(`local access = keep: ${kind}: survives a write, without its level`, async () => {
    const held = await hold(samba, 'keeping', optionsOf(DURABLE_KINDS[kind]));
    await held.open.write(0, 'written before').ok();
    await drop(samba, held);
    appendFileSync(held.path, ', and locally');
    await settled();
    assert.equal(marked(), 0, 'nothing is watched');
    const { client, open } = await resume(samba, held);
    assert.equal(open.granted.lease?.state ?? open.oplock, 0);
    assert.equal(String(await open.read(0, 100).ok()), 'written before, and locally');
    // an open without batch oplock or H lease is not durable (MS-SMB2 3.3.7.1)
    await client.drop();
    await samba.until('its end', () => samba.handle(held.name).state === 'closed');
  });
}

test('resilient local access = yield: a local write ends it and frees the file', async () => {
  const held = await resilient('yielding', { share: Share.NONE });
  await dropWatched(held);
  const other = await samba.connect('yielding');
  assert.equal(await other.open(held.name).code(), 'SHARING_VIOLATION');
  truncateSync(held.path, 3);
  await ended(held);
  await samba.until('a closed descriptor', () => samba.kept() === 0);
  await (await other.open(held.name, { share: Share.NONE }).ok()).close().ok();
  await refused(held);
  await other.drop();
});

test('on that share, durable handles keep to the option for all kinds', async () => {
  const held = await hold(samba, 'yielding');
  await drop(samba, held);
  appendFileSync(held.path, 'locally');
  await settled();
  await (await resume(samba, held)).open.close().ok();
});

test('what other SMB clients do is not local access', async () => {
  const lease = { key: newGuid(), state: LeaseState.RH };
  const held = await resilient('yielding', { lease });
  await dropWatched(held);
  const other = await samba.connect('yielding');
  const theirs = await other.open(held.name, { access: Access.READ_WRITE }).ok();
  await theirs.write(0, 'theirs').ok();
  await theirs.close().ok();
  const lasting = await other.open(held.name, { access: Access.READ_WRITE }).ok();
  assert.ok(lasting);
  await other.drop();
  await settled();
  assert.equal(samba.handle(held.name).state, 'disconnected');
  await samba.ctl('expire', samba.handle(held.name).id);
});

test('nobody is held up while keeper and persistd hang', async () => {
  const held = await away('durable');
  const victims = [samba.pid('keeper'), samba.pid('persistd')];
  for (const pid of victims) process.kill(pid, 'SIGSTOP');
  const started = performance.now();
  const fd = openSync(held.path, 'r+');
  writeSync(fd, 'local');
  closeSync(fd);
  truncateSync(held.path, 5);
  const tookMs = performance.now() - started;
  for (const pid of victims) process.kill(pid, 'SIGCONT');
  assert.ok(tookMs < HELD_UP_MS, `${tookMs} ms`);
  assert.match((await ended(held)).reason ?? '', /by local process \d+ \(node\)$/);
  await refused(held);
});

test('a persistd that is started anew hears of what it missed, and watches on', async () => {
  const [missed, later] = [await away('durable'), await away('durable')];
  await killed(samba, 'persistd');
  appendFileSync(missed.path, 'local');
  await samba.verb('restart', 'persistd');
  assert.match((await ended(missed)).reason ?? '', /by local process \d+ \(node\)$/);
  assert.equal(samba.handle(later.name).state, 'disconnected');
  const fd = openSync(later.path, 'r+');
  assert.match(
    (await ended(later)).reason ?? '',
    /^opened for writing by local process \d+ \(node\)$/,
  );
  closeSync(fd);
});

test('a handle that came back and went again is watched again', async () => {
  let held = await away('durable');
  held = await resume(samba, held);
  assert.equal(marked(), 0);
  appendFileSync(held.path, ', and locally');
  await dropWatched(held);
  await settled();
  assert.equal(samba.handle(held.name).state, 'disconnected');
  openQuickly(held.path);
  await ended(held);
});

test('nothing is left behind, no mark either', async () => {
  await samba.nothingLeft();
  assert.equal(marked(), 0);
});
test.after(() => samba.down());
test.run();
