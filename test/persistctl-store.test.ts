// SPDX-License-Identifier: GPL-3.0-or-later
// persistctl store, on the store of a real persistd that runs or has ended.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { open } from 'lmdb';
import stringWidth from 'string-width';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SmbdEvent } from '../daemon/src/wire/smbd.js';
import { record, server, stat } from './fixtures/handle.js';
import { Persistd, Smbd } from './fixtures/persistd.js';
import { onTmpfs } from './lib/store-faults.js';

const CTL = resolve('build/daemon/cli/main.js');
const STRANGE_PATH = '/srv/data/\xff\xfe.txt';

/** Eight digits tell them apart. */
function id(number: number): string {
  return number.toString(16).padStart(8, '0').padEnd(32, '7');
}

const RECORD_KEYS = [
  ...['key', 'schemaVersion', 'bootId', 'record', 'locks', 'retained', 'unlinked', 'levelLost'],
  ...['reopening', 'keptBy', 'note', 'remade'],
  ...['refusedOthers', 'lastRefused', 'resumes', 'importedIn', 'disconnect', 'ended'],
].sort();

interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** `verb` of `persistctl store`, run by the wrapper if there is one. */
async function ctl(
  persistd: Persistd,
  verb: string,
  args: string[] = [],
  wrapper: string[] = [],
): Promise<Result> {
  const command = [process.execPath, CTL, 'store', verb, '--store', persistd.storeDir, ...args];
  const [file = '', ...rest] = [...wrapper, ...command];
  const child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  const result: Result = { status: null, stdout: '', stderr: '' };
  child.stdout.on('data', (text) => {
    result.stdout += text;
  });
  child.stderr.on('data', (text) => {
    result.stderr += text;
  });
  [result.status] = (await once(child, 'close')) as [number | null];
  return result;
}

function grant(number: number, path = '/srv/data/file.txt'): SmbdEvent {
  return {
    type: 'grant',
    body: record({ cookie: id(number), path, serverId: server(process.pid) }),
  };
}

function disconnect(number: number, path: string): SmbdEvent {
  const monotonicNs = process.hrtime.bigint();
  const realtimeNs = BigInt(Date.now()) * 1_000_000n;
  const body = { cookie: id(number), stat: stat(), path, monotonicNs, realtimeNs };
  return { type: 'disconnect', body };
}

async function send(persistd: Persistd, ...events: SmbdEvent[]): Promise<void> {
  const smbd = new Smbd(persistd);
  try {
    assert.is((await smbd.events(...events)).type, 'ack');
  } finally {
    smbd.close();
  }
}

/** `persistd` runs, and has one handle that is connected and one that is away, with a lock. */
function storeTest(name: string, body: (persistd: Persistd) => Promise<void>): void {
  test(name, async () => {
    const persistd = await new Persistd().start();
    try {
      await send(persistd, grant(1), grant(2), {
        type: 'lock',
        body: { cookie: id(2), start: 2n ** 63n, count: 1n, exclusive: true, note: null },
      });
      await send(persistd, disconnect(2, STRANGE_PATH));
      await body(persistd);
    } finally {
      await persistd.remove();
    }
  });
}

async function spoil({ storeDir }: Persistd, key: string, value: Buffer): Promise<void> {
  const environment = open({ path: storeDir, noSubdir: false, encoding: 'binary' });
  await environment.openDB({ name: 'handles', encoding: 'binary' }).put(key, value);
  await environment.close();
}

