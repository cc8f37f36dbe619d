// SPDX-License-Identifier: GPL-3.0-or-later
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packetBytes } from './lib/keeper-control.js';
import { newCookie, refusedStart } from './lib/keeper-parts.js';
import { keeperTest, makeFile, REFUSED } from './lib/keeper-suite.js';

const { EACCES, EBADMSG, EINVAL, EMFILE, EMSGSIZE } = constants.errno;

async function assertRejects(promise: Promise<unknown>, message: string): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: Error) => reason,
  );
  assert.is(error?.message, message);
}

keeperTest(
  'a full table refuses, and says so to both sides',
  async (keeper) => {
    const control = await keeper.control();
    const client = await keeper.client();
    const file = makeFile(keeper);
    const cookies = [newCookie(), newCookie(), newCookie()];
    await client.run('deposit', cookies[0] ?? '', file.path, 'rw');
    await client.run('deposit', cookies[1] ?? '', file.path, 'rw');
    const before = keeper.descriptorCount();
    const refused = await client.run('deposit', cookies[2] ?? '', file.path, 'rw');
    assert.equal(refused, { status: -EMFILE });
    assert.is(keeper.descriptorCount(), before);
    const told = await control.packets.take((one) => one.type === REFUSED);
    assert.is(told.cookie, cookies[2]);
    assert.is(told.payload.readInt32LE(0), -EMFILE);
    const { used, limit, refused: count } = await control.info();
    assert.equal([used, limit, count], [2, 2, 1]);
    await client.run('dropsync', cookies[0] ?? '');
    assert.equal(await client.run('deposit', cookies[2] ?? '', file.path, 'rw'), { status: 0 });
    await control.close();
  },
  ['--max-descriptors', '2'],
);

keeperTest('a descriptor that the kernel dropped is refused, not kept', async (keeper) => {
  const client = await keeper.client();
  const file = makeFile(keeper);
  await client.run('query', 1, 1);
  const before = keeper.descriptorCount();
  const limit = (soft: string) =>
    execFileSync('prlimit', ['--pid', String(keeper.pid), `--nofile=${soft}:`]);
  limit(String(before));
  assert.equal(await client.run('deposit', newCookie(), file.path, 'rw'), { status: -EBADMSG });
  assert.equal(await client.run('deposit', newCookie(), file.path, 'rw', 3), { status: -EBADMSG });
  const late = await keeper.client();
  const turnedAway = await keeper.log.take((line) => line.includes('no descriptor left'));
  assert.match(turnedAway, 'keeper.sock');
  assert.equal(await late.run('receive'), { closed: true });
  limit('1000');
  assert.equal(await client.run('deposit', newCookie(), file.path, 'rw'), { status: 0 });
  assert.is(keeper.descriptorCount(), before + 1);
});

keeperTest('none, several, too long and unnamed deposits are refused', async (keeper) => {
  const client = await keeper.client();
  const file = makeFile(keeper);
  await client.run('query', 1, 1);
  const before = keeper.descriptorCount();
  const deposit = (cookie: string, fds: number, record = '') =>
    client.run('deposit', cookie, file.path, 'rw', fds, record);
  assert.equal(await deposit(newCookie(), 0), { status: -EBADMSG });
  assert.equal(await deposit(newCookie(), 2), { status: -EBADMSG });
  assert.equal(await deposit(newCookie(), 253), { status: -EBADMSG });
  assert.equal(await deposit(newCookie(), 1, 'r'.repeat(12289)), { status: -EMSGSIZE });
  assert.equal(await deposit('00'.repeat(16), 1), { status: -EINVAL });
  assert.is(keeper.descriptorCount(), before);
  assert.equal(await deposit(newCookie(), 1, 'r'.repeat(12288)), { status: 0 });
});

