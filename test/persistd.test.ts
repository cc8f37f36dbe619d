// SPDX-License-Identifier: GPL-3.0-or-later
// The real persistd, with this test in the part of smbd and, where a
// descriptor matters, the real keeper.

import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodePacket, PacketReader, PacketType, REPLY } from '../daemon/src/keeper/packet.js';
import type { InfoView, StatsView } from '../daemon/src/shared/admin.js';
import type { HandleView } from '../daemon/src/shared/handle-view.js';
import { encodeMessage, pack } from '../daemon/src/shared/message.js';
import { type HandleRecord, handleRecord } from '../daemon/src/wire/records.js';
import { encodeRequest, type SmbdEvent, type SmbdRequest } from '../daemon/src/wire/smbd.js';
import { CLIENT_GUID, cookie, record, server, stat } from './fixtures/handle.js';
import { Persistd, Requester, Smbd, Watch } from './fixtures/persistd.js';
import { Keeper } from './lib/keeper-parts.js';

const ID = cookie(1);

interface World {
  persistd: Persistd;
  smbd: Smbd;
  admin: Requester;
}

function grant(changes: Partial<HandleRecord> = {}): SmbdEvent {
  return { type: 'grant', body: record({ serverId: server(process.pid), ...changes }) };
}

function disconnect(changes: { cookie?: string; monotonicNs?: bigint } = {}): SmbdEvent {
  const monotonicNs = process.hrtime.bigint();
  const realtimeNs = BigInt(Date.now()) * 1_000_000n;
  const body = { cookie: ID, stat: stat(), path: '/srv/data/file.txt', monotonicNs, realtimeNs };
  return { type: 'disconnect', body: { ...body, ...changes } };
}

async function handles({ admin }: World, all = false): Promise<HandleView[]> {
  const { type, body } = await admin.request('list', { all });
  assert.is(type, 'ok');
  return body['handles'] as HandleView[];
}

async function stats({ admin }: World): Promise<StatsView> {
  return (await admin.request('stats', {})).body as unknown as StatsView;
}

async function info({ admin }: World): Promise<InfoView> {
  return (await admin.request('info', {})).body as unknown as InfoView;
}

/** Asks until the answer is right; the answers come as fast as they are made. */
async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + 10_000;
  while (!(await isSo())) assert.ok(Date.now() < deadlineMs, what);
}

async function inWorld(persistd: Persistd, body: (world: World) => Promise<void>): Promise<void> {
  const smbd = new Smbd(persistd);
  const admin = new Requester(persistd.address('admin.sock'));
  try {
    await body({ persistd, smbd, admin });
  } finally {
    smbd.close();
    admin.close();
    await persistd.remove();
  }
}

const alone = suite('persistd');

function persistdTest(name: string, body: (world: World) => Promise<void>): void {
  alone(name, async () => inWorld(await new Persistd().start(), body));
}

persistdTest('hello is welcomed with an epoch, and the child is counted', async (world) => {
  const { type, body } = await world.smbd.hello();
  assert.is(type, 'welcome');
  assert.is((body['epoch'] as Uint8Array).length, 16);
  const told = await info(world);
  assert.is(told.smbds, 1);
  assert.is(told.keeper, null);
  assert.is(told.storePath, world.persistd.storeDir);
});

persistdTest('a handle is granted, disconnected, claimed and resumed', async (world) => {
  const { smbd } = world;
  assert.is((await smbd.events(grant(), disconnect())).type, 'ack');
  const verdict = await smbd.claim();
  assert.is(verdict.type, 'verdict');
  assert.is(verdict.body['verdict'], 'resume');
  assert.is(String(verdict.body['path']), '/srv/data/file.txt');
  assert.is((await handles(world))[0]!.state, 'claimed');
  await smbd.events({ type: 'resumed', body: record({ serverId: smbd.server }) });
  const [handle] = await handles(world);
  assert.is(handle!.state, 'connected');
  assert.is(handle!.resumes, 1);
  const { grants, disconnects, resumes, handles: current } = await stats(world);
  assert.equal([grants, disconnects, resumes], [1, 1, 1]);
  assert.equal(current, { state: { connected: 1 }, kind: { durable: 1 }, share: { data: 1 } });
});

