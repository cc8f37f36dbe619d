// SPDX-License-Identifier: GPL-3.0-or-later
/** `durability = host` on file systems that are mounted again, with another device number. */
import { strict as assert } from 'node:assert';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { bootHost, killHost } from './lib/host-reset.js';
import { unshareMounts } from './lib/mounts.js';
import { drop, type Held, hold, isKeptDescription, newName, resume } from './lib/scenario.js';
import { LeaseState, newGuid } from './lib/smb2/index.js';

const IMAGE_BYTES = 320 * 1024 * 1024;
const RANGE = { offset: 0, length: 10 };

/** In a mount namespace of its own, which goes with its last process and takes all mounts along. */
if (process.env.OWN_MOUNTS === undefined) {
  const [unshare, ...options] = unshareMounts();
  const { status } = spawnSync(
    unshare,
    [...options, process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    { stdio: 'inherit', env: { ...process.env, OWN_MOUNTS: 'yes' } },
  );
  process.exit(status ?? 1);
}

const isThere = (type: string): boolean =>
  spawnSync('which', [`mkfs.${type}`]).status === 0 &&
  (readFileSync('/proc/filesystems', 'utf8').includes(`\t${type}\n`) ||
    spawnSync('modprobe', [type]).status === 0);

const samba = await DevSamba.up();
const test = suite('host-mounts');

function makeImage(type: string, name: string): string {
  const image = join(samba.dir, `${name}.${type}`);
  writeFileSync(image, '');
  truncateSync(image, IMAGE_BYTES);
  execFileSync(`mkfs.${type}`, ['-q', image], { stdio: 'ignore' });
  return image;
}

function mount(image: string, at: string): number {
  mkdirSync(at, { recursive: true });
  execFileSync('mount', ['-o', 'loop', image, at]);
  chmodSync(at, 0o777);
  return statSync(at).dev;
}

const umount = (at: string) => execFileSync('umount', [at]);

/** The share has its directory elsewhere. */
function moveShare(from: string, to: string): void {
  const { smbConf } = samba.status();
  const before = readFileSync(smbConf, 'utf8');
  const after = before.replace(`path = ${from}\n`, `path = ${to}\n`);
  assert.notEqual(after, before);
  writeFileSync(smbConf, after);
}

async function holdResilient(share: string): Promise<Held> {
  const client = await samba.connect(share);
  const name = newName();
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const open = await client.open(name, { share: 0, lease }).ok();
  await open.requestResiliency(60_000).ok();
  return { client, open, name, path: samba.sharePath(share, name) };
}

const remade = (name: string) =>
  samba.until(`${name} made again`, () => samba.handle(name).remade, 15_000);

test('after a boot the time that is left is told by wall time', async () => {
  const share = 'booted';
  await samba.addShare(share, 'vfs objects = persistent', 'persistent:durability = host');
  const away = await hold(samba, share);
  const connected = await holdResilient(share);
  const lost = await hold(samba, 'durable');
  await connected.open.lock(RANGE).ok();
  await drop(samba, away);
  const { expires_at: expiry } = samba.handle(away.name);
  await killHost(samba);
  for (const { client } of [connected, lost]) await client.drop();
  const bootId = join(samba.dir, 'boot_id');
  writeFileSync(bootId, `${randomUUID()}\n`);
  execFileSync('mount', ['--bind', bootId, '/proc/sys/kernel/random/boot_id']);
  await bootHost(samba);
  for (const { name } of [away, connected]) await remade(name);
  const shiftMs = Date.parse(samba.handle(away.name).expires_at ?? '') - Date.parse(expiry ?? '');
  assert.ok(Math.abs(shiftMs) < 50, `the deadline moved by ${shiftMs} ms`);
  const { state, reason } = samba.handle(lost.name);
  assert.deepEqual([state, reason], ['failed', 'descriptor-lost']);
  const other = await samba.connect(share);
  assert.equal(await other.open(connected.name).code(), 'SHARING_VIOLATION');
  for (const held of [away, connected]) {
    const { open } = await resume(samba, held);
    assert.equal(open.granted.lease?.state, held.open.granted.lease?.state);
    if (held === connected) await open.unlock(RANGE).ok();
    await open.close().ok();
  }
  await samba.nothingLeft();
  umount('/proc/sys/kernel/random/boot_id');
});

for (const type of ['ext4', 'xfs', 'btrfs'].filter(isThere)) {
  const share = `on-${type}`;
  const at = samba.sharePath(share);
  const elsewhere = samba.sharePath(`${share}-elsewhere`);
  const other = makeImage(type, 'other');
  const image = makeImage(type, 'image');

  test(`${type}: handles come back from another device number and mount point`, async () => {
    const before = mount(image, at);
    await samba.addShare(share, 'vfs objects = persistent', 'persistent:durability = host');
    const durable = await hold(samba, share);
    const renamed = await hold(samba, share);
    const resilient = await holdResilient(share);
    for (const { open } of [durable, renamed, resilient]) await open.lock(RANGE).ok();
    await durable.open.write(0, 'still here').ok();
    for (const each of [durable, renamed, resilient]) await drop(samba, each);
    renameSync(renamed.path, `${renamed.path}.new`);
    await killHost(samba);
    umount(at);
    // so that the next has another number
    mount(other, join(samba.dir, 'other'));
    await bootHost(samba, ['keeper', 'persistd']);
    await samba.until('the list of the keeper', () => !samba.handle(durable.name).retained);
    assert.equal(samba.handle(durable.name).state, 'disconnected');
    const after = mount(image, elsewhere);
    assert.notEqual(after, before);
    for (const { name } of [durable, renamed, resilient]) await remade(name);
    assert.equal(samba.handle(durable.name).fileid.devid, after);
    moveShare(at, elsewhere);
    await bootHost(samba, ['smbd']);

    const another = await samba.connect(share);
    assert.equal(await another.open(resilient.name).code(), 'SHARING_VIOLATION');
    for (const held of [durable, renamed, resilient]) {
      const { open } = await resume(samba, held);
      const name = held === renamed ? `${held.name}.new` : held.name;
      assert.ok(isKeptDescription(samba, join(elsewhere, name)), name);
      assert.equal(open.granted.lease?.state, held.open.granted.lease?.state);
      await open.unlock(RANGE).ok();
      assert.equal(await open.unlock(RANGE).code(), 'RANGE_NOT_LOCKED');
      if (held === durable) assert.equal(String(await open.read(0, 20).ok()), 'still here');
      await open.close().ok();
    }
    await samba.nothingLeft();
    await samba.verb('kill', 'smbd');
    umount(elsewhere);
    umount(join(samba.dir, 'other'));
  });
}

test.after(() => samba.down());
test.run();