keeperTest('bad bytes on keeper.sock close that connection only', async (keeper) => {
  const control = await keeper.control();
  const bystander = await keeper.client();
  const file = makeFile(keeper);
  const cookie = newCookie();
  await bystander.run('deposit', cookie, file.path, 'rw');
  await control.info();
  const before = keeper.descriptorCount();
  const take = (change: (header: Buffer) => void, payload = Buffer.alloc(0), type = 3) =>
    packetBytes(type, 1, cookie, payload, change).toString('hex');
  const bad = [
    take(() => {}).slice(0, 40),
    take((header) => header.writeUInt32LE(0xdeadbeef, 0)),
    take((header) => header.writeUInt16LE(2, 4)),
    take((header) => header.writeUInt32LE(7, 12)),
    take((header) => header.writeUInt32LE(0xffffffff, 12)),
    take(() => {}, Buffer.alloc(1)),
    take(() => {}, Buffer.alloc(3), 2),
    take(() => {}, Buffer.alloc(0), 0),
    take(() => {}, Buffer.alloc(0), 99),
    take(() => {}, Buffer.alloc(0), 0x8001),
    take(() => {}, Buffer.alloc(16384 + 512), 1),
    ...Array.from({ length: 20 }, (_, i) => `${newCookie().repeat(i + 1)}`),
  ];
  for (const hex of bad) {
    const client = await keeper.client();
    assert.equal(await client.run('raw', hex, file.path, 5), { closed: true }, hex.slice(0, 64));
    await client.end();
  }
  const info = await control.info();
  assert.is(info.protocolErrors, bad.length);
  const stray = await keeper.client();
  assert.equal(
    await stray.run(
      'raw',
      take(() => {}),
      file.path,
      1,
    ),
    { closed: true },
  );
  const empty = await keeper.client();
  assert.equal(await empty.run('raw', '-', file.path, 253), { closed: true });
  assert.is(keeper.descriptorCount(), before);
  assert.is((await bystander.run('take', cookie)).same, true);
  await control.close();
});

keeperTest('nobody else connects, even past an opened directory', async (keeper) => {
  const stranger = ['setpriv', '--reuid=65534', '--clear-groups'];
  // The tool itself must be reachable for that user, the sockets must not.
  chmodSync(keeper.directory, 0o755);
  await assertRejects(keeper.client(stranger), `connect: errno ${EACCES}`);
  chmodSync(keeper.runDir, 0o755);
  chmodSync(keeper.path('keeper.sock'), 0o777);
  const client = await keeper.client(stranger);
  assert.equal(await client.run('receive'), { closed: true });
  assert.match(await keeper.log.take((line) => line.includes('refused uid')), '65534');
});

keeperTest(
  '--uid-allowed lets a user in',
  async (keeper) => {
    chmodSync(keeper.directory, 0o755);
    chmodSync(keeper.runDir, 0o755);
    chmodSync(keeper.path('keeper.sock'), 0o777);
    const client = await keeper.client(['setpriv', '--reuid=65534', '--clear-groups']);
    assert.equal(await client.run('query', 1, 1), { status: 0, cookies: [] });
  },
  ['--uid-allowed', '65534'],
);

keeperTest('a second keeper and an unsafe directory are refused', async (keeper) => {
  const [status, said] = await refusedStart('--run-dir', keeper.runDir);
  assert.is(status, 1);
  assert.match(said, 'another fdkeeper runs in');
  const client = await keeper.client();
  assert.equal(await client.run('query', 1, 1), { status: 0, cookies: [] });

  const open = join(keeper.directory, 'open');
  mkdirSync(open);
  chmodSync(open, 0o750);
  const [openStatus, openSaid] = await refusedStart('--run-dir', open);
  assert.is(openStatus, 1);
  assert.match(openSaid, 'has mode 0750');
  const [usageStatus, usageSaid] = await refusedStart('--max-descriptors', 'many');
  assert.is(usageStatus, 2);
  assert.match(usageSaid, 'usage: fdkeeper --run-dir DIR');
});

test.run();
