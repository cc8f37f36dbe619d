// SPDX-License-Identifier: GPL-3.0-or-later
/** A client drops off the network, things happen to its file, it comes back. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename } from 'node:path';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS, sameDescription } from './lib/dev-samba.js';
import { drop, hold, isDurable, type Kind, newName, optionsOf, resume } from './lib/scenario.js';
import { Dialect, LeaseState, newGuid, type Open } from './lib/smb2/index.js';

const samba = await DevSamba.up();
const test = suite('resume');

/** Opens, drops, lets `meanwhile` happen, comes back. */
async function away(
  share: string,
  kind: Kind,
  meanwhile: (path: string) => void,
  name = newName(),
): Promise<{ back: () => Promise<{ open: Open; code: string }>; path: string; pid: number }> {
  const a = await samba.connect(share);
  const path = samba.sharePath(share, name);
  const open = await a.open(name, optionsOf(kind)).ok();
  assert.ok(isDurable(open), 'the handle is granted');
  await open.write(0, 'written before').ok();
  const [pid = 0] = samba.status().clientPids;
  await a.drop();
  await samba.disconnected(basename(name));
  meanwhile(path);
  const back = async () => {
    const b = await samba.back(a, share);
    const reply = await b.reconnect(open);
    return { open: reply.code === 'SUCCESS' ? reply.ok() : open, code: reply.code };
  };
  return { back, path, pid };
}

for (const [label, kind] of Object.entries(DURABLE_KINDS)) {
  test(`${label}: the description is the same one, in smbd before, in the keeper, in smbd after`, async () => {
    const name = newName();
    const path = samba.sharePath('durable', name);
    const a = await samba.connect('durable');
    const open = await a.open(name, optionsOf(kind)).ok();
    const { dev, ino } = statSync(path);
    const before = samba.status();
    assert.ok(
      before.clientPids.some((p) => sameDescription(p, samba.pid('keeper'), dev, ino)),
      'deposited at grant',
    );
    await a.drop();
    await samba.disconnected(name);
    const b = await samba.back(a, 'durable');
    const again = await b.reconnect(open).ok();
    assert.ok(
      samba.status().clientPids.some((p) => sameDescription(p, samba.pid('keeper'), dev, ino)),
      'resumed with the kept one',
    );
    assert.equal(again.fileId.persistent, open.fileId.persistent);
    await again.write(0, 'after').ok();
    await again.close().ok();
    assert.equal(readFileSync(path, 'utf8'), 'after');
    await samba.nothingLeft();
  });

  const meanwhile: Record<string, (path: string) => void> = {
    'the file was read': (path) => void readFileSync(path),
    'its access time was touched': (path) => void execFileSync('touch', ['-a', path]),
    'it was chmod-ed': (path) => chmodSync(path, 0o640),
    'it was chown-ed': (path) => chownSync(path, 12345, 12345),
    'it was renamed': (path) => renameSync(path, `${path}.renamed`),
    'it was moved to another directory of the share': (path) => {
      mkdirSync(`${path}.d`, { mode: 0o777 });
      renameSync(path, `${path}.d/moved`);
    },
    'it was unlinked': (path) => unlinkSync(path),
  };
  for (const [what, act] of Object.entries(meanwhile)) {
    test(`${label}: resumes although meanwhile ${what}`, async () => {
      const { back } = await away('durable', kind, act);
      const { open, code } = await back();
      assert.equal(code, 'SUCCESS');
      assert.equal(String(await open.read(0, 100).ok()), 'written before');
      await open.write(14, ' and after').ok();
      assert.equal(String(await open.read(0, 100).ok()), 'written before and after');
      await open.close().ok();
    });
  }

  for (const [what, act] of Object.entries({
    appended: (path: string) => appendFileSync(path, 'more'),
    truncated: (path: string) => truncateSync(path, 3),
    'overwritten in place': (path: string) => writeFileSync(path, 'WRITTEN BEFORE', { flag: 'r+' }),
  })) {
    test(`${label}: is not resumed when the file was ${what} locally, and says so`, async () => {
      const { back, path } = await away('durable', kind, act);
      assert.equal((await back()).code, 'OBJECT_NAME_NOT_FOUND');
      const handle = samba.handle(basename(path));
      assert.equal(handle.state, 'superseded');
      assert.match(handle.reason ?? '', /^(opened for writing|modified)/);
    });
  }
}

test('after a rename the handle reports the new name', async () => {
  const { back } = await away('durable', DURABLE_KINDS['v2, lease v2'], (path) =>
    renameSync(path, `${path}.new`),
  );
  const { open } = await back();
  assert.match((await open.info.all().ok()).name, /\.new$/);
  await open.close().ok();
});

test('a client that was not told of a rename comes back twice, by the old name', async () => {
  const options = optionsOf(DURABLE_KINDS['v2, lease v2']);
  let held = await hold(samba, 'durable', options);
  await drop(samba, held);
  renameSync(held.path, `${held.path}.new`);
  for (let time = 0; time < 2; time++) {
    held = await resume(samba, held);
    await held.client.drop();
    await samba.disconnected(`${held.name}.new`);
  }
  held = await resume(samba, held);
  await held.open.close().ok();
});

for (const [label, dialect] of Object.entries(Dialect)) {
  test(`${label}: a handle with an oplock and one with a lease are resumed`, async () => {
    const version = dialect === Dialect.SMB_2_1 ? 1 : 2;
    const kinds = [
      { version, lease: 0 },
      { version, lease: version },
    ] as const;
    for (const kind of kinds) {
      const a = await samba.connect('durable', { dialect });
      const open = await a.open(newName(), optionsOf(kind as Kind)).ok();
      await a.drop();
      const b = await samba.back(a, 'durable', { dialect });
      const again = await b.reconnect(open).ok();
      await again.close().ok();
      await b.drop();
    }
  });
}

