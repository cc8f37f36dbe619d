// SPDX-License-Identifier: GPL-3.0-or-later
/** What passes without the module passes with it, by Samba's own tests. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { type Comparison, compare, passes, runTests, type Target } from './lib/smbtorture.js';

// The suites mostly wait for breaks and timeouts, so three at a time take no
// longer than the longest, and use no more of a processor than one would.
const LANES = [
  ['smb2.replay'],
  ['smb2.lease'],
  [
    'smb2.durable-open',
    'smb2.durable-v2-open',
    'smb2.durable-v2-delay',
    'smb2.lock',
    'smb2.rename',
    'smb2.create',
    'smb2.oplock',
  ],
];
// alternate streams need a module that stores them
const STREAMS = 'vfs objects = streams_xattr';
const STREAMS_DURABLE = 'vfs objects = persistent streams_xattr';
const POSIX_LANE = ['smb2.durable-open', 'smb2.durable-v2-open', 'smb2.lock'];

const samba = await DevSamba.up();
// Stock Samba panics when a client with a lock drops off a share with POSIX
// locking. In an instance without the module nobody takes that for our panic.
const stock = await DevSamba.up('--plain-only');
await samba.addShare('streams-plain', 'posix locking = no', STREAMS);
await samba.addShare('streams', 'posix locking = no', STREAMS_DURABLE);
const test = suite('smbtorture');
const comparisons: { name: string; comparison: Promise<Comparison> }[] = [];

function startLane(suites: string[], plain: Target, durable: Target): void {
  let before: Promise<unknown> = Promise.resolve();
  for (const each of suites) {
    const comparison = before.then(() => compare(each, { plain, durable }));
    before = comparison.catch(() => undefined);
    comparisons.push({ name: `${each} on ${durable.share}`, comparison });
  }
}

const share = (name: string): Target => ({ samba, share: name });
for (const lane of LANES) startLane(lane, share('plain'), share('durable'));
startLane(['smb2.streams'], share('streams-plain'), share('streams'));
startLane(POSIX_LANE, { samba: stock, share: 'posix-plain' }, share('posix'));

const table: string[] = [];

function addRow(name: string, { names, plain, durable, worse, better }: Comparison): void {
  const passed = (results: Comparison['plain']) => names.filter((n) => passes(results, n)).length;
  const counts = `${passed(plain)}/${passed(durable)} of ${names.length}`;
  table.push(`${name.padEnd(34)} ${counts.padEnd(14)} ${worse.length} worse`);
  if (better.length > 0) table.push(`  better: ${better.map(last).join(' ')}`);
}

const last = (name: string): string => name.slice(name.lastIndexOf('.') + 1);

for (const { name, comparison } of comparisons) {
  test(`${name}: what passes without the module passes with it`, async () => {
    const compared = await comparison;
    addRow(name, compared);
    const failures = compared.worse.map((each) => {
      const { outcome, detail } = compared.durable.get(each) ?? {};
      return `${each}: ${outcome} ${detail}`;
    });
    assert.deepEqual(failures, []);
    assert.ok(compared.names.some((each) => passes(compared.durable, each)));
  });
}

test('replay_broken_windows, the only test of resilient handles, needs dialect 2.1', async () => {
  const name = 'smb2.lock.replay_broken_windows';
  const outcome = async (on: Target) =>
    (await runTests({ ...on, maxProtocol: 'SMB2_10' }, [name])).get(name)?.outcome;
  assert.equal(await outcome(share('plain')), 'failure');
  assert.equal(await outcome(share('durable')), 'success');
});

test('nothing is left behind, and smbd did not panic', () => samba.nothingLeft());
test.after(async () => {
  console.log(`\n${'suite'.padEnd(34)} passed plain/durable\n${table.join('\n')}`);
  await samba.down();
  await stock.down();
});
test.run();
