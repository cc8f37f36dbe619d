// SPDX-License-Identifier: GPL-3.0-or-later
/** The owner's smbd child is killed at each step of a drop and of a resume: nothing is lost. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { DevSamba, tryLock } from './lib/dev-samba.js';
import { Faults, faultPoints } from './lib/fault-points.js';
import {
  childOf,
  type Held,
  hold,
  isKeptDescription,
  optionsOf,
  resume,
  USUAL,
} from './lib/scenario.js';

const samba = await DevSamba.up('--faults');
const faults = new Faults(samba);
const test = suite('kill points');
const RANGE = { offset: 0, length: 10 };
const SHARED = faultPoints().filter((point) => /^(entry|locks)\./.test(point));
const of = (...steps: string[]): string[] => [
  ...faultPoints().filter((point) => steps.includes(point.split('.')[0] ?? '')),
  ...SHARED,
];

const kinds: Record<string, { make(): Promise<Held>; drop: string[] }> = {
  durable: { make: () => hold(samba, 'durable', optionsOf(USUAL)), drop: of('disconnect') },
  resilient: {
    make: async () => {
      const held = await hold(samba, 'posix', optionsOf(USUAL));
      await held.open.requestResiliency(60_000).ok();
      return held;
    },
    drop: of('disconnect', 'protect'),
  },
};

function isOver(pid: number): boolean {
  return !samba.status().clientPids.includes(pid);
}

async function isIntact(held: Held): Promise<void> {
  const back = await resume(samba, held);
  assert.ok(isKeptDescription(samba, held.path));
  assert.equal(back.open.granted.lease?.state, held.open.granted.lease?.state);
  assert.equal(String(await back.open.read(0, 20).ok()), 'written before');
  await back.open.unlock(RANGE).ok();
  await back.open.close().ok();
  await samba.nothingLeft();
}

for (const [kind, { make, drop }] of Object.entries(kinds)) {
  async function connected(): Promise<[Held, number]> {
    const [held, pid] = await childOf(samba, make);
    await held.open.write(0, 'written before').ok();
    await held.open.lock(RANGE).ok();
    return [held, pid];
  }

  const killed = new Set<string>();

  for (const point of drop) {
    test(`${kind}: killed at ${point} of the drop, it is resumed`, async () => {
      const [held, pid] = await connected();
      faults.kill(point);
      await held.client.drop();
      await samba.until('the end of its smbd child', () => isOver(pid));
      if (faults.disarm(point)) killed.add(`drop ${point}`);
      await isIntact(held);
    });
  }

  for (const point of of('resume')) {
    test(`${kind}: killed at ${point} of the resume, it is resumed by the next`, async () => {
      const [held] = await connected();
      await held.client.drop();
      await samba.disconnected(held.name);
      faults.kill(point);
      const first = await samba.back(held.client, held.client.tree.share);
      const answer = await first.reconnect(held.open).then(
        (reply) => reply.code,
        () => 'killed',
      );
      if (faults.disarm(point)) killed.add(`resume ${point}`);
      else assert.equal(answer, 'SUCCESS');
      await first.drop();
      await isIntact(held);
    });
  }

  test(`${kind}: most of the points were come to`, () => {
    assert.ok(killed.size > 12, [...killed].join(', '));
  });
}

test('killed in a LOCK, before smbd has a record of it: the kernel does not keep it', async () => {
  const held = await hold(samba, 'posix', optionsOf(USUAL));
  await held.open.write(0, 'written before').ok();
  await held.open.lock(RANGE).ok();
  faults.kill('lock.after-event');
  await held.open.lock({ offset: 20, length: 10 }).then(
    () => assert.fail('it was answered'),
    () => undefined,
  );
  const back = await resume(samba, held);
  assert.equal(tryLock(held.path, 20, 10), 'locked');
  assert.match(tryLock(held.path, 0, 10), /^busy/);
  await back.open.unlock(RANGE).ok();
  await back.open.close().ok();
  await samba.nothingLeft();
});

test.after(() => samba.down());
test.run();