storeTest('dump shows the same while persistd runs and when it has ended', async (persistd) => {
  const running = await ctl(persistd, 'dump', ['--json']);
  assert.equal([running.status, running.stderr], [0, '']);
  await persistd.end();
  const ended = await ctl(persistd, 'dump', ['--json']);
  assert.is(ended.stdout, running.stdout);
  const { schemaVersion, store, storeSchemaVersion, records, problems } = JSON.parse(ended.stdout);
  assert.equal([schemaVersion, store, storeSchemaVersion], [1, persistd.storeDir, 1]);
  assert.equal(problems, []);
  assert.equal(
    records.map(({ key }: { key: string }) => key),
    [id(1), id(2)],
  );
  const [connected, away] = records;
  assert.equal(Object.keys(away).sort(), RECORD_KEYS);
  assert.is(connected.disconnect, null);
  assert.equal(away.locks, [{ start: '9223372036854775808', count: 1, exclusive: true }]);
  assert.is(away.record.path, '/srv/data/\ufffd\ufffd.txt');
  assert.is(away.record.pathHex, Buffer.from(STRANGE_PATH, 'latin1').toString('hex'));
  assert.is(away.record.cookie, id(2));
  assert.type(away.disconnect.since.realtimeNs, 'string');
});

storeTest('dump prints a table that fits 80 columns', async (persistd) => {
  await send(persistd, grant(3, `/srv/data/${'long-name-'.repeat(30)}.txt`));
  const { status, stdout } = await ctl(persistd, 'dump');
  assert.is(status, 0);
  const lines = stdout.trimEnd().split('\n');
  assert.is(lines.length, 4);
  assert.match(lines[0] ?? '', /^ID +STATE +SHARE +USER +CLIENT +EXPIRES +FILE$/);
  assert.match(lines[2] ?? '', /disconnected +data +alice .* in \d+ s /);
  for (const line of lines) assert.ok(stringWidth(line) <= 80, line);
  const wide = await ctl(persistd, 'dump', ['--wide', '--no-header']);
  assert.match(wide.stdout, 'long-name-'.repeat(30));
});

storeTest('verify is right while persistd writes', async (persistd) => {
  let isDone = false;
  const writing = (async () => {
    for (let number = 10; !isDone; number++) {
      const close: SmbdEvent = {
        type: 'close',
        body: { cookie: id(number - 20), reason: 'close' },
      };
      await send(persistd, grant(number), ...(number < 30 ? [] : [close]));
    }
  })();
  try {
    for (let round = 0; round < 8; round++) {
      const { status, stdout } = await ctl(persistd, 'verify');
      assert.is(status, 0, stdout);
    }
  } finally {
    isDone = true;
    await writing;
  }
});

storeTest('verify and dump name each record that cannot be read, and why', async (persistd) => {
  await persistd.end();
  const good = await ctl(persistd, 'verify', ['--json']);
  assert.is(good.status, 0);
  assert.equal(JSON.parse(good.stdout), {
    schemaVersion: 1,
    store: persistd.storeDir,
    ok: true,
    storeSchemaVersion: 1,
    records: 2,
    problems: [],
  });
  await spoil(persistd, id(5), Buffer.from('93', 'hex'));
  const environment = open({ path: persistd.storeDir, noSubdir: false, encoding: 'binary' });
  const handles = environment.openDB<Buffer, string>({ name: 'handles', encoding: 'binary' });
  const moved = Buffer.from(handles.get(id(1)) as Buffer);
  await environment.close();
  await spoil(persistd, id(6), moved);
  const { status, stdout } = await ctl(persistd, 'verify');
  assert.is(status, 1);
  assert.match(stdout, new RegExp(`^record ${id(5)}: not msgpack`, 'm'));
  assert.match(stdout, new RegExp(`^record ${id(6)}: .* another handle, ${id(1)}$`, 'm'));
  assert.match(stdout, /^2 records can be read, 2 problems$/m);
  const dumped = await ctl(persistd, 'dump', ['--json']);
  assert.is(dumped.status, 1);
  const { records, problems } = JSON.parse(dumped.stdout);
  assert.equal([records.length, problems.length], [2, 2]);
  assert.is(problems[0].key, id(5));
});

