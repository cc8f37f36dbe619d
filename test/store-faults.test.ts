// SPDX-License-Identifier: GPL-3.0-or-later
// The disk of persistd's store fails while clients work: a real smbd, a real persistd.

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { StatsView } from '../daemon/src/shared/admin.js';
import { Persistd } from './fixtures/persistd.js';
import { DevSamba } from './lib/dev-samba.js';
import { killed } from './lib/faults.js';
import { drop, hold, isKeptDescription, resume } from './lib/scenario.js';
import { STORE_FAULTS, storeOf } from './lib/store-faults.js';

const SHARE = 'durable';

function stats(samba: DevSamba): StatsView {
  return samba.stats() as unknown as StatsView;
}

interface Dump {
  records: { key: string; disconnect: object | null; locks: object[] }[];
  problems: object[];
}

function dump(samba: DevSamba, persistd: Persistd): Dump {
  const { stdout, status, stderr } = samba.ctl(
    ...['store', 'dump', '--json', '--store', storeOf(persistd)],
  );
  assert.is(status, 0, stderr);
  return JSON.parse(stdout);
}

/** What it logs arrives when this process has time to read it. */
function said(samba: DevSamba, persistd: Persistd, what: RegExp): Promise<boolean> {
  return samba.until(`${what} in the log`, () => what.test(persistd.log));
}

for (const fault of STORE_FAULTS) {
  test(`${fault.name}: handles go on, and nothing is missing in the end`, async () => {
    const samba = await DevSamba.up();
    const persistd = new Persistd(samba.dir);
    try {
      await killed(samba, 'persistd');
      await persistd.start(fault.surroundings(persistd));

      const before = await hold(samba, SHARE);
      const gone = await hold(samba, SHARE);
      await samba.until('two stored handles', () => dump(samba, persistd).records.length === 2);

      fault.begin(persistd);
      await drop(samba, before);
      await samba.until('a fault', () => stats(samba).store_faults === 1);
      const back = await resume(samba, before);
      assert.ok(isKeptDescription(samba, back.path), 'it is the same description');
      const during = await hold(samba, SHARE);
      await during.open.lock({ offset: 0n, length: 10n }).ok();
      await drop(samba, during);
      await gone.open.close().ok();
      await samba.until('the close', () =>
        samba.handles('--all').some(({ path, state }) => path === gone.path && state === 'closed'),
      );

      const { stdout, status } = samba.ctl('doctor', '--json');
      assert.is(status, 1);
      const check = JSON.parse(stdout).checks.find(
        (each: { check: string }) => each.check === 'store',
      );
      assert.is(check.status, 'fail');
      assert.match(check.message, fault.reason);
      assert.match(check.remedy, fault.remedy);
      await said(samba, persistd, /"level":50.*cannot be written.*Handles stay resumable/);
      assert.ok(stats(samba).store_unwritten > 0);

      fault.end(persistd);
      await samba.until('all of it in the store', () => stats(samba).store_unwritten === 0);
      assert.is(stats(samba).store_faults, 1);
      await said(samba, persistd, /can be written again and has everything/);
      const { records, problems } = dump(samba, persistd);
      assert.equal(problems, []);
      const stored = new Map(records.map((each) => [each.key, each]));
      assert.is(stored.size, 2);
      assert.is(stored.get(samba.handle(back.name).id)?.disconnect, null);
      const away = stored.get(samba.handle(during.name).id);
      assert.ok(away?.disconnect);
      assert.is(away?.locks.length, 1);

      const bytes = readFileSync(join(storeOf(persistd), 'data.mdb'));
      await persistd.end('SIGKILL');
      writeFileSync(join(persistd.storeDir, 'data.mdb'), bytes);
      await persistd.start();
      assert.is(samba.handle(during.name).locks.length, 1);
      const again = await resume(samba, during);
      assert.ok(isKeptDescription(samba, again.path), 'it is the same description');
      await samba.nothingLeft();
    } finally {
      await persistd.end('SIGKILL');
      await samba.down();
    }
  });
}

test('without its store persistd learns from fdkeeper what handles there are', async () => {
  const samba = await DevSamba.up();
  try {
    const away = await hold(samba, SHARE);
    await drop(samba, away);
    const inUse = await hold(samba, SHARE);
    await samba.until('a descriptor for each', () => samba.handle(inUse.name).retained);
    await killed(samba, 'persistd');
    rmSync(join(samba.dir, 'store'), { recursive: true });
    await samba.verb('restart', 'persistd');
    await samba.disconnected(away.name);
    await drop(samba, inUse);
    for (const held of [away, inUse]) {
      const { path } = await resume(samba, held);
      assert.ok(isKeptDescription(samba, path), 'it is the same description');
    }
    await samba.nothingLeft();
  } finally {
    await samba.down();
  }
});

test.run();
