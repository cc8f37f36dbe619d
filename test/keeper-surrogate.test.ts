// SPDX-License-Identifier: GPL-3.0-or-later
// Threads beside the keeper that keep smbd's records of a parked handle in force.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Client, Keeper, newCookie } from './lib/keeper-parts.js';
import { CONTROL_DROP, keeperTest, makeFile, ORPHANED, PARKED } from './lib/keeper-suite.js';

const { EAGAIN, EINVAL, ENOENT, EPERM } = constants.errno;
const PROTECT = 1;

/** As smbd asks for the process that a record names. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function threadCount(keeper: Keeper): number {
  return readdirSync(`/proc/${keeper.hostPid}/task`).length;
}

async function protectedBy(client: Client, path: string, cookie = newCookie()) {
  assert.equal(await client.run('deposit', cookie, path, 'rw'), { status: 0 });
  const { status, surrogate } = await client.run('park', cookie, PROTECT);
  assert.is(status, 0);
  return { cookie, surrogate: Number(surrogate) };
}

keeperTest('a protected descriptor has a thread as long as it is parked', async (keeper) => {
  const control = await keeper.control();
  const client = await keeper.client();
  const file = makeFile(keeper);
  const ends: Record<string, (cookie: string) => Promise<unknown>> = {
    adopt: async (cookie) => {
      await client.run('adopt', cookie);
      await client.run('query', 1, 1);
    },
    dropsync: (cookie) => client.run('dropsync', cookie),
    drop: async (cookie) => {
      await client.run('drop', cookie);
      await client.run('query', 1, 1);
    },
    'control DROP': async (cookie) => {
      const seq = control.send(CONTROL_DROP, cookie);
      await control.packets.take((one) => one.type === 0x8021 && one.seq === seq);
    },
  };
  for (const [how, end] of Object.entries(ends)) {
    const { cookie, surrogate } = await protectedBy(client, file.path);
    assert.is.not(surrogate, keeper.hostPid);
    const name = readFileSync(`/proc/${keeper.hostPid}/task/${surrogate}/comm`, 'utf8');
    assert.is(name, 'surrogate\n');
    assert.ok(exists(surrogate), how);
    await client.run('take', cookie);
    assert.ok(exists(surrogate), 'TAKE changes nothing');
    await end(cookie);
    assert.not(exists(surrogate), `${how}: answered before the thread was gone`);
  }
  assert.is(threadCount(keeper), 1);
  await control.close();
});

keeperTest('a descriptor is parked again with another thread', async (keeper) => {
  const client = await keeper.client();
  const { cookie, surrogate } = await protectedBy(client, makeFile(keeper).path);
  await client.run('adopt', cookie);
  const again = await client.run('park', cookie, PROTECT);
  assert.is(again.status, 0);
  assert.not(exists(surrogate) && surrogate !== again.surrogate);
  assert.ok(exists(Number(again.surrogate)));
  await client.run('adopt', cookie);
  assert.equal(await client.run('park', cookie), { status: 0 });
  assert.is(threadCount(keeper), 1);
});

keeperTest('an owner that dies leaves what it protected protected', async (keeper) => {
  const control = await keeper.control();
  const client = await keeper.client();
  const file = makeFile(keeper);
  const { cookie, surrogate } = await protectedBy(client, file.path);
  const unparked = newCookie();
  await client.run('deposit', unparked, file.path, 'rw');
  await control.entry(cookie, PARKED);
  await client.end();
  await control.entry(unparked, ORPHANED);
  assert.ok(exists(surrogate));
  assert.is(threadCount(keeper), 2);
  await control.close();
});

keeperTest('a park that is refused leaves no thread', async (keeper) => {
  const owner = await keeper.client();
  const other = await keeper.client();
  const cookie = newCookie();
  await owner.run('deposit', cookie, makeFile(keeper).path, 'rw');
  assert.equal(await other.run('park', cookie, PROTECT), { status: -EPERM });
  assert.equal(await owner.run('park', newCookie(), PROTECT), { status: -ENOENT });
  assert.equal(await owner.run('park', cookie, 2), { status: -EINVAL });
  assert.is(threadCount(keeper), 1);
});

keeperTest('without room for a thread the descriptor stays with its owner', async (keeper) => {
  const client = await keeper.client();
  const cookie = newCookie();
  await client.run('deposit', cookie, makeFile(keeper).path, 'rw');
  const limit = (text: string) =>
    execFileSync('prlimit', ['--pid', String(keeper.hostPid), `--as=${text}`]);
  limit('1000000:');
  assert.equal(await client.run('park', cookie, PROTECT), { status: -EAGAIN });
  assert.match(await keeper.log.take((line) => line.includes('a thread')), 'TasksMax=');
  limit('unlimited:');
  const { status, surrogate } = await client.run('park', cookie, PROTECT);
  assert.is(status, 0, 'it was not parked');
  assert.ok(exists(Number(surrogate)));
});

test('thousands are protected, and a lost keeper protects none', async () => {
  const keeper = await Keeper.start();
  try {
    const client = await keeper.client();
    const file = makeFile(keeper);
    const count = 2000;
    const surrogates = new Set<number>();
    for (let i = 0; i < count; i += 1) {
      surrogates.add((await protectedBy(client, file.path)).surrogate);
    }
    assert.is(surrogates.size, count);
    assert.is(threadCount(keeper), count + 1);
    const exited = once(keeper.child, 'exit');
    keeper.child.kill('SIGKILL');
    await exited;
    const deadline = Date.now() + 5000;
    while ([...surrogates].some(exists)) {
      assert.ok(Date.now() < deadline, 'surrogates outlive the keeper');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  } finally {
    await keeper.stop();
  }
});

keeperTest('the surrogate host is killed: said, and the next one is protected', async (keeper) => {
  const client = await keeper.client();
  const file = makeFile(keeper);
  const { cookie, surrogate } = await protectedBy(client, file.path);
  process.kill(keeper.hostPid, 'SIGKILL');
  const said = await keeper.log.take((line) => line.includes('host was killed'));
  assert.match(said, 'of 1 resilient handles');
  assert.not(exists(surrogate));
  const next = await protectedBy(client, file.path);
  assert.ok(exists(next.surrogate));
  const again = await client.run('park', cookie, PROTECT);
  assert.ok(exists(Number(again.surrogate)));
  assert.equal(await client.run('dropsync', cookie), { status: 0 });
  assert.not(exists(Number(again.surrogate)));
});

test.run();
