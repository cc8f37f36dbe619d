// SPDX-License-Identifier: GPL-3.0-or-later
/** The SMB2 client of the other tests, against a stock smbd. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DevSamba } from './lib/dev-samba.js';
import {
  Access,
  type ClientOptions,
  CreateAction,
  CreateOption,
  Dialect,
  Disposition,
  LeaseState,
  newGuid,
  type Open,
  Oplock,
  Share,
  Smb2Client,
} from './lib/smb2/index.js';
import { md4 } from './lib/smb2/md4.js';
import { aesCmac } from './lib/smb2/signing.js';

const algorithms = suite('SMB2 client: algorithms');

algorithms('MD4 gives the digests of RFC 1320', () => {
  assert.is(md4(Buffer.from('')).toString('hex'), '31d6cfe0d16ae931b73c59d7e0c089c0');
  assert.is(md4(Buffer.from('abc')).toString('hex'), 'a448017aaf21d8525fc10ae87aa6729d');
  const digits = Buffer.from('1234567890'.repeat(8));
  assert.is(md4(digits).toString('hex'), 'e33b4ddc9c38f2199c3e7b164fcc0536');
});

algorithms('AES-CMAC gives the tags of RFC 4493', () => {
  const key = Buffer.from('2b7e151628aed2a6abf7158809cf4f3c', 'hex');
  const message = Buffer.from(
    '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411',
    'hex',
  );
  const tag = (length: number) => aesCmac(key, message.subarray(0, length)).toString('hex');
  assert.is(tag(0), 'bb1d6929e95937287fa37d129b756746');
  assert.is(tag(16), '070a16b46b4d4144f79bdd9dd04a287c');
  assert.is(tag(40), 'dfa66747de9ae63030ca32611497c827');
});

const samba = await DevSamba.up('--plain-only');
const { port, user, password } = samba.status();
const stock = suite('SMB2 client beside stock smbd');
let clients: Smb2Client[] = [];
let fileCount = 0;

const newPath = () => `smb2-client-${process.pid}-${++fileCount}.dat`;

async function connect(options: Partial<ClientOptions> = {}): Promise<Smb2Client> {
  const where = { port, user, password, share: 'plain' };
  const client = await Smb2Client.connect({ ...where, ...options });
  clients.push(client);
  return client;
}

/** Drops a client's network and comes back as the same client. */
async function comeBack(gone: Smb2Client): Promise<Smb2Client> {
  const { clientGuid } = gone;
  await gone.drop();
  // Naming the previous session makes smbd finish with the old connection first.
  return connect({
    clientGuid,
    previousSessionId: gone.session.id,
    dialect: gone.session.negotiated.dialect,
  });
}

async function deleteAndClose(open: Open): Promise<void> {
  await open.info.setDeletePending(true).ok();
  await open.close().ok();
}

stock.after.each(async () => {
  await Promise.all(clients.map((client) => client.drop()));
  clients = [];
});

for (const [name, dialect] of Object.entries(Dialect)) {
  for (const requireSigning of [false, true]) {
    stock(`${name} writes and reads${requireSigning ? ', all signed' : ''}`, async () => {
      const client = await connect({ dialect, requireSigning });
      const open = await client.open(newPath(), { maximalAccess: true, queryOnDiskId: true }).ok();
      assert.is(open.result.createAction, CreateAction.CREATED);
      assert.is(open.granted.maximalAccess?.access, 0x1f01ff);
      assert.ok(open.granted.onDiskId);
      const data = Buffer.alloc(300_000, 'persistent');
      assert.is(await open.write(10, data).ok(), data.length);
      await open.flush().ok();
      assert.ok((await open.read(10, data.length).ok()).equals(data));
      assert.is(await open.read(data.length + 10, 1).code(), 'END_OF_FILE');
      await deleteAndClose(open);
      await client.logoff();
    });
  }
}

stock('a wrong password is refused by name', async () => {
  try {
    await connect({ password: 'wrong' });
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'SESSION_SETUP was answered with LOGON_FAILURE');
  }
});

stock('an anonymous session reaches IPC$', async () => {
  const options = { port: Number(port), share: 'IPC$', dialect: Dialect.SMB_3_1_1 };
  const client = await Smb2Client.connect(options);
  clients.push(client);
  assert.is(await client.echo().code(), 'SUCCESS');
});