persistdTest('a claim waits for the disconnect that another smbd child sends', async (world) => {
  const { persistd, smbd } = world;
  await smbd.events(grant());
  const other = new Smbd(persistd, process.ppid);
  try {
    const [verdict] = await Promise.all([other.claim(), smbd.events(disconnect())]);
    assert.is(verdict.body['verdict'], 'resume');
  } finally {
    other.close();
  }
});

persistdTest('a handle that is connected elsewhere is refused with its holder', async (world) => {
  const { smbd } = world;
  await smbd.events(grant());
  const { body } = await smbd.claim();
  assert.is(body['reason'], 'connected');
  assert.is(body['final'], false);
  assert.is((body['serverId'] as { pid: number }).pid, process.pid);
});

persistdTest('a handle expires in time and not early', async (world) => {
  const watch = new Watch(world.persistd);
  try {
    // Until this subscription has arrived, events pass it by.
    let number = 100;
    const seen = watch.next('grant');
    let arrived = false;
    void seen.then(() => {
      arrived = true;
    });
    await until('a subscription', async () => {
      await world.smbd.events(grant({ cookie: cookie(number++) }));
      return arrived;
    });
    const timeoutMs = 300;
    const gone = disconnect();
    await world.smbd.events(grant({ timeoutMs }), gone);
    const event = await watch.next('expire');
    assert.is(event.id, ID);
    assert.is(event.reason, 'expired');
    const goneMs = Number((gone as { body: { realtimeNs: bigint } }).body.realtimeNs / 1_000_000n);
    const lateMs = Date.parse(event.at) - goneMs - timeoutMs;
    assert.ok(lateMs >= 0, `${-lateMs} ms early`);
    assert.ok(lateMs <= 100, `${lateMs} ms late`);
    const { body } = await world.smbd.claim();
    assert.equal([body['reason'], body['final']], ['expired', true]);
  } finally {
    watch.close();
  }
});

persistdTest('it starts also when handles expired while it was away', async (world) => {
  const { persistd, smbd } = world;
  const ids = [1, 2, 3].map(cookie);
  // less than a new process takes to start
  for (const id of ids) {
    await smbd.events(grant({ cookie: id, timeoutMs: 200 }), disconnect({ cookie: id }));
  }
  await persistd.end('SIGKILL');
  await persistd.start();
  for (const { state } of await handles(world, true)) assert.is(state, 'expired');
});

persistdTest('killed and started again it knows its handles', async (world) => {
  const { persistd, smbd } = world;
  await smbd.events(grant(), grant({ cookie: cookie(2) }), disconnect());
  await smbd.events({
    type: 'lock',
    body: { cookie: cookie(2), start: 2n ** 63n, count: 1n, exclusive: true, note: null },
  });
  const before = await handles(world);
  await persistd.end('SIGKILL');
  await persistd.start();
  const after = await handles(world);
  assert.equal(
    after.map(({ expires_in_ms, expires_at, ...rest }) => rest),
    before.map(({ expires_in_ms, expires_at, ...rest }) => rest),
  );
  const waits = (list: HandleView[]): number => list.find(({ id }) => id === ID)!.expires_in_ms!;
  assert.ok(waits(after) <= waits(before), 'the deadline moved');
  assert.is((await smbd.claim()).body['verdict'], 'resume');
});

persistdTest('what passed while it was dead has expired when it is back', async (world) => {
  const { persistd, smbd } = world;
  const long = { monotonicNs: process.hrtime.bigint() - 59_500_000_000n };
  await smbd.events(grant(), disconnect(long));
  assert.is((await handles(world)).length, 1);
  await persistd.end('SIGKILL');
  const dueMs = performance.now() + 500;
  await persistd.start();
  await until('an expired handle', async () => (await handles(world)).length === 0);
  assert.ok(performance.now() >= dueMs);
});

