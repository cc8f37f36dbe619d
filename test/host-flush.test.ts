// SPDX-License-Identifier: GPL-3.0-or-later
/** `durability = host`: a handle and its locks are on disk before the client hears of them. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { Faults } from './lib/fault-points.js';
import { bootHost, killHost } from './lib/host-reset.js';
import {
  drop,
  hold,
  isKeptDescription,
  newName,
  optionsOf,
  resume,
  USUAL,
} from './lib/scenario.js';

/** Of the module's wait for persistd, and of that for a disk; the same again for a slow machine. */
const BOUND_MS = 400;
const DISK_BOUND_MS = 2_000;
/** More than the module waits for anything else. */
const PAUSE_MS = 300;

const samba = await DevSamba.up('--faults');
await samba.addShare('host', 'vfs objects = persistent', 'persistent:durability = host');
const faults = new Faults(samba);
const test = suite('host-flush');

const pause = (ms: number) => new Promise<false>((resolve) => setTimeout(() => resolve(false), ms));

/** An SMB request waits for the flush, and is answered when that is done. */
async function waitsForFlush<T>(request: () => Promise<T>): Promise<T> {
  const flush = faults.hold('persistd.slow-flush');
  const answer = request();
  await flush.arrived;
  assert.equal(await Promise.race([answer, pause(PAUSE_MS)]), false, 'answered before the flush');
  await flush.release();
  return await answer;
}

test('CREATE, LOCK, UNLOCK, the resiliency ioctl and a resume wait for the flush', async () => {
  const client = await samba.connect('host');
  const name = newName();
  const open = await waitsForFlush(() => client.open(name, optionsOf(USUAL)).ok());
  await waitsForFlush(() => open.lock({ offset: 0, length: 10 }).ok());
  await waitsForFlush(() => open.unlock({ offset: 0, length: 10 }).ok());
  await waitsForFlush(() => open.requestResiliency(60_000).ok());
  assert.equal(samba.handle(name).durability, 'host');
  await client.drop();
  await samba.disconnected(name);
  const back = await samba.back(client, 'host');
  const again = await waitsForFlush(() => back.reconnect(open).ok());
  assert.equal(samba.handle(name).durability, 'host');
  await again.close().ok();
  await samba.nothingLeft();
});

test('what was answered is there after everything was killed in that moment', async () => {
  const held = await hold(samba, 'host');
  await held.open.lock({ offset: 0, length: 10 }).ok();
  await killHost(samba);
  await held.client.drop();
  await bootHost(samba);
  const again = await resume(samba, held);
  await again.open.unlock({ offset: 0, length: 10 }).ok();
  await again.open.close().ok();
  await samba.nothingLeft();
});

for (const [what, point, boundMs] of [
  ['a persistd that hangs', 'persistd.before-flush', BOUND_MS],
  ['a disk that is slow', 'persistd.slow-flush', DISK_BOUND_MS],
] as const) {
  test(`${what}: a handle outlives processes only, and says so`, async () => {
    const client = await samba.connect('host');
    const name = newName();
    const flush = faults.hold(point);
    const began = performance.now();
    const open = await client.open(name, optionsOf(USUAL)).ok();
    const tookMs = performance.now() - began;
    assert.ok(tookMs < boundMs, `the CREATE took ${tookMs} ms`);
    await flush.release();
    await samba.until('the news', () => samba.handle(name).durability === 'process');
    await client.drop();
    await samba.disconnected(name);
    const back = await samba.back(client, 'host');
    const again = await back.reconnect(open).ok();
    await again.close().ok();
    await samba.nothingLeft();
  });

  test(`${what}: no handle becomes resilient`, async () => {
    const client = await samba.connect('host');
    const name = newName();
    const open = await client.open(name).ok();
    const flush = faults.hold(point);
    assert.equal(await open.requestResiliency(60_000).code(), 'INVALID_DEVICE_REQUEST');
    await flush.release();
    await open.close().ok();
    await samba.nothingLeft();
  });
}

test('after a slow disk nobody waits for it for a while', async () => {
  const client = await samba.connect('host');
  const flush = faults.hold('persistd.slow-flush');
  const slow = await client.open(newName(), optionsOf(USUAL)).ok();
  await flush.release();
  const again = faults.hold('persistd.slow-flush');
  const began = performance.now();
  const open = await client.open(newName(), optionsOf(USUAL)).ok();
  assert.ok(performance.now() - began < BOUND_MS, 'the second CREATE does not wait');
  await again.release();
  for (const each of [slow, open]) await each.close().ok();
  await samba.nothingLeft();
});

for (const point of ['keeper.before-remake', 'keeper.after-remake']) {
  test(`a keeper that dies at ${point} costs nothing, the next one goes on`, async () => {
    const held = [await hold(samba, 'host'), await hold(samba, 'host'), await hold(samba, 'host')];
    for (const each of held) await drop(samba, each);
    await samba.verb('kill', 'keeper');
    const dying = faults.hold(point);
    await samba.verb('restart', 'keeper');
    await dying.arrived;
    await samba.verb('kill', 'keeper');
    await dying.release();
    await samba.verb('restart', 'keeper');
    for (const each of held) {
      const { open } = await resume(samba, each);
      assert.ok(isKeptDescription(samba, each.path));
      await open.close().ok();
    }
    await samba.nothingLeft();
  });
}

test('a share of durability process does not wait', async () => {
  const client = await samba.connect('durable');
  const flush = faults.hold('persistd.before-flush');
  const open = await client.open(newName(), optionsOf(USUAL)).ok();
  await open.lock({ offset: 0, length: 10 }).ok();
  await open.close().ok();
  await flush.release();
  await samba.nothingLeft();
});

test('without persistd a CREATE is granted within the bound', async () => {
  const client = await samba.connect('host');
  const name = newName();
  await samba.verb('kill', 'persistd');
  const began = performance.now();
  const open = await client.open(name, optionsOf(USUAL)).ok();
  const tookMs = performance.now() - began;
  assert.ok(tookMs < BOUND_MS, `the CREATE took ${tookMs} ms`);
  await samba.verb('restart', 'persistd');
  const { durability } = await samba.until('the handle', () =>
    samba.handles('--all').find(({ path }) => path.endsWith(name)),
  );
  assert.equal(durability, 'process');
  await open.close().ok();
  await samba.nothingLeft();
});

test.after(() => samba.down());
test.run();