stock('information can be read and set, and a rename shows', async () => {
  const client = await connect();
  const [path, renamed] = [newPath(), newPath()];
  const open = await client.open(path).ok();
  await open.info.setEndOfFile(5000n).ok();
  await open.info.setAllocation(8192n).ok();
  await open.info.setPosition(77n).ok();
  const lastWriteTime = 131_000_000_000_000_000n;
  await open.info.setBasic({ lastWriteTime }).ok();
  await open.info.rename(renamed).ok();
  const all = await open.info.all().ok();
  assert.is(all.standard.endOfFileBytes, 5000n);
  assert.is(all.basic.lastWriteTime, lastWriteTime);
  assert.is(await open.info.position().ok(), 77n);
  assert.is(all.name.replace(/^\\/, ''), renamed);
  const listed = (await client.tree.list('', 'smb2-client-*')).map(({ name }) => name);
  assert.ok(listed.includes(renamed));
  assert.not(listed.includes(path));
  await deleteAndClose(open);
  const gone = client.open(renamed, { disposition: Disposition.OPEN });
  assert.is(await gone.code(), 'OBJECT_NAME_NOT_FOUND');
});

stock('a file is deleted with its last close', async () => {
  const client = await connect();
  const path = newPath();
  const options = CreateOption.NON_DIRECTORY_FILE | CreateOption.DELETE_ON_CLOSE;
  await (await client.open(path, { options }).ok()).close().ok();
  assert.is(
    await client.open(path, { disposition: Disposition.OPEN }).code(),
    'OBJECT_NAME_NOT_FOUND',
  );
});

stock('share modes are enforced', async () => {
  const client = await connect();
  const path = newPath();
  const open = await client.open(path, { share: Share.NONE }).ok();
  assert.is(await client.open(path, { access: Access.READ }).code(), 'SHARING_VIOLATION');
  await deleteAndClose(open);
});

stock('byte-range locks conflict, wait, are granted and are cancelled', async () => {
  const client = await connect();
  const path = newPath();
  const [first, second] = [await client.open(path).ok(), await client.open(path).ok()];
  const ranges = [
    { offset: 0, length: 10 },
    { offset: 100, length: 10 },
  ];
  await first.lock(ranges, { sequence: { index: 1, number: 1 } }).ok();
  assert.is(await second.lock({ offset: 5, length: 1 }).code(), 'LOCK_NOT_GRANTED');
  assert.is(await second.write(100, 'x').code(), 'FILE_LOCK_CONFLICT');
  await second.lock({ offset: 50, length: 1 }, { shared: true }).ok();

  const cancelled = second.lock({ offset: 0, length: 1 }, { blocking: true });
  assert.ok(await cancelled.pending);
  cancelled.cancel();
  assert.is(await cancelled.code(), 'CANCELLED');

  const waiting = second.lock({ offset: 100, length: 1 }, { blocking: true });
  assert.ok(await waiting.pending);
  await first.unlock(ranges).ok();
  assert.is(await waiting.code(), 'SUCCESS');
  await first.close().ok();
  await deleteAndClose(second);
});

stock('two thousand reads are in flight at once', async () => {
  const client = await connect();
  const open = await client.open(newPath()).ok();
  await open.write(0, Buffer.from(Array.from({ length: 2000 }, (_, i) => i % 251))).ok();
  const reads = Array.from({ length: 2000 }, (_, i) => open.read(i, 1).ok());
  assert.ok(client.connection.inFlight > 500);
  const bytes = await Promise.all(reads);
  assert.ok(bytes.every((byte, i) => byte[0] === i % 251));
  await deleteAndClose(open);
});

stock('a batch oplock is broken by a second client', async () => {
  const [holder, other] = [await connect(), await connect()];
  const path = newPath();
  const held = await holder.open(path, { oplock: Oplock.BATCH }).ok();
  assert.is(held.oplock, Oplock.BATCH);
  const opening = other.open(path);
  const broken = await holder.oplockBreaks.next();
  assert.ok(broken.fileId.equals(held.fileId));
  assert.is(broken.level, Oplock.LEVEL_II);
  assert.ok(await opening.pending);
  await broken.ack().ok();
  await (await opening.ok()).close().ok();
  await deleteAndClose(held);
});

for (const version of [1, 2] as const) {
  stock(`an RWH lease v${version} is broken by a second client`, async () => {
    const dialect = version === 1 ? Dialect.SMB_2_1 : Dialect.SMB_3_0_2;
    const [holder, other] = [await connect({ dialect }), await connect()];
    const path = newPath();
    const key = newGuid();
    const held = await holder.open(path, { lease: { key, state: LeaseState.RWH } }).ok();
    assert.is(held.granted.lease?.version, version);
    assert.is(held.granted.lease?.state, LeaseState.RWH);
    const opening = other.open(path);
    const broken = await holder.leaseBreaks.next();
    assert.ok(broken.key.equals(key));
    assert.ok(broken.ackRequired);
    assert.is(broken.newState, LeaseState.RH);
    await broken.ack().ok();
    await (await opening.ok()).close().ok();
    await deleteAndClose(held);
  });
}

