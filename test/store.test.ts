// SPDX-License-Identifier: GPL-3.0-or-later

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { open } from 'lmdb';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Disconnect, Handle, Moment, State } from '../daemon/src/core/handle.js';
import { isMap, pack, unpack } from '../daemon/src/shared/message.js';
import { LmdbStore } from '../daemon/src/store/lmdb-store.js';
import { encodeHandle } from '../daemon/src/store/record.js';
import { StoreError } from '../daemon/src/store/store.js';
import { cookie, record, server, stat } from './fixtures/handle.js';
import { FLUSHES_ALONE, FLUSHES_TOGETHER } from './fixtures/store-flusher.js';

const BOOT = '11'.repeat(16);
const NEXT_BOOT = '22'.repeat(16);
const ID = cookie(1);
const NS_PER_S = 1_000_000_000n;
const NOW: Moment = { monotonicNs: 5_000n * NS_PER_S, realtimeNs: 1_763_715_600n * NS_PER_S };

const DISCONNECT: Disconnect = {
  stat: stat({ mtimeNs: -5n }),
  since: NOW,
  deadlineNs: NOW.monotonicNs + 60n * NS_PER_S,
  orphan: false,
};

function handle(state: State, id = ID): Handle {
  return {
    id,
    record: record({ cookie: id, path: '/srv/data/\xff\xfe', leaseKey: null }),
    state,
    locks: [{ start: 2n ** 63n, count: 7n, exclusive: true }],
    retained: true,
    unlinked: true,
    reopening: {
      openFlags: 0o100002,
      fileHandleType: 1,
      fileHandle: '0123456789abcdef',
      fileSystem: 'uuid:12-34 ext4 /srv/\xff',
    },
    keptBy: '65024:1234:1795296349048000000',
    note: '0102',
    remade: true,
    levelLost: true,
    refusedOthers: 2,
    lastRefused: '192.0.2.9 (SHARING_VIOLATION) at 2025-11-21T09:00:00.000Z',
    resumes: 3,
    importedIn: 'ee'.repeat(16),
    importedBy: null,
  };
}

function storeTest(name: string, body: (directory: string) => Promise<void>): void {
  test(name, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'store-'));
    try {
      await body(directory);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}

async function write(directory: string, ...handles: Handle[]): Promise<void> {
  const store = new LmdbStore(directory, BOOT);
  await store.write(new Map(handles.map((each) => [each.id, each])));
  await store.close();
}

async function load(directory: string, bootId = BOOT, now = NOW) {
  const store = new LmdbStore(directory, bootId);
  try {
    return store.load(now);
  } finally {
    await store.close();
  }
}

function refused(message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof StoreError && message.test(error.message);
}

const states: State[] = [
  { name: 'connected' },
  { name: 'disconnected', disconnect: DISCONNECT },
  { name: 'expired', reason: 'expired', at: NOW },
  { name: 'failed', reason: 'modified', at: NOW },
];

for (const state of states) {
  storeTest(`a handle that is ${state.name} is loaded as it was written`, async (directory) => {
    await write(directory, handle(state));
    assert.equal(await load(directory), [{ handle: handle(state), sameBoot: true }]);
  });
}

storeTest('a claimed handle is loaded as disconnected', async (directory) => {
  const claimDeadlineNs = NOW.monotonicNs + NS_PER_S;
  const claimed: State = {
    name: 'claimed',
    by: server(2),
    claimDeadlineNs,
    disconnect: DISCONNECT,
  };
  await write(directory, handle(claimed));
  const [restored] = await load(directory);
  assert.equal(restored!.handle.state, { name: 'disconnected', disconnect: DISCONNECT });
});

storeTest('a handle that is forgotten is not loaded', async (directory) => {
  const store = new LmdbStore(directory, BOOT);
  await store.write(new Map([[ID, handle({ name: 'connected' })]]));
  await store.write(new Map([[ID, null]]));
  assert.equal(store.load(NOW), []);
  await store.close();
});

storeTest('after a reboot the time that is left is told by wall time', async (directory) => {
  await write(directory, handle({ name: 'disconnected', disconnect: DISCONNECT }));
  const booted: Moment = {
    monotonicNs: 7n * NS_PER_S,
    realtimeNs: NOW.realtimeNs + 20n * NS_PER_S,
  };
  const [restored] = await load(directory, NEXT_BOOT, booted);
  assert.is(restored!.sameBoot, false);
  const { state } = restored!.handle;
  assert.ok(state.name === 'disconnected');
  if (state.name !== 'disconnected') return;
  assert.is(state.disconnect.deadlineNs, (7n + 40n) * NS_PER_S);
});

storeTest(
  'after a reboot what has passed expires at once, even if a clock ran back',
  async (directory) => {
    await write(directory, handle({ name: 'disconnected', disconnect: DISCONNECT }));
    for (const [passedS, leftS] of [
      [61n, 0n],
      [-3600n, 60n],
    ] as const) {
      const booted: Moment = {
        monotonicNs: 7n * NS_PER_S,
        realtimeNs: NOW.realtimeNs + passedS * NS_PER_S,
      };
      const [restored] = await load(directory, NEXT_BOOT, booted);
      const { state } = restored!.handle;
      assert.ok(
        state.name === 'disconnected' && state.disconnect.deadlineNs === (7n + leftS) * NS_PER_S,
      );
    }
  },
);

