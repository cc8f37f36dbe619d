// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * SMB2_CREATE_APP_INSTANCE_ID and _VERSION (MS-SMB2 3.3.5.9.13): the second node
 * of a cluster takes the file from the first.
 */
import { strict as assert } from 'node:assert';
import { chmodSync, existsSync } from 'node:fs';
import { suite } from 'uvu';
import type { HandleView } from '../daemon/src/shared/handle-view.js';
import { DevSamba, DURABLE_KINDS, tryLock } from './lib/dev-samba.js';
import { acknowledgeBreaks, newName, optionsOf, USUAL } from './lib/scenario.js';
import {
  Access,
  CreateOption,
  Dialect,
  LeaseState,
  newGuid,
  type Open,
  type OpenOptions,
  Oplock,
  Share,
  type Smb2Client,
} from './lib/smb2/index.js';
import { passes, runTests } from './lib/smbtorture.js';
import { watch } from './lib/watch.js';

const TORTURE = 'smb2.durable-v2-open.app-instance';
const V311 = { dialect: Dialect.SMB_3_1_1 };

const samba = await DevSamba.up();
await samba.addShare('twin', `path = ${samba.sharePath('durable')}`, 'vfs objects = persistent');
const test = suite('app instance');

/** How a node of a cluster opens a file that nobody else may have open. */
function asked(appInstanceId: Buffer, how: OpenOptions = optionsOf(USUAL)): OpenOptions {
  return { share: Share.NONE, appInstanceId, ...how };
}

interface Node {
  client: Smb2Client;
  open: Open;
  name: string;
  id: Buffer;
}

/** The first node, and its open on a new file. */
async function first(share: string, how = optionsOf(USUAL), options = {}): Promise<Node> {
  const id = newGuid();
  const name = newName();
  const client = await samba.connect(share, options);
  const open = await client.open(name, asked(id, how)).ok();
  await open.write(0, 'data').ok();
  return { client, open, name, id };
}

const kinds: Record<string, (share: string) => Promise<Node>> = {
  ...Object.fromEntries(
    Object.entries(DURABLE_KINDS).map(([label, kind]) => [
      `a durable handle (${label})`,
      (share: string) => first(share, optionsOf(kind)),
    ]),
  ),
  'a resilient handle': (share) => resilient(share, optionsOf(USUAL)),
  'a resilient handle that was not durable': (share) => resilient(share, {}),
};

async function resilient(share: string, how: OpenOptions): Promise<Node> {
  const node = await first(share, how);
  await node.open.requestResiliency(60_000).ok();
  return node;
}

const endsIn = (name: string) => (handle: HandleView) => handle.path.endsWith(`/${name}`);

function reasonOf(name: string): string | null | undefined {
  return samba.handles('--all', '--state', 'superseded').find(endsIn(name))?.reason;
}

for (const share of ['durable', 'posix']) {
  for (const [kind, hold] of Object.entries(kinds)) {
    test(`${share}: ${kind}, connected, is taken at once`, async () => {
      const { client, open, name, id } = await hold(share);
      await open.lock({ offset: 0, length: 10 }).ok();
      const path = samba.sharePath(share, name);
      const other = await samba.connect(share);
      const began = Date.now();
      const theirs = await other.open(name, asked(id)).ok();
      assert.ok(Date.now() - began < 5_000, 'nobody waited for a break');
      assert.equal(theirs.granted.lease?.state, LeaseState.RWH);
      assert.equal(tryLock(path, 0, 1), 'locked', 'no kernel lock is left');
      await theirs.lock({ offset: 0, length: 10 }).ok();
      assert.equal(await open.write(0, 'late').code(), 'FILE_CLOSED');
      assert.equal(client.leaseBreaks.unread + client.oplockBreaks.unread, 0);
      assert.equal(reasonOf(name), 'app instance');
      assert.equal(String(await theirs.read(0, 10).ok()), 'data');
      await theirs.close().ok();
    });

    test(`${share}: ${kind}, away, is taken at once`, async () => {
      const { client, open, name, id } = await hold(share);
      await open.lock({ offset: 0, length: 10 }).ok();
      await client.drop();
      await samba.disconnected(name);
      const other = await samba.connect(share);
      const theirs = await other.open(name, asked(id)).ok();
      assert.equal(tryLock(samba.sharePath(share, name), 0, 1), 'locked');
      assert.equal(theirs.granted.lease?.state, LeaseState.RWH);
      await theirs.lock({ offset: 0, length: 10 }).ok();
      assert.equal(reasonOf(name), 'app instance');
      const back = await samba.back(client, share);
      assert.equal(await back.reconnect(open).code(), 'OBJECT_NAME_NOT_FOUND');
      await theirs.close().ok();
    });
  }
}