persistdTest('a second one refuses to start and the first goes on', async (world) => {
  const { status, said } = await new Persistd(world.persistd.directory).refuse();
  assert.is(status, 1);
  assert.match(said, /^persistd: another persistd already runs in /);
  assert.is((await world.smbd.hello()).type, 'welcome');
});

persistdTest('garbage is counted and dropped, and the process goes on', async (world) => {
  const { smbd } = world;
  const garbage = [
    Buffer.from('GET / HTTP/1.0'),
    Buffer.alloc(0),
    pack([2, 'hello', 1, {}]),
    Buffer.from('ddffffffff', 'hex'),
    encodeMessage('events', 1, { pad: Buffer.alloc(1_100_000) }),
  ];
  for (const bytes of garbage) await smbd.socket.send(bytes);
  await smbd.socket.send([Buffer.from('two'), Buffer.from('frames')]);
  assert.is((await smbd.hello()).type, 'welcome');
  assert.equal((await stats(world)).bad_messages, { smbd: garbage.length + 1 });
  const { type, body } = await smbd.request('claim', { cookie: ID });
  assert.is(type, 'error');
  assert.is(body['code'], 'bad-request');
  assert.match(String(body['message']), 'expected bin 16');
  assert.is((await smbd.request('nonsense', {})).type, 'error');
  assert.is((await world.admin.request('show', { id: '../etc' })).body['code'], 'bad-request');
  assert.is((await world.admin.request('constructor', {})).body['code'], 'bad-request');
  assert.equal((await stats(world)).bad_messages, { smbd: garbage.length + 3, admin: 2 });
});

persistdTest('events about unknown cookies are acknowledged', async (world) => {
  const answer = await world.smbd.events(disconnect(), {
    type: 'close',
    body: { cookie: ID, reason: 'close' },
  });
  assert.is(answer.type, 'ack');
  assert.is((await stats(world)).unknown_cookies, 2);
});

persistdTest('an admin closes and extends what is disconnected, nothing else', async (world) => {
  const { admin, smbd } = world;
  await smbd.events(grant(), grant({ cookie: cookie(2) }), disconnect());
  const refused = await admin.request('close', { ids: [cookie(2)] });
  assert.is(refused.body['code'], 'refused');
  assert.match(String(refused.body['message']), `smbcontrol ${process.pid} close-share data`);
  assert.is((await admin.request('show', { id: '0' })).body['code'], 'ambiguous');
  assert.is((await admin.request('show', { id: 'f' })).body['code'], 'no-such-handle');
  const extended = await admin.request('extend', { id: ID, byMs: 60_000 });
  assert.ok((extended.body['handle'] as HandleView).expires_in_ms! > 60_000);
  const closed = await admin.request('close', { ids: [ID] });
  const [handle] = closed.body['handles'] as HandleView[];
  assert.equal([handle!.state, handle!.reason], ['closed', 'admin']);
  assert.is((await handles(world, true)).length, 2);
});

persistdTest('it stops at SIGTERM within a second', async ({ persistd, smbd }) => {
  await smbd.events(grant());
  const startMs = performance.now();
  assert.is(await persistd.end('SIGTERM'), 0);
  assert.ok(performance.now() - startMs < 1_000);
});

persistdTest('thousands of events per second are taken', async (world) => {
  const batch = 100;
  const startMs = performance.now();
  for (let round = 0; round < 50; round++) {
    const ids = Array.from({ length: batch }, (_, index) => cookie(round * batch + index + 1));
    await world.smbd.events(...ids.map((id) => grant({ cookie: id })));
    await world.smbd.events(
      ...ids.map((id): SmbdEvent => ({ type: 'close', body: { cookie: id, reason: 'close' } })),
    );
  }
  const perSecond = (100 * batch) / ((performance.now() - startMs) / 1_000);
  assert.ok(perSecond > 2_000, `${Math.round(perSecond)} events per second`);
});