storeTest('what was committed survives SIGKILL of the writer', async (directory) => {
  for (let round = 1; round <= 3; round++) {
    const writer = spawn(
      process.execPath,
      ['--import', 'tsx', 'test/fixtures/store-writer.ts', directory, BOOT],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let committed = 0;
    const lines = createInterface(writer.stdout);
    lines.on('line', (line) => {
      committed = Number(line);
      if (committed === 200 * round) writer.kill('SIGKILL');
    });
    await once(writer, 'close');
    assert.ok(committed >= 200 * round);
    const ids = new Set((await load(directory)).map(({ handle: { id } }) => id));
    for (let number = 1; number <= committed; number++) {
      assert.ok(ids.has(cookie(number)), `handle ${number} of ${committed} is lost`);
    }
  }
});

storeTest('what is said to be flushed was, and one flush serves many', async (directory) => {
  const log = join(directory, 'sync.log');
  writeFileSync(log, '');
  const { status } = spawnSync(
    process.execPath,
    ['--import', 'tsx', 'test/fixtures/store-flusher.ts', join(directory, 'store'), BOOT, log],
    { env: { ...process.env, LD_PRELOAD: resolve('build/test-tools/sync_log.so'), SYNC_LOG: log } },
  );
  assert.is(status, 0);
  const [, alone = '', together = ''] = readFileSync(log, 'utf8').split(/begin .*\n/);
  const rounds = alone.split(/written\n/).slice(1);
  assert.is(rounds.length, FLUSHES_ALONE);
  for (const round of rounds) assert.match(round, /^(fdatasync\n)+flushed\n/);
  const syncs = together.match(/fdatasync/g)?.length ?? 0;
  assert.ok(syncs > 0 && syncs <= 3, `${syncs} flushes for ${FLUSHES_TOGETHER} writers`);
});

storeTest('a store of a newer schema is refused and left as it is', async (directory) => {
  await write(directory, handle({ name: 'connected' }));
  const environment = open({ path: directory, noSubdir: false });
  await environment.openDB({ name: 'meta', encoding: 'msgpack' }).put('schemaVersion', 2);
  await environment.close();
  const before = readFileSync(join(directory, 'data.mdb'));
  assert.throws(() => new LmdbStore(directory, BOOT), refused(/schema version 2.*knows 1/));
  assert.ok(readFileSync(join(directory, 'data.mdb')).equals(before));
});

storeTest('a record of before levels could be lost has lost none', async (directory) => {
  const written = unpack(encodeHandle(handle({ name: 'connected' }), BOOT));
  assert.ok(isMap(written));
  const {
    levelLost: _,
    refusedOthers: __,
    lastRefused: ___,
    ...older
  } = written as object as {
    [key: string]: unknown;
  };
  const environment = open({ path: directory, noSubdir: false, encoding: 'binary' });
  await environment.openDB({ name: 'handles', encoding: 'binary' }).put(ID, pack(older));
  await environment.close();
  const [restored] = await load(directory);
  const { levelLost, refusedOthers, lastRefused } = restored!.handle;
  assert.equal([levelLost, refusedOthers, lastRefused], [false, 0, null]);
});

storeTest('a record of a newer schema, or a damaged one, is refused', async (directory) => {
  const good = unpack(encodeHandle(handle({ name: 'connected' }), BOOT));
  assert.ok(isMap(good));
  for (const [bytes, message] of [
    [pack({ ...(good as object), schemaVersion: 2 }), /schema version 2/],
    [pack({ ...(good as object), locks: 7 }), /handle 0+1 is damaged: locks/],
    [Buffer.from('c1', 'hex'), /no schema version/],
    [Buffer.from('93', 'hex'), /damaged: not msgpack/],
  ] as const) {
    const environment = open({ path: directory, noSubdir: false, encoding: 'binary' });
    await environment.openDB({ name: 'handles', encoding: 'binary' }).put(ID, bytes);
    await environment.close();
    try {
      await load(directory);
      assert.unreachable('was loaded');
    } catch (error) {
      assert.ok(refused(message)(error), String(error));
    }
  }
});

for (const [what, bytes] of [
  ['text', Buffer.from('this is no LMDB file '.repeat(1000))],
  ['one byte', Buffer.from('x')],
  ['zeros', Buffer.alloc(65_536)],
] as const) {
  storeTest(`a file of ${what} is refused and not overwritten`, async (directory) => {
    const file = join(directory, 'data.mdb');
    writeFileSync(file, bytes);
    assert.throws(() => new LmdbStore(directory, BOOT), refused(/is not an LMDB environment/));
    assert.ok(readFileSync(file).equals(bytes));
    assert.equal(readdirSync(directory), ['data.mdb']);
  });
}

storeTest('a file that was cut short is refused', async (directory) => {
  await write(directory, handle({ name: 'connected' }));
  truncateSync(join(directory, 'data.mdb'), 3 * 4096);
  assert.throws(() => new LmdbStore(directory, BOOT), refused(/is damaged: page .* cut short/));
});

storeTest('an absent directory and an empty file begin a new store', async (directory) => {
  const absent = join(directory, 'a', 'b');
  assert.equal(await load(absent), []);
  const empty = join(directory, 'empty');
  mkdirSync(empty);
  writeFileSync(join(empty, 'data.mdb'), '');
  assert.equal(await load(empty), []);
});

test.run();
