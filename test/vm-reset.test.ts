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
/** How often the power of each machine is cut; from the second time on, among clients at work. */
const CUTS = Number(process.env.VM_CUTS ?? 1);
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

/** A client of its own with an open file: locks of all sorts, and data that is flushed. */
async function hold(vm: VmServer, name: string, options: OpenOptions): Promise<Held> {
  const client = await vm.connect();
  const open = await client.open(name, options).ok();
  if (!options.durable) await open.requestResiliency(0);
  await open.lock(RANGE).ok();
  await open.lock(SHARED, { shared: true }).ok();
  await open.lock(EMPTY).ok();
  await open.write(0, pattern(name)).ok();
  await open.flush().ok();
  return { client, open, name };
}

/** All kinds of handles, some of which are away. */
async function holdAll(vm: VmServer, prefix: string) {
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const reading = await hold(vm, `${prefix}-reading`, { share: Share.READ });
  const connected = [
    await hold(vm, `${prefix}-v2`, durableV2()),
    await hold(vm, `${prefix}-v1`, durableV1()),
    await hold(vm, `${prefix}-resilient`, { lease }),
    reading,
  ];
  const away = [
    await hold(vm, `${prefix}-v2-away`, durableV2()),
    await hold(vm, `${prefix}-v1-away`, durableV1()),
  ];
  const renamed = await hold(vm, `${prefix}-old-name`, { share: Share.DELETE });
  const newName = `${prefix}-new-name`;
  await renamed.open.info.rename(newName).ok();
  const deleted = await hold(vm, `${prefix}-deleted`, {});
  await vm.sh(`rm /srv/share/${deleted.name}; sync -f /srv/share`);
  for (const { client } of [...away, renamed]) await client.drop();
  return { connected, reading, away, renamed, newName, deleted };
}

/** The same, when persistd had the time to flush each of them: in a busy machine, not at once. */
async function holdAllInTime(vm: VmServer) {
  for (let tries = 1; tries <= 5; tries++) {
    const prefix = `try-${tries}`;
    const all = await holdAll(vm, prefix);
    const handles = await vm.handles();
    const ours = handles.filter(({ filename }) => filename.startsWith(prefix));
    if (ours.length === 8 && ours.every((h) => h.durability === 'host')) {
      return { ...all, before: ours };
    }
  }
  throw new Error('the disk of the machine is too slow for handles that outlive the host');
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
  const { connected, reading, away, renamed, newName, deleted, before } = await holdAllInTime(vm);
  const first = await Stream.cutDuring(vm, 'first', 12);
  const weakInFirst = weakOnes(vm);

  await vm.powerOn();
  const other = await vm.connect();
  const writing = { access: Access.WRITE_DATA };
  assert.equal(await other.open(reading.name, writing).code(), 'SHARING_VIOLATION');
  assert.equal(await other.open(newName).code(), 'SHARING_VIOLATION');
  const reader = await other.open(reading.name, { access: Access.READ_DATA }).ok();
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
  assert.equal(after.find((h) => h.filename === deleted.name)?.reason, 'file-gone');
  await back.drop();
  const checked = await first.check(after, weakInFirst);

  console.log(`  ${fs}: ${checked} handles of clients at work were checked`);

  for (let i = 1; i < CUTS; i++) {
    const stream = await Stream.cutDuring(vm, `cut-${i}`, 12);
    const weak = weakOnes(vm);
    await vm.powerOn();
    const handles = weak.size > 0 ? await vm.handles() : [];
    console.log(`  ${fs}: ${await stream.check(handles, weak)} more`);
  }
}

async function withServer(kernelDir: string, fs: FileSystem): Promise<void> {
  const vm = await VmServer.up(kernelDir, fs);
  try {
    await resetTest(vm, fs);
  } catch (error) {
    console.log(vm.log());
    throw error;
  } finally {
    await vm.down();
  }
}

if ('why' in kernel) console.log(`skipped, there are no virtual machines here: ${kernel.why}`);
for (const fs of ['ext4', 'xfs'] as const) {
  if ('why' in kernel) test.skip(`${fs}: a power cut`, () => undefined);
  else {
    const { dir } = kernel;
    test(`${fs}: what clients were told that they have outlives a power cut`, () =>
      withServer(dir, fs));
  }
}
test.run();