alone('a run directory that others may enter is refused', async () => {
  const persistd = new Persistd();
  mkdirSync(persistd.runDir);
  chmodSync(persistd.runDir, 0o755);
  const { status, said } = await persistd.refuse();
  await persistd.remove();
  assert.is(status, 1);
  assert.match(said, /has mode 0755; it must be 0700/);
});

alone.run();

const kept = suite('persistd and the keeper');

/** Both in one run directory; `file` is what the handles are about. */
function keeperTest(name: string, body: (world: World, keeper: Keeper) => Promise<void>): void {
  kept(name, async () => {
    const keeper = await Keeper.start();
    try {
      const persistd = await new Persistd(keeper.directory).start();
      await inWorldOf(persistd, async (world) => {
        await until('a keeper', async () => (await info(world)).keeper !== null);
        await body(world, keeper);
      });
    } finally {
      await keeper.stop();
    }
  });
}

async function inWorldOf(persistd: Persistd, body: (world: World) => Promise<void>): Promise<void> {
  const smbd = new Smbd(persistd);
  const admin = new Requester(persistd.address('admin.sock'));
  try {
    await body({ persistd, smbd, admin });
  } finally {
    smbd.close();
    admin.close();
    await persistd.end();
  }
}

function used(world: World, count: number): Promise<void> {
  return until(`${count} kept descriptors`, async () => (await info(world)).keeper?.used === count);
}

const PATH = '/proc/self/exe';

/** PATH is not the file that `disconnect` describes, and would be taken for a modified one. */
const STRANGE = { localAccess: 'keep' } as const;

keeperTest(
  'a deposited descriptor makes a handle retained; expiry drops it',
  async (world, keeper) => {
    const child = await keeper.client();
    await child.run('deposit', ID, PATH, 'r');
    const smbd = new Smbd(world.persistd, child.pid);
    try {
      await smbd.events(grant({ ...STRANGE, serverId: smbd.server, timeoutMs: 500 }));
      await until('retained', async () => (await handles(world))[0]!.retained);
      await child.run('park', ID);
      await smbd.events(disconnect());
      await used(world, 0);
      const [handle] = await handles(world, true);
      assert.is(handle!.state, 'expired');
    } finally {
      smbd.close();
    }
  },
);

keeperTest(
  'when an admin closes a handle its descriptor is closed first',
  async (world, keeper) => {
    const child = await keeper.client();
    await child.run('deposit', ID, PATH, 'r');
    await child.run('park', ID);
    const smbd = new Smbd(world.persistd, child.pid);
    try {
      await smbd.events(grant({ ...STRANGE, serverId: smbd.server }), disconnect());
      assert.is((await world.admin.request('close', { ids: [ID] })).type, 'ok');
      assert.is((await info(world)).keeper!.used, 0);
    } finally {
      smbd.close();
    }
  },
);

keeperTest('a descriptor that smbd forgot to drop is dropped', async (world, keeper) => {
  const child = await keeper.client();
  await child.run('deposit', ID, PATH, 'r');
  const smbd = new Smbd(world.persistd, child.pid);
  try {
    const close: SmbdEvent = { type: 'close', body: { cookie: ID, reason: 'close' } };
    await smbd.events(grant({ serverId: smbd.server }));
    await until('retained', async () => (await handles(world))[0]!.retained);
    await smbd.events(close);
    await used(world, 0);
  } finally {
    smbd.close();
  }
});

keeperTest('an smbd child that is killed leaves its handle as an orphan', async (world, keeper) => {
  const child = await keeper.client();
  await child.run('deposit', ID, PATH, 'r');
  const smbd = new Smbd(world.persistd, child.pid);
  try {
    await smbd.events(grant({ serverId: smbd.server }));
    await child.end();
    await until('a disconnect', async () => (await handles(world)).length === 1);
    const [handle] = await handles(world);
    assert.equal([handle!.state, handle!.orphan, handle!.retained], ['disconnected', true, true]);
    await used(world, 1);
  } finally {
    smbd.close();
  }
});

