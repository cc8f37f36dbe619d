// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * `durability = host` and a real reset: smbd, keeper and persistd serve from a virtual
 * machine, the power of which is cut. Its disk loses what it was not told to flush.
 */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import {
  Access,
  LeaseState,
  newGuid,
  type Open,
  type OpenOptions,
  Oplock,
  Share,
  type Smb2Client,
} from './lib/smb2/index.js';
import { findKernel } from './lib/vm/machine.js';
import { type FileSystem, VmServer } from './lib/vm/server.js';
import { Stream } from './lib/vm/stream.js';

const test = suite('a real reset');
const kernel = findKernel();
const RANGE = { offset: 5000, length: 10 };
const SHARED = { offset: 5020, length: 5 };
const EMPTY = { offset: 5040, length: 0 };
const pattern = (name: string): string => `${name} is still here. `.repeat(100);

interface Held {
  client: Smb2Client;
  open: Open;
  name: string;
}

/** The ids of the handles of which persistd's log says that they do not outlive the host. */
function weakOnes(vm: VmServer): Set<string> {
  const lines = vm.log().matchAll(/"handles":(\[[^\]]*\]),"msg":"these handles do not outlive/g);
  return new Set([...lines].flatMap(([, ids]) => JSON.parse(ids as string)));
}

const durableV2 = (): OpenOptions => ({
  durable: { version: 2, createGuid: newGuid() },
  lease: { key: newGuid(), state: LeaseState.RWH },
});
const durableV1 = (): OpenOptions => ({ durable: { version: 1 }, oplock: Oplock.BATCH });

/** Locks of all sorts, and data that is flushed. */
async function fill(open: Open): Promise<void> {
  await open.lock(RANGE).ok();
  await open.lock(SHARED, { shared: true }).ok();
  await open.lock(EMPTY).ok();
  await open.write(0, pattern(open.path)).ok();
  await open.flush().ok();
}

/** A client of its own with an open file. One that persistd had no time to flush is no good. */
async function hold(vm: VmServer, name: string, options: OpenOptions): Promise<Held> {
  const client = await vm.connect();
  for (let tries = 0; tries < 20; tries++) {
    const weakBefore = weakOnes(vm).size;
    const open = await client.open(name, options).ok();
    const isKept = options.durable || (await open.requestResiliency(0).code()) === 'SUCCESS';
    await fill(open);
    await vm.sh('true'); // persistd's log has come as far
    if (isKept && weakOnes(vm).size === weakBefore) return { client, open, name };
    await open.close().ok();
  }
  throw new Error(`${name}: the disk of the machine is too slow`);
}

/** Its owner has the handle as it was. */
async function resumes(vm: VmServer, { client, open: old, name }: Held): Promise<void> {
  const back = await vm.back(client);
  const reply = await back.reconnect(old);
  assert.equal(reply.code, 'SUCCESS', name);
  const open = reply.ok();
  assert.equal(open.oplock, old.oplock, name);
  assert.equal(open.granted.lease?.state, old.granted.lease?.state, name);
  assert.equal(String(await open.read(0, 4000).ok()), pattern(name));
  for (const range of [RANGE, SHARED, EMPTY]) {
    await open.unlock(range).ok();
    assert.equal(await open.unlock(range).code(), 'RANGE_NOT_LOCKED', name);
  }
  await open.close().ok();
  await back.drop();
}

/**
 * Until the machine has compiled what it needs for a handle: in its first second the disk
 * takes longer than a handle may wait for it.
 */
async function warmUp(vm: VmServer): Promise<void> {
  const client = await vm.connect();
  for (let inTime = 0, tries = 0; inTime < 3; tries++) {
    assert.ok(tries < 100, 'the machine is too slow to grant anything');
    const open = await client.open(`warm-${tries}`).ok();
    inTime = (await open.requestResiliency(1000).code()) === 'SUCCESS' ? inTime + 1 : 0;
    await open.lock(RANGE).ok();
    await open.close().ok();
  }
  await client.drop();
}

async function resetTest(vm: VmServer, fs: FileSystem): Promise<void> {
  await warmUp(vm);
  const shareRead = { share: Share.READ, lease: { key: newGuid(), state: LeaseState.RWH } };
  const connected = [
    await hold(vm, 'v2', durableV2()),
    await hold(vm, 'v1', durableV1()),
    await hold(vm, 'resilient', shareRead),
  ];
  const away = [await hold(vm, 'v2-away', durableV2()), await hold(vm, 'v1-away', durableV1())];
  const renamed = await hold(vm, 'old-name', { share: Share.DELETE });
  await renamed.open.info.rename('new-name').ok();
  const deleted = await hold(vm, 'deleted', {});
  await vm.sh('rm /srv/share/deleted; sync -f /srv/share');
  for (const { client } of [...away, renamed]) await client.drop();
  const before = await vm.handles();
  const first = await Stream.cutDuring(vm, 'first', 12);
  const weakInFirst = weakOnes(vm);
  const alive = before.filter(({ state }) => ['connected', 'disconnected'].includes(state));
  assert.ok(alive.every(({ durability }) => durability === 'host'));

  await vm.powerOn();
  const other = await vm.connect();
  const writing = { access: Access.WRITE_DATA };
  assert.equal(await other.open('resilient', writing).code(), 'SHARING_VIOLATION');
  assert.equal(await other.open('new-name').code(), 'SHARING_VIOLATION');
  const reader = await other.open('resilient', { access: Access.READ_DATA }).ok();
  assert.equal(await reader.lock(RANGE, { shared: true }).code(), 'LOCK_NOT_GRANTED');
  await reader.lock(SHARED, { shared: true }).ok();
  await other.drop();
  const after = await vm.handles();
  for (const { name } of away) {
    const [old, now] = [before, after].map((all) => all.find((h) => h.filename === name));
    assert.equal(now?.remade, true, name);
    const shiftMs = Date.parse(now?.expires_at ?? '') - Date.parse(old?.expires_at ?? '');
    assert.ok(Math.abs(shiftMs) < 50, `the deadline of ${name} moved by ${shiftMs} ms`);
  }
  for (const held of [...connected, ...away, renamed]) await resumes(vm, held);
  const back = await vm.back(deleted.client);
  assert.equal(await back.reconnect(deleted.open).code(), 'OBJECT_NAME_NOT_FOUND');
  assert.equal(after.find((h) => h.filename === 'deleted')?.reason, 'file-gone');
  await back.drop();
  const checked = await first.check(after, weakInFirst);

  const second = await Stream.cutDuring(vm, 'second', 12);
  const weakInSecond = weakOnes(vm);
  await vm.powerOn();
  const known = weakInSecond.size > 0 ? await vm.handles() : [];
  const checkedAgain = await second.check(known, weakInSecond);
  console.log(`  ${fs}: ${checked} and ${checkedAgain} handles of clients at work were checked`);
}

for (const fs of ['ext4', 'xfs'] as const) {
  const name = `${fs}: what clients were told that they have outlives a power cut`;
  if ('why' in kernel) {
    test.skip(name, () => undefined);
    continue;
  }
  test(name, async () => {
    const vm = await VmServer.up(kernel.dir, fs);
    try {
      await resetTest(vm, fs);
    } catch (error) {
      console.log(vm.log());
      throw error;
    } finally {
      await vm.down();
    }
  });
}

if ('why' in kernel) console.log(`skipped, there are no virtual machines here: ${kernel.why}`);
test.run();
