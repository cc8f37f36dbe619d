// SPDX-License-Identifier: GPL-3.0-or-later
/** `persistent:strength = yes` while its promises cannot be had: a handle is granted as what it is. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { Faults } from './lib/fault-points.js';
import { killed } from './lib/faults.js';
import { drop, type Held } from './lib/scenario.js';
import { Share } from './lib/smb2/index.js';
import { strongOptions } from './lib/strong.js';

/** Of the module, and the same again for a slow machine. */
const BOUND_MS = 400;

const samba = await DevSamba.up('--faults');
await samba.addShare(
  'process',
  'vfs objects = persistent',
  'persistent:strength = yes',
  'persistent:persistent durability = process',
);
const faults = new Faults(samba);
const test = suite('strength outage');

/** It is granted as a durable handle and treated as one: in nobody's way. */
async function isDurableOnly(held: Held): Promise<void> {
  const { kind, durability } = await samba.until('its kind', () => {
    const handle = samba.handles('--all').find((h) => h.path === held.path);
    return handle?.kind === 'durable' && handle;
  });
  assert.deepEqual([kind, durability], ['durable', 'process']);
  await drop(samba, held);
  const other = await samba.connect(held.client.tree.share);
  await (await other.open(held.name, { share: Share.NONE }).ok()).close().ok();
  assert.equal(samba.handle(held.name).state, 'superseded');
}

async function quickly(share: string): Promise<Held> {
  const client = await samba.connect(share);
  await (await client.open('warm-up.txt').ok()).close().ok();
  const name = `quick-${share}-${performance.now()}.txt`;
  const began = performance.now();
  const open = await client.open(name, strongOptions({}, { share: Share.NONE })).ok();
  const tookMs = performance.now() - began;
  assert.ok(open.granted.durableV2, 'durable');
  assert.ok(tookMs < BOUND_MS, `the CREATE took ${tookMs} ms`);
  return { client, open, name, path: samba.sharePath(share, name) };
}

for (const share of ['strong', 'process']) {
  test(`${share}: without persistd it is granted as a durable handle, and is one`, async () => {
    await killed(samba, 'persistd');
    const held = await quickly(share);
    const began = performance.now();
    const second = await held.client.open(`second-${held.name}`, strongOptions()).ok();
    assert.ok(performance.now() - began < BOUND_MS / 2, 'nobody waits for a second after that');
    await second.close().ok();
    await samba.verb('restart', 'persistd');
    await isDurableOnly(held);
    await samba.nothingLeft();
  });

  test(`${share}: with a persistd that stands still it is granted as a durable handle`, async () => {
    const persistd = samba.pid('persistd');
    const client = await samba.connect(share);
    process.kill(persistd, 'SIGSTOP');
    let held: Held;
    try {
      held = await quickly(share);
    } finally {
      process.kill(persistd, 'SIGCONT');
    }
    await client.drop();
    await isDurableOnly(held);
    await samba.nothingLeft();
  });

  test(`${share}: its child dies while it is granted as a durable handle: it is one, or nothing`, async () => {
    for (const point of ['strength.before-record', 'strength.after-record']) {
      await killed(samba, 'persistd');
      const client = await samba.connect(share);
      faults.kill(point);
      const name = `half-${share}-${point}.txt`;
      await assert.rejects(client.open(name, strongOptions()).ok());
      await samba.verb('restart', 'persistd');
      await samba.until('what is left', () => samba.handles().some((h) => h.path.endsWith(name)));
      await samba.nothingLeft();
    }
  });
}

test('without a flush in time it is granted as a durable handle', async () => {
  const flush = faults.hold('persistd.before-flush');
  const held = await quickly('strong');
  await flush.release();
  await isDurableOnly(held);
  await samba.nothingLeft();
});

for (const [what, begin, end] of [
  ['without a keeper', () => killed(samba, 'keeper'), () => samba.verb('restart', 'keeper')],
  [
    'with a keeper that stands still',
    async () => void process.kill(samba.pid('keeper'), 'SIGSTOP'),
    async () => void process.kill(samba.pid('keeper'), 'SIGCONT'),
  ],
] as const) {
  for (const share of ['strong', 'process']) {
    test(`${share}: ${what} it is granted as a durable handle`, async () => {
      await begin();
      let held: Held;
      try {
        held = await quickly(share);
      } finally {
        await end();
      }
      await isDurableOnly(held);
      await samba.nothingLeft();
    });
  }
}

test('one that was granted as durable is made resilient by its client, as any other', async () => {
  await killed(samba, 'persistd');
  const held = await quickly('strong');
  await samba.verb('restart', 'persistd');
  await samba.until('persistd and the child', () =>
    samba.handles('--all').some((h) => h.path === held.path),
  );
  // its smbd child has to find persistd first
  const endMs = Date.now() + 10_000;
  let code = await held.open.requestResiliency(60_000).code();
  while (code === 'INVALID_DEVICE_REQUEST' && Date.now() < endMs) {
    code = await held.open.requestResiliency(60_000).code();
  }
  assert.equal(code, 'SUCCESS');
  assert.equal(samba.handle(held.name).kind, 'resilient');
  await held.open.close().ok();
  await samba.nothingLeft();
});

test.after(() => samba.down());
test.run();
