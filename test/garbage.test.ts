// SPDX-License-Identifier: GPL-3.0-or-later
/** Bad bytes on persistd's sockets, while a client of smbd has its handles there. */
import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import { Dealer } from 'zeromq';
import { encodeMessage, MAX_REQUEST_BYTES } from '../daemon/src/shared/message.js';
import {
  CLAIM,
  ENDPOINTS,
  type Endpoint,
  GOOD,
  HELLO,
  nonsense,
  WRONG,
} from './fixtures/garbage.js';
import { Requester } from './fixtures/persistd.js';
import { type Account, connect, dropAll, durableOptions, newName } from './lib/day.js';
import { DevSamba, sameDescription } from './lib/dev-samba.js';
import type { Open, Smb2Client } from './lib/smb2/index.js';

const samba = await DevSamba.up();
const { port, user, password } = samba.status();
const account: Account = { port, user, password, share: 'durable' };
const socketPath = (endpoint: Endpoint): string => join(samba.dir, 'run', `${endpoint}.sock`);
const address = (endpoint: Endpoint): string => `ipc://${socketPath(endpoint)}`;
const persistdPid = samba.pid('persistd');
const admin = new Requester(address('admin'));
const test = suite('garbage');

async function badMessages(endpoint: Endpoint): Promise<number> {
  const { body } = await admin.request('stats', {});
  return (body['bad_messages'] as Record<Endpoint, number | undefined>)[endpoint] ?? 0;
}

/** By another connection than the one that misbehaved. */
async function assertAnswers(endpoint: Endpoint): Promise<void> {
  const other = new Requester(address(endpoint));
  try {
    const { type } = await other.request(...GOOD[endpoint]);
    assert.ok(['welcome', 'ok'].includes(type), type);
  } finally {
    other.close();
  }
  assert.equal(samba.pid('persistd'), persistdPid);
}

for (const endpoint of ENDPOINTS) {
  for (const [what, frames] of Object.entries(nonsense(GOOD[endpoint]))) {
    test(`${endpoint}.sock: ${what} is counted and dropped`, async () => {
      const before = await badMessages(endpoint);
      const socket = new Dealer({ linger: 5_000 });
      socket.connect(address(endpoint));
      await socket.send(frames);
      while ((await badMessages(endpoint)) === before);
      socket.close();
      await assertAnswers(endpoint);
      assert.equal(await badMessages(endpoint), before + 1);
    });
  }

  for (const [what, [type, body]] of Object.entries(WRONG[endpoint])) {
    test(`${endpoint}.sock: ${what} is counted and refused`, async () => {
      const before = await badMessages(endpoint);
      const socket = new Requester(address(endpoint));
      const answer = await socket.request(type, body);
      socket.close();
      assert.equal(answer.type, 'error');
      assert.equal(answer.body['code'], 'bad-request');
      assert.equal(await badMessages(endpoint), before + 1);
      await assertAnswers(endpoint);
    });
  }

  test(`${endpoint}.sock: a frame of many megabytes ends that connection only`, async () => {
    const socket = new Dealer({ linger: 0, sendTimeout: 5_000 });
    socket.connect(address(endpoint));
    await socket.send(Buffer.alloc(64 * MAX_REQUEST_BYTES));
    await assertAnswers(endpoint);
    socket.close();
  });

  test(`${endpoint}.sock: what is not even ZeroMQ ends that connection only`, async () => {
    for (const bytes of [randomBytes(4_096), Buffer.from('GET / HTTP/1.0\r\n\r\n')]) {
      const socket = createConnection(socketPath(endpoint));
      await once(socket, 'connect');
      socket.on('error', () => undefined);
      socket.end(bytes);
      await assertAnswers(endpoint);
      socket.destroy();
    }
  });

  test(`${endpoint}.sock: it was logged`, () => {
    const log = readFileSync(join(samba.dir, 'log/persistd.log'), 'utf8');
    const lines = log.split('\n').filter((line) => line.includes('bad message dropped'));
    assert.ok(lines.some((line) => JSON.parse(line).endpoint === endpoint));
  });
}

function isPossessed(open: Open): boolean {
  const { dev, ino } = statSync(samba.sharePath('durable', open.path));
  const keeper = samba.pid('keeper');
  return samba.status().clientPids.some((pid) => sameDescription(pid, keeper, dev, ino));
}

/** The handle's client comes back, and its file is as it left it. */
async function comeBack(old: Smb2Client, open: Open): Promise<[Smb2Client, Open]> {
  const client = await connect(account, old);
  const again = await client.reconnect(open).ok();
  assert.equal(String(await again.read(0, 10).ok()), 'kept');
  return [client, again];
}

test('five thousand damaged messages are answered or counted, and no client suffers', async () => {
  const before = await connect(account);
  const open = await before.open(newName(), durableOptions()).ok();
  await open.write(0, 'kept').ok();
  const socket = new Dealer({ linger: 5_000 });
  socket.connect(address('smbd'));
  const counted = await badMessages('smbd');
  // harmless ones, should the damage leave them well-formed
  const seeds = [encodeMessage('hello', 1, HELLO), encodeMessage('claim', 1, CLAIM)];
  const send = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const bytes = Buffer.from(seeds[i % seeds.length]!);
      for (const at of randomBytes(1 + (i % 3))) bytes[at % bytes.length] = randomBytes(1)[0]!;
      await socket.send(i % 7 === 0 ? randomBytes(1 + (i % 500)) : bytes);
    }
  };
  await send(2_500);
  await before.drop();
  const [midst, again] = await comeBack(before, open);
  await again.close().ok();
  await send(2_500);
  const next = await midst.open(newName(), durableOptions()).ok();
  await next.write(0, 'kept').ok();
  socket.close();
  await assertAnswers('smbd');
  await samba.until('persistd has seen to all of it', () => samba.handle(next.path).retained);
  assert.ok((await badMessages('smbd')) > counted + 500);

  await midst.drop();
  await samba.disconnected(next.path);
  const [, last] = await comeBack(midst, next);
  assert.ok(isPossessed(last), 'the description that was kept');
  await last.close().ok();
  await samba.nothingLeft();
});

test.after.each(dropAll);
test.after(async () => {
  admin.close();
  await samba.down();
});
test.run();