stock('a durable v1 handle is dropped and resumed by DHnC', async () => {
  const client = await connect({ dialect: Dialect.SMB_2_1 });
  const held = await client.open(newPath(), { oplock: Oplock.BATCH, durable: { version: 1 } }).ok();
  assert.ok(held.granted.durableV1);
  await held.write(0, 'before').ok();
  const back = await comeBack(client);
  const resumed = await back.reconnect(held).ok();
  assert.is(resumed.fileId.persistent, held.fileId.persistent);
  assert.is(resumed.oplock, Oplock.BATCH);
  assert.is((await resumed.read(0, 6).ok()).toString(), 'before');
  await deleteAndClose(resumed);
});

stock('a durable v1 handle with a lease is resumed by DHnC', async () => {
  const client = await connect();
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const held = await client.open(newPath(), { lease, durable: { version: 1 } }).ok();
  assert.ok(held.granted.durableV1);
  const resumed = await (await comeBack(client)).reconnect(held).ok();
  assert.is(resumed.granted.lease?.state, LeaseState.RWH);
  await deleteAndClose(resumed);
});

stock('a durable v2 handle is resumed by DH2C, and by its own create GUID only', async () => {
  const client = await connect();
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const durable = { version: 2, timeoutMs: 30_000 } as const;
  const held = await client.open(newPath(), { lease, durable }).ok();
  assert.equal(held.granted.durableV2, { timeoutMs: 30_000, persistent: false });
  const back = await comeBack(client);
  const { fileId } = held;
  const wrong = back.reconnect(held, { reconnect: { fileId, createGuid: newGuid() } });
  assert.is(await wrong.code(), 'OBJECT_NAME_NOT_FOUND');
  const resumed = await back.reconnect(held).ok();
  assert.is(resumed.fileId.persistent, fileId.persistent);
  assert.is(await resumed.write(0, 'after').ok(), 5);
  await deleteAndClose(resumed);
});

stock('every other create context is taken', async () => {
  const client = await connect();
  const open = await client
    .open(newPath(), {
      lease: { key: newGuid(), state: LeaseState.RH, parentKey: newGuid(), epoch: 5 },
      durable: { version: 2, persistent: true },
      allocationSizeBytes: 1_048_576n,
      appInstanceId: newGuid(),
      appInstanceVersion: { high: 1n, low: 2n },
      contexts: [{ name: 'ABCD', data: Buffer.from('nobody knows this one') }],
    })
    .ok();
  assert.is(open.createGuid?.length, 16);
  assert.is(open.granted.durableV2?.persistent, false);
  assert.is(open.granted.lease?.epoch, 6);
  await deleteAndClose(open);
});

stock('a replayed create finds the open that its create GUID made', async () => {
  const client = await connect();
  const path = newPath();
  const options = { oplock: Oplock.BATCH, durable: { version: 2, createGuid: newGuid() } } as const;
  const open = await client.open(path, options).ok();
  const replayed = await client.open(path, options, { replay: true }).ok();
  assert.ok(replayed.fileId.equals(open.fileId));
  await deleteAndClose(open);
});

stock('a write with a stale channel sequence is refused', async () => {
  const client = await connect();
  const open = await client.open(newPath()).ok();
  client.connection.channelSequence = 2;
  await open.write(0, 'new').ok();
  const stale = open.write(0, 'old', { channelSequence: 1 });
  assert.is(await stale.code(), 'FILE_NOT_AVAILABLE');
  await deleteAndClose(open);
});

stock('stock smbd knows no resilient handles', async () => {
  const client = await connect();
  const open = await client.open(newPath()).ok();
  assert.is(await open.requestResiliency(30_000).code(), 'INVALID_DEVICE_REQUEST');
  await deleteAndClose(open);
});

stock('a partition times out, and heals', async () => {
  const client = await connect();
  client.partition();
  const lost = client.session.echo({ timeoutMs: 100 }).ok();
  const message = await lost.then(String, (error: Error) => error.message);
  assert.match(message, /^ECHO to 127\.0\.0\.1:\d+: no answer within 100 ms$/);
  client.heal();
  assert.is(await client.echo().code(), 'SUCCESS');
});

stock('a drop ends the calls under way', async () => {
  const client = await connect();
  const call = client.echo();
  await client.drop();
  await client.closed;
  const message = await call.ok().then(String, (error: Error) => error.message);
  assert.match(message, /the connection ended \(dropped by this client\)$/);
});

stock.after(() => samba.down());
algorithms.run();
stock.run();