test('the stock share does not take it', async () => {
  const { client, name, id } = await first('plain');
  acknowledgeBreaks(client);
  const other = await samba.connect('plain');
  assert.equal(await other.open(name, asked(id)).code(), 'SHARING_VIOLATION');
});

test('an open that is not durable is taken, too', async () => {
  const { open, name, id } = await first('durable', {});
  const known = samba.handle(name);
  assert.equal(known.kind, 'plain');
  assert.ok(known.app_instance_id, 'persistctl shows it');
  const other = await samba.connect('durable');
  const theirs = await other.open(name, asked(id)).ok();
  assert.equal(await open.read(0, 1).code(), 'FILE_CLOSED');
  await theirs.close().ok();
});

test('persistctl watch says what became of the old one', async () => {
  const seen = await watch(samba);
  for (const away of [false, true]) {
    const { client, name, id } = await first('durable');
    if (away) {
      await client.drop();
      await samba.disconnected(name);
    }
    const other = await samba.connect('durable');
    const theirs = await other.open(name, asked(id)).ok();
    assert.equal((await seen.next('supersede', name)).reason, 'app instance');
    await theirs.close().ok();
  }
  await seen.end();
});

test('a handle that came back is taken', async () => {
  const node = await first('durable');
  await node.client.drop();
  const back = await samba.back(node.client, 'durable');
  const again = await back.reconnect(node.open).ok();
  const other = await samba.connect('durable');
  const theirs = await other.open(node.name, asked(node.id)).ok();
  assert.equal(await again.read(0, 1).code(), 'FILE_CLOSED');
  await theirs.close().ok();
});

test('the file goes to and fro', async () => {
  const node = await first('durable');
  let open = node.open;
  for (let turn = 0; turn < 6; turn++) {
    const next = await samba.connect('durable');
    const theirs = await next.open(node.name, asked(node.id)).ok();
    assert.equal(await open.read(0, 1).code(), 'FILE_CLOSED');
    open = theirs;
  }
  await open.close().ok();
});

test('what the holder is doing comes to its end first', async () => {
  const id = newGuid();
  const name = newName();
  const client = await samba.connect('durable');
  const how = { share: Share.ALL };
  const blocker = await client.open(name).ok();
  await blocker.lock({ offset: 0, length: 10 }).ok();
  const open = await client.open(name, asked(id, how)).ok();
  const waiting = open.lock({ offset: 0, length: 10 }, { blocking: true }).code();
  const writes = Array.from({ length: 20 }, (_, i) =>
    open.write(1_000_000 * (i + 1), Buffer.alloc(1_000_000, i)).code(),
  );
  const other = await samba.connect('durable');
  const theirs = await other.open(name, asked(id, how)).ok();
  assert.equal(await waiting, 'RANGE_NOT_LOCKED');
  for (const code of await Promise.all(writes)) assert.ok(/SUCCESS|FILE_CLOSED/.test(code), code);
  assert.equal(await open.read(0, 1).code(), 'FILE_CLOSED');
  await theirs.close().ok();
  await blocker.close().ok();
});

test('a file that goes with its open is not opened after its end', async () => {
  const options = CreateOption.NON_DIRECTORY_FILE | CreateOption.DELETE_ON_CLOSE;
  const { open, name, id } = await first('durable', { options });
  const other = await samba.connect('durable');
  assert.equal(await other.open(name, asked(id)).code(), 'DELETE_PENDING');
  assert.equal(await open.read(0, 1).code(), 'FILE_CLOSED');
  const anew = await other.open(name, asked(id)).ok();
  assert.equal(anew.result.endOfFileBytes, 0n);
  assert.ok(existsSync(samba.sharePath('durable', name)));
  await anew.close().ok();
});

