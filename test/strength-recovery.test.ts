// SPDX-License-Identifier: GPL-3.0-or-later
/** Persistent handles (`persistent:strength = yes`) when processes, or the host, die or stand still. */
import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import { DevSamba, tryLock } from './lib/dev-samba.js';
import { killed } from './lib/faults.js';
import { bootHost, killHost } from './lib/host-reset.js';
import { lockNumbered, replayNumbered } from './lib/numbered-locks.js';
import { childOf, drop, type Held, isKeptDescription, optionsOf, resume } from './lib/scenario.js';
import { Access, Share, type Smb2Client } from './lib/smb2/index.js';
import { RANGE, STRONG_KINDS, strong, strongOptions } from './lib/strong.js';

const STRENGTH = ['vfs objects = persistent', 'persistent:strength = yes'];

const samba = await DevSamba.up();
await samba.addShare('strong-posix', 'posix locking = yes', ...STRENGTH);
await samba.addShare('process', ...STRENGTH, 'persistent:persistent durability = process');
await samba.addShare('same', `path = ${samba.sharePath('strong')}`, 'vfs objects = persistent');
const test = suite('strength recovery');

const READ_SHARED = () => strongOptions({}, { share: Share.READ });

async function comesBack(held: Held): Promise<void> {
  const { client, open } = await resume(samba, held);
  assert.ok(isKeptDescription(samba, held.path));
  assert.equal(samba.handle(held.name).kind, 'persistent');
  assert.equal(open.oplock, held.open.oplock);
  assert.equal(open.granted.lease?.state, held.open.granted.lease?.state);
  assert.equal(String(await open.read(0, 20).ok()), 'still here');
  await open.unlock(RANGE).ok();
  assert.equal(await open.unlock(RANGE).code(), 'RANGE_NOT_LOCKED');
  await open.close().ok();
  await client.drop();
}

/** The very first that another client does: share mode and locks are in force. */
async function isProtected(held: Held, share = held.client.tree.share): Promise<void> {
  const other = await samba.connect(share);
  assert.equal(
    await other.open(held.name, { access: Access.WRITE_DATA }).code(),
    'SHARING_VIOLATION',
  );
  await other.drop();
}

async function locked(share: string, options = READ_SHARED()): Promise<Held> {
  const held = await strong(samba, options, share);
  await held.open.lock(RANGE).ok();
  const durability = share === 'process' ? 'process' : 'host';
  assert.equal(samba.handle(held.name).durability, durability, 'its lock was flushed in time');
  return held;
}

async function killChild(pid: number, client: Smb2Client): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await client.drop();
  await samba.until('its end', () => !existsSync(`/proc/${pid}`));
}

type Loss = (held: Held, pid: number) => Promise<void>;

const losses: Record<string, Loss> = {
  'its child was killed': ({ client }, pid) => killChild(pid, client),
  'smbd was restarted': async ({ client }) => {
    await samba.verb('restart', 'smbd');
    await client.drop();
  },
  'all of smbd was killed': async ({ client }) => {
    await samba.verb('kill', 'smbd');
    await client.drop();
    await samba.verb('restart', 'smbd');
  },
  'smbd was restarted while it was away': async (held) => {
    await drop(samba, held);
    await samba.verb('restart', 'smbd');
  },
  'persistd was killed': async (held) => {
    await drop(samba, held);
    await killed(samba, 'persistd');
    await samba.verb('restart', 'persistd');
  },
  'the keeper was upgraded': async (held) => {
    await drop(samba, held);
    await samba.verb('upgrade', 'keeper');
  },
  'the keeper was killed': async (held) => {
    await drop(samba, held);
    await samba.verb('kill', 'keeper');
    await samba.verb('restart', 'keeper');
  },
  'the host was reset while it was away': async (held) => {
    await drop(samba, held);
    await killHost(samba);
    await bootHost(samba);
  },
  'the host was reset while it was connected': async ({ client }) => {
    await killHost(samba);
    await client.drop();
    await bootHost(samba);
  },
};

for (const [loss, lose] of Object.entries(losses)) {
  for (const [share, name] of [
    ['strong', 'v2, batch oplock'],
    ['strong-posix', 'v2, lease v2'],
  ] as const) {
    test(`${share}: a ${name} handle is in force before anybody opens, and comes back, when ${loss}`, async () => {
      const options = { ...optionsOf(STRONG_KINDS[name]), share: Share.READ };
      const [held, pid] = await childOf(samba, () => locked(share, options));
      await lose(held, pid);
      if (share === 'strong-posix') {
        await samba.until('its kernel lock', () => tryLock(held.path, 0, 10) !== 'locked');
      }
      await isProtected(held);
      await comesBack(held);
      await samba.nothingLeft();
    });
  }
}

for (const death of ['its child was killed', 'smbd was restarted', 'the keeper was killed']) {
  test(`a LOCK that was answered is not done again when ${death}`, async () => {
    const [held, pid] = await childOf(samba, () => strong(samba));
    await lockNumbered(held.open, RANGE);
    await losses[death]?.(held, pid);
    const { open } = await resume(samba, held);
    await replayNumbered(open, RANGE);
    await open.close().ok();
    await samba.nothingLeft();
  });
}

test('it outlives one after the other: its child, smbd, the keeper, the host', async () => {
  let [held, pid] = await childOf(samba, () => locked('strong'));
  await killChild(pid, held.client);
  await isProtected(held, 'same');
  [held, pid] = await childOf(samba, () => resume(samba, held));
  for (const loss of ['smbd was restarted', 'the keeper was killed']) {
    await losses[loss]?.(held, pid);
    await isProtected(held);
    held = await resume(samba, held);
  }
  await losses['the host was reset while it was connected']?.(held, pid);
  await isProtected(held);
  await comesBack(held);
  await samba.nothingLeft();
});

test('a sibling with a connection of before is refused when its child is killed', async () => {
  const sibling = await samba.connect('same');
  const [held, pid] = await childOf(samba, () => locked('strong'));
  await killChild(pid, held.client);
  const writing = { access: Access.WRITE_DATA };
  assert.equal(await sibling.open(held.name, writing).code(), 'SHARING_VIOLATION');
  await comesBack(held);
  await samba.nothingLeft();
});

test('refused while persistd is away, resumed when it is back', async () => {
  const held = await locked('strong');
  await drop(samba, held);
  await killed(samba, 'persistd');
  await isProtected(held);
  const early = await samba.back(held.client, 'strong');
  assert.equal(await early.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  await early.drop();
  await samba.verb('restart', 'persistd');
  await comesBack(held);
  await samba.nothingLeft();
});

test('a moment without persistd at the drop costs no resume in the same smbd child', async () => {
  const held = await locked('strong');
  held.client.partition();
  const persistd = samba.pid('persistd');
  process.kill(persistd, 'SIGSTOP');
  let back: Smb2Client;
  try {
    back = await samba.back(held.client, 'strong');
  } finally {
    process.kill(persistd, 'SIGCONT');
  }
  await (await back.reconnect(held.open).ok()).close().ok();
  await samba.nothingLeft();
});

test('durability = process: the keeper is killed while it is away: it protects nothing, and is refused', async () => {
  const held = await locked('process');
  await drop(samba, held);
  await killed(samba, 'keeper');
  const other = await samba.connect('process');
  await (await other.open(held.name).ok()).close().ok();
  await samba.verb('restart', 'keeper');
  const back = await samba.back(held.client, 'process');
  assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  await samba.nothingLeft();
});

test.after(() => samba.down());
test.run();
