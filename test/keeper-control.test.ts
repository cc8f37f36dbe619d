// SPDX-License-Identifier: GPL-3.0-or-later
import { mkdtempSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packetBytes } from './lib/keeper-control.js';
import { Keeper, newCookie } from './lib/keeper-parts.js';
import {
  CONTROL_DROP,
  ENTRY,
  HELD,
  keeperTest,
  LIST,
  LIST_END,
  list,
  makeFile,
  PARKED,
  waitForUsed,
} from './lib/keeper-suite.js';
import { unshareMounts } from './lib/mounts.js';

const { ENOENT } = constants.errno;

keeperTest('bad bytes on control.sock close it and cost no descriptor', async (keeper) => {
  const client = await keeper.client();
  const file = makeFile(keeper);
  const cookie = newCookie();
  await client.run('deposit', cookie, file.path, 'rw');
  const before = keeper.descriptorCount();
  const bad = [
    packetBytes(LIST, 1, cookie, Buffer.alloc(0), (header) => header.writeUInt32LE(1, 0)),
    packetBytes(LIST, 1, cookie, Buffer.alloc(0), (header) => header.writeUInt16LE(9, 4)),
    packetBytes(LIST, 1, cookie, Buffer.alloc(0), (header) => header.writeUInt32LE(2 ** 31, 12)),
    packetBytes(LIST, 1, cookie, Buffer.alloc(4)),
    packetBytes(ENTRY, 1, cookie),
    ...Array.from({ length: 20 }, (_, i) => Buffer.from(newCookie().repeat(2 + i), 'hex')),
  ];
  for (const bytes of bad) {
    const control = await keeper.control();
    control.socket.write(bytes);
    await control.closed;
  }
  const cut = await keeper.control();
  cut.socket.end(packetBytes(LIST).subarray(0, 31));
  await cut.closed;
  assert.is(keeper.descriptorCount(), before);
  const control = await keeper.control();
  assert.is((await control.info()).protocolErrors, bad.length);
  control.socket.write(packetBytes(LIST, 77).subarray(0, 5));
  const other = await keeper.client();
  await other.run('query', 1, 1);
  control.socket.write(packetBytes(LIST, 77).subarray(5));
  await control.packets.take((one) => one.type === LIST_END && one.seq === 77);
  await control.close();
  assert.is((await client.run('take', cookie)).same, true);
});

keeperTest('LIST tells everything about each descriptor', async (keeper) => {
  const client = await keeper.client();
  const file = makeFile(keeper, 'twelve bytes');
  const cookie = newCookie();
  const others = Array.from({ length: 500 }, newCookie);
  const startedNs = process.hrtime.bigint();
  await client.run('deposit', cookie, file.path, 'r', 1, 'the-record');
  for (const other of others) {
    await client.run('post', other, file.path, 'r');
  }
  const control = await keeper.control();
  await waitForUsed(control, 501);
  const entries = await list(control);
  assert.is(entries.size, 501);
  const entry = entries.get(cookie);
  const stat = statSync(file.path, { bigint: true });
  assert.is(entry?.state, HELD);
  assert.is(entry?.ownerPid, client.pid);
  assert.is(entry?.dev, stat.dev);
  assert.is(entry?.ino, stat.ino);
  assert.is(entry?.nlink, 1n);
  assert.is(entry?.sizeBytes, 12n);
  assert.is(entry?.mtimeNs, stat.mtimeNs);
  assert.is(entry?.ctimeNs, stat.ctimeNs);
  assert.is(entry?.record, 'the-record');
  assert.ok((entry?.fileHandle.length ?? 0) > 0, 'a file handle');
  // in a chroot the mount itself is out of sight
  assert.match(entry?.identity ?? '', /^(uuid:\S+|fsid:[0-9a-f]{16}) (\w+ \/.*|- -)$/);
  const since = entry?.sinceMonotonicNs ?? 0n;
  assert.ok(since >= startedNs && since <= process.hrtime.bigint(), 'since, monotonic');
  const realtime = Number((entry?.sinceRealtimeNs ?? 0n) / 1_000_000n);
  assert.ok(Math.abs(realtime - Date.now()) < 60_000, 'since, realtime');

  const seq = control.send(CONTROL_DROP, cookie);
  const dropped = await control.packets.take((one) => one.type === 0x8021 && one.seq === seq);
  assert.is(dropped.payload.readInt32LE(0), 0);
  const again = control.send(CONTROL_DROP, cookie);
  const missing = await control.packets.take((one) => one.type === 0x8021 && one.seq === again);
  assert.is(missing.payload.readInt32LE(0), -ENOENT);
  assert.equal(await client.run('take', cookie), { status: -ENOENT });
  assert.is((await list(control)).size, 500);
  await control.close();
});

