// SPDX-License-Identifier: GPL-3.0-or-later
/** The points at which the other tests hold or kill processes of ours. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { Faults, faultPoints } from './lib/fault-points.js';
import { hold, optionsOf, USUAL } from './lib/scenario.js';

const samba = await DevSamba.up('--faults');
const faults = new Faults(samba);
const test = suite('fault points');

test('each has a name of its own, of the form OPERATION.STEP', () => {
  const points = faultPoints();
  assert.ok(points.length > 60);
  assert.deepEqual(points, [...new Set(points)]);
  for (const point of points) assert.match(point, /^[a-z-]+\.[a-z-]+$/);
});

test('what is installed has none', () => {
  for (const file of ['persistent.so', 'fdkeeper']) {
    const symbols = execFileSync('nm', [`build/${file}`], { encoding: 'utf8' });
    assert.ok(!symbols.includes('fault_reached'), file);
    const tested = execFileSync('nm', [`build/test-build/${file}`], { encoding: 'utf8' });
    assert.ok(tested.includes('fault_reached'), file);
  }
});

for (const point of ['grant.after-deposit', 'keeper.after-deposit', 'persistd.before-commit']) {
  test(`a process waits at ${point} until it is let go, once`, async () => {
    const client = await samba.connect('durable');
    const held = faults.hold(point);
    const name = `${point}.txt`;
    const call = client.open(name, optionsOf(USUAL));
    await held.arrived;
    await held.release();
    await (await call.ok()).close().ok();
    const again = await client.open(name, optionsOf(USUAL)).ok();
    await samba.until('persistd to know it', () => samba.handles('--all').length > 0);
    await again.close().ok();
    await client.drop();
  });
}

test('an smbd child dies at a point', async () => {
  const { client } = await hold(samba, 'durable');
  faults.kill('close.before-drop');
  await (await client.open('dies.txt', optionsOf(USUAL)).ok()).close().then(
    () => assert.fail('it lives'),
    () => undefined,
  );
  await client.closed;
});

for (const [part, point] of [
  ['keeper', 'keeper.before-drop'],
  ['persistd', 'persistd.after-commit'],
] as const) {
  test(`${part} dies at ${point}`, async () => {
    const pid = samba.pid(part);
    const { client, open } = await hold(samba, 'durable');
    await samba.until('persistd to know it', () => samba.handles('--all').length > 0);
    faults.kill(point);
    await open.close().ok();
    await samba.until(`the end of ${part}`, () => samba.status().pids[part] !== pid);
    await samba.verb('restart', part);
    await client.drop();
  });
}

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
