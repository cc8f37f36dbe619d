// SPDX-License-Identifier: GPL-3.0-or-later
/** What an administrator sets for resilient handles, sees of them, and does about them. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { type Open, Share, type Smb2Client } from './lib/smb2/index.js';
import { watch } from './lib/watch.js';

const FREE_MS = 200;

const samba = await DevSamba.up();
await samba.addShare(
  'limited',
  'vfs objects = persistent',
  'persistent:resilient timeout = 7',
  'persistent:resilient timeout max = 20',
);
await samba.addShare(
  'low',
  'vfs objects = persistent',
  'persistent:resilient timeout = 90',
  'persistent:resilient timeout max = 30',
);
const events = await watch(samba);
const test = suite('protection');

let serial = 0;
const newName = (): string => `protected-${++serial}.txt`;

const ASKED: readonly { share: string; asked: number; granted: number | null }[] = [
  { share: 'durable', asked: 0, granted: 120_000 },
  { share: 'durable', asked: 300_000, granted: 300_000 },
  { share: 'durable', asked: 301_000, granted: null },
  { share: 'limited', asked: 0, granted: 7_000 },
  { share: 'limited', asked: 20_000, granted: 20_000 },
  // MS-SMB2 3.3.5.15.9 compares whole seconds
  { share: 'limited', asked: 20_999, granted: 20_999 },
  { share: 'limited', asked: 21_000, granted: null },
  { share: 'low', asked: 0, granted: 30_000 },
];
for (const { share, asked, granted } of ASKED) {
  const outcome = granted === null ? 'refused' : `${granted} ms`;
  test(`${share}: a resiliency request of ${asked} ms is ${outcome}`, async () => {
    const client = await samba.connect(share);
    const name = newName();
    const open = await client.open(name).ok();
    const code = await open.requestResiliency(asked).code();
    assert.equal(code, granted === null ? 'INVALID_PARAMETER' : 'SUCCESS');
    if (granted !== null) assert.equal(samba.handle(name).timeout_ms, granted);
    await open.close().ok();
    await client.drop();
  });
}

async function away(name: string): Promise<{ client: Smb2Client; open: Open; id: string }> {
  const client = await samba.connect('durable');
  const open = await client.open(name, { share: Share.NONE }).ok();
  await open.requestResiliency(60_000).ok();
  await open.lock({ offset: 0, length: 10 }).ok();
  await client.drop();
  const { id } = await samba.disconnected(name);
  return { client, open, id };
}

for (const verb of ['close', 'expire'] as const) {
  test(`persistctl ${verb}: the next opener has the file within ${FREE_MS} ms, and no smbd was touched`, async () => {
    const name = newName();
    const { id } = await away(name);
    const other = await samba.connect('durable');
    const smbds = samba.status().clientPids;
    assert.equal(await other.open(name).code(), 'SHARING_VIOLATION');
    const ended = events.next(verb, name);
    assert.equal(samba.ctl(verb, id).status, 0);
    const { at } = await ended;
    const theirs = await other.open(name, { share: Share.NONE }).ok();
    const tookMs = Date.now() - Date.parse(at);
    await theirs.lock({ offset: 0, length: 10 }).ok();
    await theirs.close().ok();
    assert.deepEqual(samba.status().clientPids, smbds);
    // persistctl itself takes most of the time from the event to the open
    const bare = await samba.until('a bare start of persistctl', () => {
      const startMs = performance.now();
      samba.ctl('stats');
      return performance.now() - startMs;
    });
    assert.ok(tookMs < FREE_MS + bare, `${tookMs} ms, of which persistctl ${bare} ms`);
    await other.drop();
  });
}

test('persistctl extend moves the deadline of a resilient handle, too', async () => {
  const name = newName();
  const { client, open, id } = await away(name);
  const before = Date.parse(samba.handle(name).expires_at ?? '');
  assert.equal(samba.ctl('extend', id, '--by', '5m').status, 0);
  const moved = Date.parse(samba.handle(name).expires_at ?? '') - before;
  // told by two clocks, of which each answer reads both
  assert.ok(Math.abs(moved - 300_000) <= 2, `${moved} ms`);
  const back = await samba.back(client, 'durable');
  await (await back.reconnect(open).ok()).close().ok();
  await back.drop();
});

test('watch shows conflicts as they happen, and list shows who was refused', async () => {
  const name = newName();
  const { id } = await away(name);
  const other = await samba.connect('durable');
  for (let times = 1; times <= 3; times++) {
    assert.equal(await other.open(name).code(), 'SHARING_VIOLATION');
    await samba.until('the event of each refusal', () => {
      const seen = events.events.filter((e) => e.event === 'conflict' && e.id === id);
      return seen.length === times && seen.every((e) => e.reason?.startsWith('SHARING_VIOLATION'));
    });
  }
  const { refused_others, last_refused } = samba.handle(name);
  assert.equal(refused_others, 3);
  assert.match(last_refused ?? '', /^127\.0\.0\.1 \(SHARING_VIOLATION\) at /);
  assert.equal(samba.ctl('close', id).status, 0);
  await other.drop();
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(async () => {
  await events.end();
  await samba.down();
});
test.run();