test('a handle can be dropped and resumed many times', async () => {
  const name = newName();
  let client = await samba.connect('durable');
  let open = await client.open(name, optionsOf(DURABLE_KINDS['v2, lease v2'])).ok();
  for (let i = 0; i < 5; i++) {
    await client.drop();
    client = await samba.back(client, 'durable');
    open = await client.reconnect(open).ok();
    await open.write(i, String(i)).ok();
  }
  await open.close().ok();
  assert.equal(readFileSync(samba.sharePath('durable', name), 'utf8'), '01234');
});

test('an unlinked file survives several drops', async () => {
  const held = await hold(samba, 'durable');
  unlinkSync(held.path);
  let { client, open } = held;
  for (let i = 0; i < 3; i++) {
    await client.drop();
    client = await samba.back(client, 'durable');
    open = await client.reconnect(open).ok();
    await open.write(i, String(i)).ok();
  }
  assert.equal(String(await open.read(0, 3).ok()), '012');
  await open.close().ok();
});

test('a reconnect by DHnC with a DHnQ beside it, and another drop', async () => {
  for (const share of ['durable', 'posix']) {
    const held = await hold(samba, share, optionsOf(DURABLE_KINDS['v1, lease v1']));
    let { client, open } = held;
    await open.lock({ offset: 0, length: 10 }).ok();
    for (let i = 0; i < 2; i++) {
      await client.drop();
      client = await samba.back(client, share);
      open = await client.reconnect(open, { durable: { version: 1 } }).ok();
    }
    await open.unlock({ offset: 0, length: 10 }).ok();
    await open.close().ok();
  }
});

test('one of two hard links is deleted meanwhile', async () => {
  const { back, path } = await away('durable', DURABLE_KINDS['v2, lease v2'], (file) => {
    linkSync(file, `${file}.other`);
    unlinkSync(file);
  });
  const { open, code } = await back();
  assert.equal(code, 'SUCCESS');
  assert.ok((await open.info.all().ok()).name.endsWith(basename(path)));
  await open.close().ok();
});

test('a handle resumed by DHnC can be resumed by DH2C later', async () => {
  const name = newName();
  const a = await samba.connect('durable');
  const open = await a.open(name, optionsOf(DURABLE_KINDS['v2, lease v2'])).ok();
  await a.drop();
  const b = await samba.back(a, 'durable');
  await b.reconnect(open, { reconnect: { fileId: open.fileId } }).ok();
  await b.drop();
  const c = await samba.back(b, 'durable');
  const again = await c.reconnect(open).ok();
  await again.close().ok();
});

test('two handles of one client on one file, one lease', async () => {
  const name = newName();
  const a = await samba.connect('durable');
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const durable = () => ({ version: 2, timeoutMs: 60_000, createGuid: newGuid() }) as const;
  const one = await a.open(name, { lease, durable: durable() }).ok();
  const two = await a.open(name, { lease, durable: durable() }).ok();
  await a.drop();
  await samba.until('both', () => samba.away(name).length === 2);
  const b = await samba.back(a, 'durable');
  const second = await b.reconnect(two).ok();
  const first = await b.reconnect(one).ok();
  await first.write(0, 'one').ok();
  await second.write(3, 'two').ok();
  await first.close().ok();
  await second.close().ok();
  assert.equal(readFileSync(samba.sharePath('durable', name), 'utf8'), 'onetwo');
});

test('handles of two clients on one file, each with its own RH lease and locks', async () => {
  const name = newName();
  for (const share of ['durable', 'posix']) {
    const clients = [await samba.connect(share), await samba.connect(share)] as const;
    const opens: Open[] = [];
    for (const client of clients) {
      const kind = DURABLE_KINDS['v2, lease v2'];
      opens.push(await client.open(name, optionsOf(kind, { state: LeaseState.RH })).ok());
    }
    await (opens[0] as Open).lock({ offset: 0, length: 10 }).ok();
    await (opens[1] as Open).lock({ offset: 10, length: 10 }).ok();
    // a lock ends read caches; smbd lingers when a client goes with a break on its way
    await clients[0].leaseBreaks.next();
    for (const client of clients) await client.drop();
    await samba.until('both', () => samba.away(name).length === 2);
    const again = [];
    for (const [i, client] of clients.entries()) {
      const back = await samba.back(client, share);
      again.push(await back.reconnect(opens[i] as Open).ok());
    }
    const [first, second] = again as [Open, Open];
    assert.equal(await second.lock({ offset: 0, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    assert.equal(await first.lock({ offset: 10, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    await first.unlock({ offset: 0, length: 10 }).ok();
    await second.lock({ offset: 0, length: 1 }).ok();
    await first.close().ok();
    await second.close().ok();
  }
});

test('several shares and several smbd children at once', async () => {
  const opens = [];
  for (const share of ['durable', 'posix', 'ca', 'durable', 'posix']) {
    const client = await samba.connect(share);
    const kind = DURABLE_KINDS['v2, lease v2'];
    opens.push({ share, client, open: await client.open(newName(), optionsOf(kind)).ok() });
  }
  for (const { client } of opens) await client.drop();
  for (const { share, client, open } of opens) {
    const back = await samba.back(client, share);
    const again = await back.reconnect(open).ok();
    await again.close().ok();
  }
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
