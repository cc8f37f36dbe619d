// SPDX-License-Identifier: GPL-3.0-or-later
// What persistd finds in place of a good store when it starts, and how it ends
// when it has one that fails. The real persistd, with this test in the part of smbd.

import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { open } from 'lmdb';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { InfoView, StatsView } from '../daemon/src/shared/admin.js';
import { pack } from '../daemon/src/shared/message.js';
import type { SmbdEvent } from '../daemon/src/wire/smbd.js';
import { cookie, record, server } from './fixtures/handle.js';
import { Persistd, Requester, Smbd } from './fixtures/persistd.js';
import { unshareMounts } from './lib/mounts.js';
import { fill, onTmpfs, STORE_FAULTS, type StoreFault, storeOf } from './lib/store-faults.js';

const CTL = resolve('build/daemon/cli/main.js');
const HANDLES = 500;

function grant(number: number): SmbdEvent {
  return {
    type: 'grant',
    body: record({ cookie: cookie(number), serverId: server(process.pid) }),
  };
}

function persistdTest(name: string, body: (persistd: Persistd) => Promise<void>): void {
  test(name, async () => {
    const persistd = new Persistd();
    try {
      await body(persistd);
    } finally {
      await persistd.remove();
    }
  });
}

async function grantTo(persistd: Persistd, ...numbers: number[]): Promise<void> {
  const smbd = new Smbd(persistd);
  try {
    assert.is((await smbd.events(...numbers.map(grant))).type, 'ack');
  } finally {
    smbd.close();
  }
}

async function ask<T>(persistd: Persistd, request: string): Promise<T> {
  const admin = new Requester(persistd.address('admin.sock'));
  try {
    return (await admin.request(request, {})).body as unknown as T;
  } finally {
    admin.close();
  }
}

function doctorOnStore({ runDir, storeDir }: Persistd): { status: string; remedy: string } {
  const args = ['doctor', '--json', '--run-dir', runDir, '--store', storeDir];
  const { stdout } = spawnSync(process.execPath, [CTL, ...args], { encoding: 'utf8' });
  const { checks } = JSON.parse(stdout) as {
    checks: { check: string; status: string; remedy: string }[];
  };
  return checks.find(({ check }) => check === 'store') ?? { status: 'none', remedy: '' };
}

/** One with some hundred records, of a persistd that has ended. */
async function makeStore(persistd: Persistd): Promise<string> {
  await persistd.start();
  await grantTo(persistd, ...Array.from({ length: HANDLES }, (_, index) => index + 1));
  await persistd.end();
  return join(persistd.storeDir, 'data.mdb');
}

function overwrite(file: string, offset: number): void {
  const bytes = readFileSync(file);
  bytes.fill(0xa5, offset, offset + 4096);
  writeFileSync(file, bytes);
}

const SPOILT: [string, (persistd: Persistd, file: string) => unknown, RegExp][] = [
  ['garbage', (_, file) => writeFileSync(file, 'garbage '.repeat(9_999)), /is not an LMDB env/],
  ['a file cut short', (_, file) => truncateSync(file, 20 * 4096), /which was cut short/],
  ['a damaged page', (_, file) => overwrite(file, 20 * 4096), /is damaged: page 20 /],
  ['a record of a newer schema', (persistd) => spoilRecord(persistd, 2), /schema version 2/],
  ['a damaged record', (persistd) => spoilRecord(persistd, 1), /of handle 0+7 is damaged/],
];

async function spoilRecord({ storeDir }: Persistd, schemaVersion: number): Promise<void> {
  const environment = open({ path: storeDir, noSubdir: false, encoding: 'binary' });
  const handles = environment.openDB({ name: 'handles', encoding: 'binary' });
  await handles.put(cookie(7), pack({ schemaVersion }));
  await environment.close();
}

for (const [what, spoil, message] of SPOILT) {
  persistdTest(
    `${what}: persistd refuses, overwrites nothing, and doctor helps`,
    async (persistd) => {
      const file = await makeStore(persistd);
      await spoil(persistd, file);
      const before = readFileSync(file);
      const { status, said } = await persistd.refuse();
      assert.is(status, 1);
      assert.match(said, message);
      assert.match(said, /move .*away|persistctl store verify/i);
      assert.not.match(said, /\n {4}at /, 'no stack');
      assert.ok(readFileSync(file).equals(before));
      const { status: found, remedy } = doctorOnStore(persistd);
      assert.is.not(found, 'ok');
      assert.match(remedy, /move .* away/);
    },
  );
}