keeperTest('a short-lived deposit is not reported, a parked one at once', async (keeper) => {
  const control = await keeper.control();
  const client = await keeper.client();
  const file = makeFile(keeper);
  const [brief, parked, lasting] = [newCookie(), newCookie(), newCookie()];
  await client.run('post', brief, file.path, 'rw');
  await client.run('drop', brief);
  await client.run('deposit', parked, file.path, 'rw');
  await client.run('park', parked);
  await control.entry(parked, PARKED);
  await client.run('deposit', lasting, file.path, 'rw');
  await control.entry(lasting, HELD);
  const about = control.packets.peek().filter((one) => one.cookie === brief);
  assert.is(about.length, 0);
  await control.close();
});

keeperTest('a persistd that does not read delays nobody and hears all later', async (keeper) => {
  const client = await keeper.client();
  const file = makeFile(keeper);
  const cookies = Array.from({ length: 500 }, newCookie);
  const record = 'r'.repeat(4000);
  for (const cookie of cookies) {
    await client.run('post', cookie, file.path, 'r', 1, record);
  }
  const control = await keeper.control();
  await waitForUsed(control, 500);
  control.socket.pause();
  const listing = list(control);
  for (const cookie of cookies.slice(0, 400)) {
    assert.equal(await client.run('park', cookie), { status: 0 });
  }
  control.socket.resume();
  assert.is((await listing).size, 500);
  const after = [...(await list(control)).values()];
  assert.is(after.filter((entry) => entry.state === PARKED).length, 400);
  assert.ok(after.every((entry) => entry.record === record));
  await control.close();
});

keeperTest('one persistd at a time; its going away costs nothing', async (keeper) => {
  const client = await keeper.client();
  const file = makeFile(keeper);
  const cookie = newCookie();
  const first = await keeper.control();
  await client.run('deposit', cookie, file.path, 'rw');
  await first.entry(cookie, HELD);
  const second = await keeper.control();
  await second.closed;
  assert.match(await keeper.log.take((line) => line.includes('refused pid')), 'is connected');
  await first.close();
  const third = await keeper.control();
  assert.is((await list(third)).get(cookie)?.state, HELD);
  await third.close();
  assert.is((await client.run('take', cookie)).same, true);
});

test('the identity is the uuid where udev or the kernel tells it, else the fsid', async () => {
  // mountinfo escapes the tab; the keeper has mounts of its own here, also in a chroot,
  // where / is no mount point.
  const scratch = mkdtempSync(join(tmpdir(), 'keeper\tmount-'));
  const { dev } = statSync(scratch, { bigint: true });
  const [major, minor] = [(dev >> 8n) & 0xfffn, dev & 0xffn];
  const root = mkdtempSync(join(tmpdir(), 'keeper-root-'));
  const inside = `mount -t tmpfs scratch '${scratch}' && \
    mount -t tmpfs dev /dev && mknod /dev/null c 1 3 && mkdir -p /dev/disk/by-uuid && \
    mknod /dev/disk/by-uuid/12-34 b ${major} ${minor} && cd "$0" && exec "$@"`;
  const script = `mount --rbind / '${root}' && mount --make-rprivate '${root}' && \
    exec chroot '${root}' sh -c "$0" "$PWD" "$@"`;
  const keeper = await Keeper.start([], [...unshareMounts(), 'sh', '-c', script, inside]);
  try {
    const [onDisk, onTmpfs] = [newCookie(), newCookie()];
    writeFileSync(`/proc/${keeper.pid}/root${scratch}/file`, '');
    const client = await keeper.client(['nsenter', '-t', String(keeper.pid), '-m', '-r', '-w']);
    await client.run('deposit', onDisk, makeFile(keeper).path, 'r');
    await client.run('deposit', onTmpfs, `${scratch}/file`, 'r');
    const control = await keeper.control();
    const entries = await list(control);
    assert.match(entries.get(onDisk)?.identity ?? '', /^uuid:12-34 \w+ \/$/);
    const [name, type, mountPoint] = entries.get(onTmpfs)?.identity.split(' ') ?? [];
    assert.match(
      name ?? '',
      /^(fsid:[0-9a-f]{16}|uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/,
    );
    assert.equal([type, mountPoint], ['tmpfs', scratch]);
    await control.close();
  } finally {
    await keeper.stop();
    rmSync(scratch, { recursive: true });
    rmdirSync(root);
  }
});

test.run();