keeperTest(
  'a keeper that is lost takes the disconnected handles with it',
  async (world, keeper) => {
    await world.smbd.events(grant(), grant({ cookie: cookie(2) }), disconnect());
    assert.is((await handles(world)).length, 2);
    keeper.child.kill('SIGKILL');
    await until('a lost keeper', async () => (await info(world)).keeper === null);
    assert.is((await handles(world)).length, 2);
    const fake = await FakeKeeper.listen(keeper.path('control.sock'), []);
    try {
      await until('a lost handle', async () => (await handles(world)).length === 1);
      const lost = (await handles(world, true)).find(({ id }) => id === ID);
      assert.equal([lost!.state, lost!.reason], ['failed', 'descriptor-lost']);
      assert.is((await stats(world)).keeper_reconnects, 1);
    } finally {
      fake.close();
    }
  },
);

/** Another smbd child comes for the file of `record()`. */
function come(smbd: Smbd, request: SmbdRequest): ReturnType<Smbd['request']> {
  return smbd.request(request.type, encodeRequest(request));
}

function openerOf(smbd: Smbd) {
  const { dev, ino } = record();
  return { serverId: smbd.server, clientAddress: '192.0.2.9', dev, ino };
}

/**
 * Deposited by a child that then lost its client: the keeper knows, persistd
 * has not been told.
 */
async function parked(world: World, keeper: Keeper, changes: Partial<HandleRecord>, how = 0) {
  const child = await keeper.client();
  const smbd = new Smbd(world.persistd, child.pid);
  await child.run('deposit', ID, PATH, 'r');
  await smbd.events(grant({ serverId: smbd.server, ...changes }));
  const { surrogate } = await child.run('park', ID, how);
  return { smbd, surrogate: Number(surrogate) };
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

keeperTest('a forgetful client has its own orphan out of its way', async (world, keeper) => {
  const { smbd, surrogate } = await parked(world, keeper, { kind: 'resilient' }, 1);
  try {
    assert.ok(exists(surrogate));
    const { leaseKey, clientGuid } = record();
    const own = { ...openerOf(world.smbd), clientGuid, leaseKey, createGuid: null };
    const stranger = { ...own, clientGuid: 'ee'.repeat(16) };
    const spared = await come(world.smbd, { type: 'arrive', body: stranger });
    assert.equal([spared.type, spared.body['ended']], ['arrived', []]);
    assert.ok(exists(surrogate));
    const answer = await come(world.smbd, { type: 'arrive', body: own });
    assert.not(exists(surrogate), 'what protected it was there when the answer came');
    assert.equal([answer.type, answer.body['ended']], ['arrived', [1]]);
    assert.is((await info(world)).keeper!.used, 0);
    const [handle] = await handles(world, true);
    assert.equal([handle!.state, handle!.reason], ['superseded', 'own orphan']);
  } finally {
    smbd.close();
  }
});

keeperTest('a contended durable handle is gone when it is answered', async (world, keeper) => {
  const { smbd } = await parked(world, keeper, {});
  try {
    const body = { ...openerOf(world.smbd), accessMask: 0x81, alive: [] };
    const alive = { ...body, alive: [record().persistentId] };
    assert.is((await come(world.smbd, { type: 'contend', body: alive })).body['ended'], 0);
    const answer = await come(world.smbd, { type: 'contend', body });
    assert.equal([answer.type, answer.body['ended']], ['contended', 1]);
    assert.is((await info(world)).keeper!.used, 0);
  } finally {
    smbd.close();
  }
});

keeperTest(
  'a contended resilient handle stays protected, and its level lost, whoever dies',
  async (world, keeper) => {
    const { smbd, surrogate } = await parked(world, keeper, { kind: 'resilient' }, 1);
    try {
      await smbd.events(disconnect());
      const body = { ...openerOf(world.smbd), accessMask: 0x81, alive: [] };
      const answer = await come(world.smbd, { type: 'contend', body });
      assert.is(answer.body['ended'], 0);
      await world.persistd.end('SIGKILL');
      assert.ok(exists(surrogate));
      await world.persistd.start();
      const { dev, ino } = record();
      const conflict = { dev, ino, clientAddress: '192.0.2.9', status: 'SHARING_VIOLATION' };
      await world.smbd.events({ type: 'conflict', body: conflict });
      const [handle] = await handles(world);
      assert.equal([handle!.kind, handle!.state], ['resilient', 'disconnected']);
      assert.equal([handle!.level_lost, handle!.refused_others], [true, 1]);
      assert.match(handle!.last_refused!, /^192\.0\.2\.9 \(SHARING_VIOLATION\) at /);
      const verdict = await world.smbd.claim();
      assert.equal([verdict.body['verdict'], verdict.body['levelLost']], ['resume', true]);
    } finally {
      smbd.close();
    }
  },
);

/** Answers LIST with parked entries of these records, and DROP with success. */
class FakeKeeper {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly dropped: string[] = [];

  private constructor(records: readonly HandleRecord[]) {
    this.#server = createServer((socket) => this.#serve(socket, records));
  }

  static async listen(path: string, records: readonly HandleRecord[]): Promise<FakeKeeper> {
    rmSync(path, { force: true });
    const keeper = new FakeKeeper(records);
    await new Promise<void>((resolve) => keeper.#server.listen(path, resolve));
    return keeper;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket: Socket, records: readonly HandleRecord[]): void {
    this.#sockets.add(socket);
    const reader = new PacketReader();
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      for (const { type, seq, cookie: id } of reader.push(chunk)) {
        const send = (reply: number, to: string, payload: Buffer): void => {
          socket.write(encodePacket({ type: reply, seq, cookie: to, payload }));
        };
        if (type === PacketType.LIST) {
          for (const each of records) send(PacketType.ENTRY, each.cookie, parkedEntry(each));
          send(PacketType.LIST_END, id, Buffer.alloc(4));
        } else if (type === PacketType.DROP) {
          this.dropped.push(id);
          send(PacketType.DROP | REPLY, id, Buffer.alloc(4));
        } else {
          send(PacketType.INFO | REPLY, id, Buffer.alloc(28));
        }
      }
    });
  }
}