const strangers: Record<string, (node: Node) => Promise<string>> = {
  'another instance': async ({ name }) => {
    const other = await samba.connect('durable');
    return other.open(name, asked(newGuid())).code();
  },
  'no instance': async ({ name }) => {
    const other = await samba.connect('durable');
    return other.open(name, { ...optionsOf(USUAL), share: Share.NONE }).code();
  },
  'the same client': async ({ name, id, client }) => {
    const other = await samba.connect('durable', { clientGuid: client.clientGuid });
    return other.open(name, asked(id)).code();
  },
  'another share of the same directory': async ({ name, id }) => {
    const other = await samba.connect('twin');
    return other.open(name, asked(id)).code();
  },
  'dialect 2.1': async ({ name, id }) => {
    const other = await samba.connect('durable', { dialect: Dialect.SMB_2_1 });
    return other.open(name, asked(id, { durable: { version: 1 }, oplock: Oplock.BATCH })).code();
  },
};

for (const [who, come] of Object.entries(strangers)) {
  test(`${who} takes nothing`, async () => {
    const node = await first('durable');
    acknowledgeBreaks(node.client);
    assert.equal(await come(node), 'SHARING_VIOLATION');
    await node.open.write(0, 'mine').ok();
    await node.open.close().ok();
  });
}

test('another file is not taken', async () => {
  const node = await first('durable');
  const other = await samba.connect('durable');
  const theirs = await other.open(newName(), asked(node.id)).ok();
  await node.open.write(0, 'mine').ok();
  await theirs.close().ok();
  await node.open.close().ok();
});

test('who may not read the file takes nothing', async () => {
  const node = await first('durable');
  acknowledgeBreaks(node.client);
  const path = samba.sharePath('durable', node.name);
  const { user2: user, password2: password } = samba.status();
  const other = await samba.connect('durable', { user, password });
  const look = asked(node.id, { access: Access.READ_ATTRIBUTES });
  chmodSync(path, 0o600);
  await (await other.open(node.name, look).ok()).close().ok();
  await node.open.write(0, 'mine').ok();
  chmodSync(path, 0o644);
  await (await other.open(node.name, look).ok()).close().ok();
  assert.equal(await node.open.write(0, 'mine').code(), 'FILE_CLOSED');
});

const v = (high: number, low: number) => ({ high: BigInt(high), low: BigInt(low) });
type Version = ReturnType<typeof v> | undefined;
const versions: [what: string, Version, Version, taken: boolean][] = [
  ['a greater high version', v(1, 5), v(2, 0), true],
  ['a greater low version', v(1, 5), v(1, 6), true],
  ['the same version', v(1, 5), v(1, 5), false],
  ['a lower low version', v(1, 5), v(1, 4), false],
  ['a lower high version', v(2, 0), v(1, 9), false],
  ['no version, where the open has one', v(1, 0), undefined, false],
  ['a version, where the open has none', undefined, v(0, 1), true],
];

function versioned(version: Version): OpenOptions {
  return { ...optionsOf(USUAL), ...(version === undefined ? {} : { appInstanceVersion: version }) };
}

for (const where of ['connected', 'away']) {
  for (const [what, theirs, ours, taken] of versions) {
    test(`${what}, ${where}: ${taken ? 'taken' : 'FILE_FORCED_CLOSED'}`, async () => {
      const { client, open, name, id } = await first('durable', versioned(theirs), V311);
      if (where === 'away') {
        await client.drop();
        await samba.disconnected(name);
      }
      const other = await samba.connect('durable', V311);
      const reply = await other.open(name, asked(id, versioned(ours)));
      assert.equal(reply.code, taken ? 'SUCCESS' : 'FILE_FORCED_CLOSED');
      const back = where === 'away' ? await samba.back(client, 'durable', V311) : client;
      const mine = where === 'away' ? await back.reconnect(open) : undefined;
      if (taken) {
        if (mine === undefined) assert.equal(await open.read(0, 1).code(), 'FILE_CLOSED');
        else assert.equal(mine.code, 'OBJECT_NAME_NOT_FOUND');
        await reply.ok().close().ok();
      } else {
        const kept = mine === undefined ? open : mine.ok();
        await kept.write(0, 'mine').ok();
        await kept.close().ok();
      }
    });
  }
}

test('in a dialect below 3.1.1 there is no version', async () => {
  const { open, name, id } = await first('durable', versioned(v(1, 0)), V311);
  const other = await samba.connect('durable');
  const reply = await other.open(name, asked(id, versioned(v(2, 0))));
  assert.equal(reply.code, 'FILE_FORCED_CLOSED');
  await open.close().ok();
});

