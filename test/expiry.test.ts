// SPDX-License-Identifier: GPL-3.0-or-later
/** How long a client may stay away, and what is left when it stayed too long. */
import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS, tryLock } from './lib/dev-samba.js';
import { hold, newName, optionsOf, resume, USUAL } from './lib/scenario.js';
import { Share } from './lib/smb2/index.js';
import { watch } from './lib/watch.js';

const samba = await DevSamba.up();
await samba.addShare(
  'limited',
  'posix locking = no',
  'vfs objects = persistent',
  'persistent:durable timeout = 7',
  'persistent:durable timeout max = 20',
);
const events = await watch(samba);
const test = suite('expiry');

/** persistctl must have time to look at it before. */
const T = 4000;
const LATE_MS = 100;

const ASKED: readonly { share: string; asked: number; granted: number }[] = [
  { share: 'durable', asked: 1500, granted: 1500 },
  { share: 'durable', asked: 0, granted: 60_000 },
  { share: 'durable', asked: 300_000, granted: 300_000 },
  { share: 'durable', asked: 900_000, granted: 300_000 },
  { share: 'limited', asked: 0, granted: 7_000 },
  { share: 'limited', asked: 1, granted: 1 },
  { share: 'limited', asked: 19_999, granted: 19_999 },
  { share: 'limited', asked: 20_001, granted: 20_000 },
  { share: 'limited', asked: 900_000, granted: 20_000 },
];
for (const { share, asked, granted } of ASKED) {
  for (const label of ['v2, batch oplock', 'v2, lease v2'] as const) {
    test(`${share}: ${label}: ${asked} ms asked is ${granted} ms, on the wire and in the table`, async () => {
      const options = optionsOf(DURABLE_KINDS[label], { timeoutMs: asked });
      const { client, open, name } = await hold(samba, share, options);
      assert.equal(open.granted.durableV2?.timeoutMs, granted);
      await samba.until('the grant', () => samba.handle(name).timeout_ms === granted);
      await open.close().ok();
      await client.drop();
    });
  }
}

test('v1: stock gives 16 minutes, a share its default', async () => {
  for (const [share, timeoutMs] of [
    ['durable', 16 * 60_000],
    ['limited', 7_000],
  ] as const) {
    const { client, open, name } = await hold(
      samba,
      share,
      optionsOf(DURABLE_KINDS['v1, batch oplock']),
    );
    const handle = await samba.until('the grant', () => samba.handle(name));
    assert.equal(handle.timeout_ms, timeoutMs);
    await open.close().ok();
    await client.drop();
  }
});

/** Smbd's own time of the last disconnect; a poll might come after the expiry. */
async function disconnectedAt(name: string): Promise<string> {
  await events.next('disconnect', name);
  const { disconnected_at } = samba.handle(name);
  assert.ok(disconnected_at, 'it has expired before it was looked at');
  return disconnected_at;
}

/** Until this long after the disconnect, by smbd's own time of it. */
async function untilAfter(since: string, ms: number): Promise<void> {
  await sleep(Math.max(0, Date.parse(since) + ms - Date.now()));
}

test('a client that is back just before the deadline has its handle', async () => {
  let held = await hold(samba, 'durable', optionsOf(USUAL, { timeoutMs: T }));
  await held.client.drop();
  const disconnected_at = await disconnectedAt(held.name);
  const client = await samba.back(held.client, 'durable');
  await untilAfter(disconnected_at, T - 100);
  held = { ...held, client, open: await client.reconnect(held.open).ok() };
  await untilAfter(disconnected_at, T + 500);
  await held.open.write(0, 'in time').ok();
  await held.open.close().ok();
});

test('a client that is back just after the deadline is refused', async () => {
  const held = await hold(samba, 'durable', optionsOf(USUAL, { timeoutMs: T }));
  await held.client.drop();
  const disconnected_at = await disconnectedAt(held.name);
  const client = await samba.back(held.client, 'durable');
  await untilAfter(disconnected_at, T + 20);
  assert.equal(await client.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  assert.equal(samba.handle(held.name).state, 'expired');
});

test('expiry is never early and at most 100 ms late, for many at once', async () => {
  const timeouts = new Map<string, number>();
  for (let i = 0; i < 12; i++) {
    const timeoutMs = 4000 + 100 * i;
    const share = i % 2 ? 'durable' : 'posix';
    const { client, name } = await hold(samba, share, optionsOf(USUAL, { timeoutMs }));
    timeouts.set(name, timeoutMs);
    await client.drop();
    await events.next('disconnect', name);
  }
  const handles = samba.handles();
  for (const [name, timeoutMs] of timeouts) {
    const { disconnected_at, expires_at } = handles.find((h) => h.filename === name) ?? {};
    const deadline = Date.parse(expires_at ?? '');
    // both are shown in whole milliseconds
    assert.ok(Math.abs(deadline - Date.parse(disconnected_at ?? '') - timeoutMs) <= 1);
    const lateMs = Date.parse((await events.next('expire', name)).at) - deadline;
    assert.ok(lateMs >= 0 && lateMs <= LATE_MS, `${name}: ${lateMs} ms late`);
  }
  await samba.until('an empty keeper', () => samba.kept() === 0);
});

for (const share of ['durable', 'posix']) {
  for (const [label, kind] of Object.entries({
    'v2, batch oplock': DURABLE_KINDS['v2, batch oplock'],
    'v2, lease v2': DURABLE_KINDS['v2, lease v2'],
  })) {
    test(`${share}: ${label}: an expired handle does not hinder the next opener`, async () => {
      const options = { ...optionsOf(kind, { timeoutMs: 1000 }), share: Share.NONE };
      const held = await hold(samba, share, options);
      await held.open.lock({ offset: 0, length: 10 }).ok();
      await held.client.drop();
      await events.next('expire', held.name);
      await samba.until('an empty keeper', () => samba.kept() === 0);
      assert.equal(tryLock(held.path, 0, 10), 'locked');
      const other = await samba.connect(share);
      const open = await other.open(held.name, { share: Share.NONE }).ok();
      await open.lock({ offset: 0, length: 10 }).ok();
      await open.close().ok();
      await other.tree.unlink(held.name);
      assert.equal(existsSync(held.path), false);
      await other.drop();
    });
  }
}

test('each disconnect starts the time anew (Samba bug 15750)', async () => {
  let held = await hold(samba, 'durable', optionsOf(USUAL, { timeoutMs: T }));
  const start = Date.now();
  for (let round = 0; round < 5; round++) {
    await held.client.drop();
    await sleep(0.6 * T);
    held = await resume(samba, held);
    await held.open.write(round, String(round)).ok();
  }
  assert.ok(Date.now() - start > 2 * T);
  await held.client.drop();
  await events.next('expire', held.name);
  const back = await samba.back(held.client, 'durable');
  assert.equal(await back.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
});

test('the time of one handle does not end another of the same file', async () => {
  const name = newName();
  const rh = { state: 3 };
  const brief = await hold(samba, 'durable', optionsOf(USUAL, { ...rh, timeoutMs: 1000 }), name);
  let long = await hold(samba, 'durable', optionsOf(USUAL, { ...rh, timeoutMs: 30_000 }), name);
  await brief.client.drop();
  await long.client.drop();
  await events.next('expire', name);
  long = await resume(samba, long);
  await long.open.write(0, 'still here').ok();
  const back = await samba.back(brief.client, 'durable');
  assert.equal(await back.reconnect(brief.open).code(), 'OBJECT_NAME_NOT_FOUND');
  await long.open.close().ok();
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(async () => {
  await events.end();
  await samba.down();
});
test.run();