function parkedEntry(each: HandleRecord): Buffer {
  const fixed = Buffer.alloc(84);
  const { dev, ino, nlink, sizeBytes, mtimeNs, ctimeNs } = stat();
  const bytes = pack(handleRecord.encode(each));
  fixed.writeUInt8(2, 0);
  fixed.writeUInt32LE(process.pid, 4);
  fixed.writeBigUInt64LE(process.hrtime.bigint(), 8);
  fixed.writeBigUInt64LE(BigInt(Date.now()) * 1_000_000n, 16);
  fixed.writeBigUInt64LE(dev, 24);
  fixed.writeBigUInt64LE(ino, 32);
  fixed.writeBigUInt64LE(nlink, 40);
  fixed.writeBigUInt64LE(sizeBytes, 48);
  fixed.writeBigInt64LE(mtimeNs, 56);
  fixed.writeBigInt64LE(ctimeNs, 64);
  fixed.writeUInt16LE(bytes.length, 80);
  return Buffer.concat([fixed, bytes]);
}

kept('a handle that only the keeper knows is taken over, resumed and dropped', async () => {
  const persistd = await new Persistd().start();
  const fake = await FakeKeeper.listen(join(persistd.runDir, 'control.sock'), [record()]);
  await inWorld(persistd, async (world) => {
    await until('a handle', async () => (await handles(world)).length === 1);
    const [handle] = await handles(world);
    assert.equal([handle!.state, handle!.retained], ['disconnected', true]);
    const { body } = await world.smbd.claim({ clientGuid: CLIENT_GUID });
    assert.is(body['verdict'], 'resume');
    const refusal = { cookie: ID, reason: 'no such file', final: true };
    await world.smbd.events({ type: 'resumeFailed', body: refusal });
    await until('a drop', async () => fake.dropped.includes(ID));
    fake.close();
  });
});

kept.run();
