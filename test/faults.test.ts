// SPDX-License-Identifier: GPL-3.0-or-later
/** A short one of `make faults`: each named point once, with a seed of its own. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { Bench } from './faults/bench.js';
import { runFaults } from './faults/driver.js';
import { scenariosOf } from './faults/scenarios.js';
import { faultPoints } from './lib/fault-points.js';

const SEED = 2;
const MINUTES = 12;

const bench = await Bench.up();
const test = suite('faults');
const points = faultPoints();

test('something leads to each point', () => {
  assert.deepEqual(
    points.filter((point) => scenariosOf(point).length === 0),
    [],
  );
});

test('killed at each point, every handle is resumed, or has ended by a rule', async () => {
  const report = await runFaults(bench, {
    ...{ seed: SEED, points, iterations: points.length, minutes: MINUTES },
    onProgress: () => undefined,
  });
  assert.ok(report.isGood, report.table());
});

test.after(() => bench.samba.down());
test.run();
