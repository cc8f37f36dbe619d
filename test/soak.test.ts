// SPDX-License-Identifier: GPL-3.0-or-later
/** A short one of `make soak`, with a seed of its own. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import { soak } from './soak/driver.js';

const SEED = 20;
const SECONDS = 20;

const samba = await DevSamba.up();
const test = suite('soak');

test('random clients on few files: data, locks and handles are as the model has them', async () => {
  const report = await soak(samba, {
    seed: SEED,
    minutes: SECONDS / 60,
    clients: 6,
    files: 4,
    maxErrors: 3,
    // kills of persistd are kills.test.ts's; together with these: make soak
    outageEveryMs: Number.POSITIVE_INFINITY,
    onProgress: () => undefined,
  });
  assert.equal(report.errors.length, 0, report.summary());
  assert.ok(report.drops > 10 && report.resumes > 5, report.summary());
});

test.after(() => samba.down());
test.run();