persistdTest(
  'a store is good whose last pages were free before they were written',
  async (persistd) => {
    await makeStore(persistd);
    await persistd.start();
    const smbd = new Smbd(persistd);
    const numbers = Array.from({ length: HANDLES }, (_, index) => index + 1);
    await smbd.events(
      ...numbers.map((number): SmbdEvent => {
        return { type: 'close', body: { cookie: cookie(number), reason: 'close' } };
      }),
    );
    smbd.close();
    await persistd.end('SIGKILL');
    await persistd.start();
    assert.equal((await ask<StatsView>(persistd, 'stats')).handles.state, {});
  },
);

persistdTest('two persistds do not use one store', async (persistd) => {
  await persistd.start();
  const other = new Persistd();
  try {
    const { status, said } = await other.refuse({ storeDir: persistd.storeDir });
    assert.is(status, 1);
    assert.match(said, /is in use by another persistd/);
  } finally {
    await other.remove();
  }
});

persistdTest('a store that is read-only is refused, and nothing is changed', async (persistd) => {
  const file = await makeStore(persistd);
  const before = readFileSync(file);
  const script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"';
  const wrapper = [...unshareMounts(), 'sh', '-c', script, persistd.storeDir];
  const { status, said } = await persistd.refuse({ wrapper });
  assert.is(status, 1);
  assert.match(said, /cannot be locked: .*EROFS.*read-write again/);
  assert.ok(readFileSync(file).equals(before));
});

persistdTest('a first start on a full disk is refused with words', async (persistd) => {
  const surroundings = onTmpfs(persistd, 'size=64k');
  const script = 'head -c 1m /dev/zero >"$0/filler" 2>/dev/null; exec "$@"';
  const [first = '', ...rest] = surroundings.wrapper ?? [];
  const wrapper = [first, ...rest, 'sh', '-c', script, persistd.storeDir];
  const { status, said } = await persistd.refuse({ wrapper });
  assert.is(status, 1);
  assert.match(said, /cannot be opened: ENOSPC.*Make room/);
});

persistdTest('with a store on a full disk it starts, and goes on from memory', async (persistd) => {
  await makeStore(persistd);
  const saved = join(persistd.directory, 'saved');
  cpSync(persistd.storeDir, saved, { recursive: true });
  const script = `cp -r '${saved}'/* "$0"; head -c 9m /dev/zero >"$0/filler" 2>/dev/null; exec "$@"`;
  const [first = '', ...rest] = onTmpfs(persistd, 'size=2m').wrapper ?? [];
  await persistd.start({ wrapper: [first, ...rest, 'sh', '-c', script, persistd.storeDir] });
  await grantTo(persistd, HANDLES + 1);
  const { handles, store_faults } = await ask<StatsView>(persistd, 'stats');
  assert.equal([handles.state['connected'], store_faults], [HANDLES + 1, 1]);
  const { storeFault } = await ask<InfoView>(persistd, 'info');
  assert.match(storeFault?.reason ?? '', /No space left/);
});

persistdTest('what ended during a fault leaves no trace in memory', async (persistd) => {
  await persistd.start(onTmpfs(persistd, 'size=1m'));
  await grantTo(persistd, 1);
  fill(storeOf(persistd));
  await grantTo(persistd, 2);
  const { store_unwritten: some } = await ask<StatsView>(persistd, 'stats');
  assert.is(some, 1);
  const smbd = new Smbd(persistd);
  for (let number = 3; number < 300; number++) {
    const close: SmbdEvent = { type: 'close', body: { cookie: cookie(number), reason: 'close' } };
    await smbd.events(grant(number), close);
  }
  smbd.close();
  const { store_unwritten: after } = await ask<StatsView>(persistd, 'stats');
  assert.ok(after < 20, `${after} are kept`);
});

const STOPPED: StoreFault[] = STORE_FAULTS.filter(({ name }) => /full|hangs|flush/.test(name));
for (const fault of STOPPED) {
  persistdTest(
    `${fault.name}: persistd can be stopped, and says what is lost`,
    async (persistd) => {
      await persistd.start(fault.surroundings(persistd));
      await grantTo(persistd, 1);
      fault.begin(persistd);
      await grantTo(persistd, 2, 3);
      const startMs = performance.now();
      await persistd.end('SIGTERM');
      assert.ok(performance.now() - startMs < 3_000);
      assert.match(persistd.log, /"records":2.*could not be written to the end/);
      rmSync(join(persistd.directory, 'storefault'), { force: true });
      await persistd.start();
    },
  );
}

test.run();