test('the version is kept over a resume', async () => {
  const { client, open, name, id } = await first('durable', versioned(v(3, 0)), V311);
  await client.drop();
  const back = await samba.back(client, 'durable', V311);
  const again = await back.reconnect(open).ok();
  const other = await samba.connect('durable', V311);
  const low = await other.open(name, asked(id, versioned(v(2, 0)))).code();
  assert.equal(low, 'FILE_FORCED_CLOSED');
  const theirs = await other.open(name, asked(id, versioned(v(4, 0)))).ok();
  assert.equal(await again.read(0, 1).code(), 'FILE_CLOSED');
  await theirs.close().ok();
});

test('what persistd knows of it survives its restart', async () => {
  for (const how of [optionsOf(USUAL), {}]) {
    const { open, name, id } = await first('durable', how);
    await samba.verb('kill', 'persistd');
    await samba.verb('restart', 'persistd');
    await samba.until('the handle', () => samba.handles('--all').some(endsIn(name)));
    const other = await samba.connect('durable');
    const theirs = await other.open(name, asked(id)).ok();
    assert.equal(await open.read(0, 1).code(), 'FILE_CLOSED');
    await theirs.close().ok();
  }
});

test('a holder that hangs delays nobody, and closes when it goes on', async () => {
  for (const how of [optionsOf(USUAL), {}]) {
    const { client, open, name, id } = await first('durable', how);
    acknowledgeBreaks(client);
    const pid = Number(samba.handle(name).server_id.pid);
    const other = await samba.connect('durable');
    process.kill(pid, 'SIGSTOP');
    const began = Date.now();
    const look = asked(id, { share: Share.ALL, access: Access.READ_ATTRIBUTES });
    await (await other.open(name, look).ok()).close().ok();
    const tookMs = Date.now() - began;
    process.kill(pid, 'SIGCONT');
    assert.ok(tookMs < 2_000, `${tookMs} ms`);
    await samba.until('the end', () => reasonOf(name) === 'app instance');
    assert.equal(await open.read(0, 1).code(), 'FILE_CLOSED');
  }
});

test('a holder whose smbd child was killed is no obstacle', async () => {
  for (const how of [optionsOf(USUAL), {}]) {
    const { name, id } = await first('durable', how);
    process.kill(Number(samba.handle(name).server_id.pid), 'SIGKILL');
    const other = await samba.connect('durable');
    const theirs = await other.open(name, asked(id)).ok();
    await theirs.close().ok();
  }
});

test('of several nodes that come at once one has the file in the end', async () => {
  const { name, id } = await first('durable');
  const nodes = await Promise.all([1, 2, 3, 4].map(() => samba.connect('durable')));
  for (const node of nodes) acknowledgeBreaks(node);
  const opens: Open[] = [];
  for (let round = 0; round < 10; round++) {
    const replies = await Promise.all(nodes.map((node) => node.open(name, asked(id))));
    for (const { code, value } of replies) {
      assert.ok(code === 'SUCCESS' || code === 'SHARING_VIOLATION', code);
      if (value !== undefined) opens.push(value);
    }
  }
  const codes = await Promise.all(opens.map((open) => open.read(0, 1).code()));
  assert.equal(codes.filter((code) => code === 'SUCCESS').length, 1);
  assert.ok(codes.every((code) => code === 'SUCCESS' || code === 'FILE_CLOSED'));
});

test('while persistd is away the open goes on as on stock', async () => {
  const node = await first('durable');
  acknowledgeBreaks(node.client);
  await samba.verb('kill', 'persistd');
  const other = await samba.connect('durable');
  assert.equal(await other.open(node.name, asked(node.id)).code(), 'SHARING_VIOLATION');
  await node.open.write(0, 'mine').ok();
  await samba.verb('restart', 'persistd');
  await node.open.close().ok();
});

test('smbtorture: the stock share fails, ours passes', async () => {
  const [plain, durable] = await Promise.all(
    ['plain', 'durable'].map((share) => runTests({ samba, share }, [TORTURE])),
  );
  assert.ok(plain && !passes(plain, TORTURE));
  assert.ok(durable && passes(durable, TORTURE), durable?.get(TORTURE)?.detail);
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