storeTest('compact makes the file smaller, and persistd goes on with it', async (persistd) => {
  const many = Array.from({ length: 400 }, (_, index) => index + 10);
  await send(persistd, ...many.map((number) => grant(number)));
  const closes = many.map((number): SmbdEvent => {
    return { type: 'close', body: { cookie: id(number), reason: 'close' } };
  });
  await send(persistd, ...closes);
  const refused = await ctl(persistd, 'compact');
  assert.is(refused.status, 5, refused.stderr);
  assert.match(refused.stderr, /in use by a persistd that runs.*Stop persistd/s);
  await persistd.end();

  const before = await ctl(persistd, 'dump', ['--json']);
  const file = join(persistd.storeDir, 'data.mdb');
  const { size, mode } = statSync(file);
  const { status, stdout } = await ctl(persistd, 'compact', ['--json']);
  assert.is(status, 0);
  const { records, bytesBefore, bytesAfter } = JSON.parse(stdout);
  assert.equal([records, bytesBefore, bytesAfter], [2, size, statSync(file).size]);
  assert.ok(bytesAfter < bytesBefore / 4, `${bytesBefore} to ${bytesAfter}`);
  assert.is(statSync(file).mode, mode);
  assert.equal(readdirSync(persistd.storeDir).sort(), ['data.mdb', 'lock.mdb']);
  assert.is((await ctl(persistd, 'dump', ['--json'])).stdout, before.stdout);

  await persistd.start();
  await send(persistd, grant(3));
  assert.is(JSON.parse((await ctl(persistd, 'dump', ['--json'])).stdout).records.length, 3);
});

storeTest('compact clears up after one that was killed', async (persistd) => {
  await persistd.end();
  const left = ['compact.tmp/data.mdb', 'data.mdb.before-compact'];
  mkdirSync(join(persistd.storeDir, 'compact.tmp'));
  for (const name of left) writeFileSync(join(persistd.storeDir, name), 'half a file');
  assert.is((await ctl(persistd, 'compact')).status, 0);
  assert.equal(readdirSync(persistd.storeDir).sort(), ['data.mdb', 'lock.mdb']);
});

storeTest('compact changes nothing of what it cannot read or copy', async (persistd) => {
  await persistd.end();
  const file = join(persistd.storeDir, 'data.mdb');
  const full = onTmpfs(persistd, 'size=128k').wrapper ?? [];
  const script =
    'cp "$1" "$0/data.mdb"; head -c 1m /dev/zero >"$0/filler" 2>/dev/null; shift; "$@"; r=$?; ' +
    'cmp "$0/data.mdb" "$SAVED" && exit $r';
  const saved = join(persistd.directory, 'saved');
  writeFileSync(saved, readFileSync(file));
  const [first = '', ...rest] = full;
  const wrapper = ['env', `SAVED=${saved}`, first, ...rest];
  const noRoom = await ctl(
    persistd,
    'compact',
    [],
    [...wrapper, ...['sh', '-c', script, persistd.storeDir, saved]],
  );
  assert.is(noRoom.status, 1, noRoom.stderr);

  await spoil(persistd, id(5), Buffer.from('93', 'hex'));
  const before = readFileSync(file);
  const { status, stderr } = await ctl(persistd, 'compact');
  assert.is(status, 1);
  assert.match(stderr, /record 000000057+: not msgpack/);
  assert.match(stderr, 'Nothing was changed');
  assert.ok(readFileSync(file).equals(before));
});

test('no store, or one that is not ours, is an error for people and makes nothing', async () => {
  const persistd = new Persistd();
  for (const verb of ['dump', 'verify', 'compact']) {
    const { status, stderr } = await ctl(persistd, verb);
    assert.is(status, 1);
    assert.match(stderr, `there is none in ${persistd.storeDir}`);
    assert.match(stderr, 'Name the directory with --store');
    assert.equal(readdirSync(persistd.directory), []);
  }
  await persistd.start();
  await persistd.end();
  chmodSync(persistd.directory, 0o755);
  const asNobody = ['setpriv', '--reuid=65534', '--clear-groups', '--regid=65534'];
  const { status, stderr } = await ctl(persistd, 'dump', [], asNobody);
  assert.is(status, 6, stderr);
  assert.is((await ctl(persistd, 'nonsense')).status, 2);
  await persistd.remove();
});

test.run();
