// SPDX-License-Identifier: GPL-3.0-or-later
/** WATCH and TOUCHED: what the keeper tells of local processes (docs/local-access.md). */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  fchmodSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Control } from './lib/keeper-control.js';
import { type Client, Keeper, newCookie, refusedStart } from './lib/keeper-parts.js';
import { CONTROL_DROP, keeperTest, makeFile } from './lib/keeper-suite.js';
import {
  mappedWriter,
  marks,
  openQuickly,
  processName,
  truncateByPath,
} from './lib/local-process.js';
import { unshareMounts } from './lib/mounts.js';

const { EBUSY, ENOENT, EOPNOTSUPP } = constants.errno;

const WATCH = 35;
const TOUCHED = 68;
const OPENED = 1;
const MODIFIED = 2;
const SELF = { pid: process.pid, process: processName(process.pid) };

interface Parked {
  cookie: string;
  path: string;
}

async function watch(control: Control, cookie: string) {
  const seq = control.send(WATCH, cookie);
  const { payload } = await control.packets.take((one) => one.type === 0x8023 && one.seq === seq);
  const status = payload.readInt32LE(0);
  if (status !== 0) return { status };
  return { status, sizeBytes: payload.readBigUInt64LE(4), mtimeNs: payload.readBigInt64LE(12) };
}

async function touched(control: Control, cookie: string) {
  const { payload } = await control.packets.take(
    (one) => one.type === TOUCHED && one.cookie === cookie,
  );
  const name = payload.toString('utf8', 8, 24);
  return {
    how: payload.readUInt8(0),
    pid: payload.readUInt32LE(4),
    process: name.slice(0, name.indexOf('\0')),
  };
}

async function park(client: Client, path: string, mode = 'rw'): Promise<Parked> {
  const cookie = newCookie();
  await client.run('deposit', cookie, path, mode);
  await client.run('park', cookie);
  return { cookie, path };
}

async function parked(keeper: Keeper, client: Client, control: Control): Promise<Parked> {
  const one = await park(client, makeFile(keeper).path);
  assert.is((await watch(control, one.cookie)).status, 0);
  return one;
}

/** Events come in their order: what was told before this is all there was. */
async function settled(keeper: Keeper, client: Client, control: Control): Promise<void> {
  const last = await parked(keeper, client, control);
  appendFileSync(last.path, 'x');
  await touched(control, last.cookie);
}

function told(control: Control): number {
  return control.packets.peek().filter((one) => one.type === TOUCHED).length;
}

const writes: Record<string, (path: string) => void> = {
  appends: (path) => appendFileSync(path, 'more'),
  'writes in place': (path) => writeFileSync(path, 'KEPT', { flag: 'r+' }),
  truncates: (path) => truncateSync(path, 1),
};

const reads: Record<string, (path: string) => void> = {
  reads: (path) => void readFileSync(path),
  stats: (path) => void statSync(path),
  chmods: (path) => chmodSync(path, 0o600),
  'sets the times': (path) => utimesSync(path, 1, 1),
  'touches the access time, for which it opens the file for writing': (path) =>
    void spawnSync('touch', ['-a', path]),
  renames: (path) => renameSync(path, `${path}.renamed`),
  'replaces by a rename': (path) => {
    writeFileSync(`${path}.new`, 'new');
    renameSync(`${path}.new`, path);
  },
  unlinks: (path) => unlinkSync(path),
};

for (const facility of ['fanotify', 'inotify']) {
  const who = facility === 'fanotify' ? SELF : { pid: 0, process: '' };
  const facilityTest = (
    what: string,
    body: (keeper: Keeper, client: Client, control: Control) => Promise<void>,
  ) =>
    keeperTest(
      `${facility}: ${what}`,
      async (keeper) => {
        const client = await keeper.client();
        const control = await keeper.control();
        await body(keeper, client, control);
        await control.close();
      },
      ['--watch', facility],
    );

  for (const [what, write] of Object.entries(writes)) {
    facilityTest(`a process that ${what} is told, once`, async (keeper, client, control) => {
      const one = await parked(keeper, client, control);
      write(one.path);
      // an open for writing is seen before what is written, by fanotify
      const { how: _how, ...by } = await touched(control, one.cookie);
      assert.equal(by, who);
      write(one.path);
      await settled(keeper, client, control);
      assert.is(told(control), 0);
      assert.is(marks(keeper.pid), 0);
    });
  }

  for (const [what, read] of Object.entries(reads)) {
    facilityTest(`a process that ${what} is not told`, async (keeper, client, control) => {
      const one = await parked(keeper, client, control);
      read(one.path);
      await settled(keeper, client, control);
      assert.is(told(control), 0);
      assert.is(marks(keeper.pid), 1);
    });
  }

  facilityTest('a writer from before the watch is told when it writes', async (...parts) => {
    const [keeper, client, control] = parts;
    const { path } = makeFile(keeper);
    const fd = openSync(path, 'r+');
    const one = await park(client, path);
    await watch(control, one.cookie);
    await settled(...parts);
    assert.is(told(control), 0);
    writeSync(fd, 'x');
    assert.equal(await touched(control, one.cookie), { how: MODIFIED, ...who });
    closeSync(fd);
  });

  facilityTest('a truncate(2) by path is told', async (keeper, client, control) => {
    const one = await parked(keeper, client, control);
    const pid = truncateByPath(one.path, 1);
    const { how, ...by } = await touched(control, one.cookie);
    assert.is(how, MODIFIED);
    assert.is(by.pid, facility === 'fanotify' ? pid : 0);
  });

  facilityTest('one that only closes what it had open is not told', async (...parts) => {
    const [keeper, client, control] = parts;
    const { path } = makeFile(keeper);
    const fd = openSync(path, 'r+');
    const one = await park(client, path);
    await watch(control, one.cookie);
    closeSync(fd);
    await settled(...parts);
    assert.is(told(control), 0);
  });

  facilityTest('a mapping from before the watch is told when it is closed', async (...parts) => {
    const [keeper, client, control] = parts;
    const { path } = makeFile(keeper);
    const writer = await mappedWriter(path);
    const one = await park(client, path);
    await watch(control, one.cookie);
    await writer.write();
    await settled(...parts);
    assert.is(told(control), 0, 'the kernel says nothing of a write through a mapping');
    await writer.close();
    const by = facility === 'fanotify' ? { pid: writer.pid, process: 'mapped_writer' } : who;
    assert.equal(await touched(control, one.cookie), { how: MODIFIED, ...by });
    await writer.end();
  });

  facilityTest('an unlinked file is watched, too', async (keeper, client, control) => {
    const { path } = makeFile(keeper);
    const fd = openSync(path, 'r+');
    unlinkSync(path);
    const one = await park(client, `/proc/${process.pid}/fd/${fd}`);
    assert.is((await watch(control, one.cookie)).status, 0);
    writeSync(fd, 'x');
    assert.equal(await touched(control, one.cookie), { how: MODIFIED, ...who });
    closeSync(fd);
  });

  facilityTest('a descriptor for the path only can be watched', async (...parts) => {
    const [keeper, client, control] = parts;
    const one = await park(client, makeFile(keeper).path, 'path');
    assert.is((await watch(control, one.cookie)).status, 0);
    appendFileSync(one.path, 'x');
    const { how: _how, ...by } = await touched(control, one.cookie);
    assert.equal(by, who);
  });

  facilityTest('all watches of a file are told, by one mark', async (keeper, client, control) => {
    const { path } = makeFile(keeper);
    const all = [await park(client, path), await park(client, path), await park(client, path)];
    for (const { cookie } of all) await watch(control, cookie);
    assert.is(marks(keeper.pid), 1);
    control.send(CONTROL_DROP, all[0]?.cookie);
    await control.info();
    assert.is(marks(keeper.pid), 1);
    appendFileSync(path, 'x');
    await touched(control, all[1]?.cookie ?? '');
    await touched(control, all[2]?.cookie ?? '');
    assert.is(told(control), 0);
    assert.is(marks(keeper.pid), 0);
  });

  facilityTest('the mark goes with the parking', async (keeper, client, control) => {
    const [dropped, forgotten, adopted, own] = [
      await parked(keeper, client, control),
      await parked(keeper, client, control),
      await parked(keeper, client, control),
      await parked(keeper, client, control),
    ];
    assert.is(marks(keeper.pid), 4);
    control.send(CONTROL_DROP, dropped.cookie);
    await client.run('drop', forgotten.cookie);
    await client.run('adopt', adopted.cookie);
    await client.run('adopt', own.cookie);
    await client.run('deposit', own.cookie, own.path, 'rw');
    await client.run('query', 1, 1);
    await control.info();
    assert.is(marks(keeper.pid), 0);
    appendFileSync(adopted.path, 'x');
    await settled(keeper, client, control);
    assert.is(told(control), 0);
  });

  facilityTest('who is told of and parked anew is watched anew', async (...parts) => {
    const [keeper, client, control] = parts;
    const one = await parked(...parts);
    appendFileSync(one.path, 'x');
    await touched(control, one.cookie);
    await client.run('adopt', one.cookie);
    await client.run('park', one.cookie);
    const { sizeBytes } = await watch(control, one.cookie);
    assert.is(sizeBytes, 5n);
    await settled(keeper, client, control);
    assert.is(told(control), 0);
    truncateSync(one.path, 1);
    await touched(control, one.cookie);
  });

  facilityTest('what happens while persistd is away is told afterwards', async (...parts) => {
    const [keeper, client, control] = parts;
    const one = await parked(...parts);
    await control.close();
    truncateSync(one.path, 1);
    const later = await keeper.control();
    await settled(keeper, client, later);
    assert.is((await watch(later, one.cookie)).status, 0);
    const { how: _how, ...by } = await touched(later, one.cookie);
    assert.equal(by, who);
    await later.close();
  });

  facilityTest('lost events are made up for by a look at the files', async (...parts) => {
    const [keeper, , control] = parts;
    const crowd: Parked[] = [];
    while (crowd.length < 130) crowd.push(await parked(...parts));
    const victim = await parked(...parts);
    process.kill(keeper.pid, 'SIGSTOP');
    try {
      flood(facility, crowd);
      truncateSync(victim.path, 1);
    } finally {
      process.kill(keeper.pid, 'SIGCONT');
    }
    assert.equal(await touched(control, victim.cookie), { how: MODIFIED, pid: 0, process: '' });
    await keeper.log.take((line) => line.includes('lost events'));
  });

  facilityTest('a keeper that hangs holds nobody up', async (...parts) => {
    const [keeper, , control] = parts;
    const one = await parked(...parts);
    process.kill(keeper.pid, 'SIGSTOP');
    const started = performance.now();
    appendFileSync(one.path, 'x');
    truncateSync(one.path, 1);
    const tookMs = performance.now() - started;
    process.kill(keeper.pid, 'SIGCONT');
    await touched(control, one.cookie);
    assert.ok(tookMs < 50, `${tookMs} ms`);
  });
}

/** More events than the kernel queues (16,384), of which none is news to the keeper. */
function flood(facility: string, crowd: readonly Parked[]): void {
  const paths = crowd.map(({ path }) => path);
  const script =
    facility === 'fanotify'
      ? 'for i in $(seq 130); do (for f; do : <"$f"; done) & done; wait'
      : 'for i in $(seq 130); do for f; do : >>"$f"; done; done';
  const { status } = spawnSync('sh', ['-c', script, 'sh', ...paths]);
  assert.is(status, 0);
}

keeperTest('fanotify: an open for writing alone is told, with the name', async (keeper) => {
  const client = await keeper.client();
  const control = await keeper.control();
  const [slow, quick] = [
    await parked(keeper, client, control),
    await parked(keeper, client, control),
  ];
  const fd = openSync(slow.path, 'r+');
  assert.equal(await touched(control, slow.cookie), { how: OPENED, ...SELF });
  closeSync(fd);
  openQuickly(quick.path);
  const { how, pid } = await touched(control, quick.cookie);
  assert.is(how, OPENED);
  assert.ok(pid > 0 && pid !== process.pid);
  await control.close();
});

keeperTest('fanotify: who sets attributes and stays is told, too', async (keeper) => {
  const control = await keeper.control();
  const one = await parked(keeper, await keeper.client(), control);
  const fd = openSync(one.path, 'r+');
  fchmodSync(fd, 0o600);
  assert.equal(await touched(control, one.cookie), { how: OPENED, ...SELF });
  closeSync(fd);
  await control.close();
});

keeperTest('fanotify: a crowd of readers hides no writer', async (keeper) => {
  const control = await keeper.control();
  const one = await parked(keeper, await keeper.client(), control);
  const fd = openSync(one.path, 'r+');
  spawnSync('sh', ['-c', 'for i in $(seq 30); do (: <"$0") & done; wait', one.path]);
  writeSync(fd, 'x');
  const { pid } = await touched(control, one.cookie);
  assert.is(pid, process.pid);
  closeSync(fd);
  await control.close();
});

keeperTest('fanotify: smbd children that are or were connected are not told', async (keeper) => {
  const [client, other] = [await keeper.client(), await keeper.client()];
  const control = await keeper.control();
  const one = await parked(keeper, client, control);
  const theirs = newCookie();
  await other.run('deposit', theirs, one.path, 'rw');
  await other.run('drop', theirs);
  await other.end();
  await settled(keeper, client, control);
  assert.is(told(control), 0);
  await control.close();
});

keeperTest('fanotify: nor is one whose connection the keeper has not seen yet', async (keeper) => {
  const client = await keeper.client();
  const control = await keeper.control();
  const one = await parked(keeper, client, control);
  process.kill(keeper.pid, 'SIGSTOP');
  readFileSync(one.path); // so that this event is looked at before the connection
  const fresh = await keeper.client();
  await fresh.run('post', newCookie(), one.path, 'rw');
  process.kill(keeper.pid, 'SIGCONT');
  await settled(keeper, client, control);
  assert.is(told(control), 0);
  await control.close();
});

keeperTest('WATCH of what is not parked is refused', async (keeper) => {
  const client = await keeper.client();
  const control = await keeper.control();
  const cookie = newCookie();
  assert.equal(await watch(control, cookie), { status: -ENOENT });
  await client.run('deposit', cookie, makeFile(keeper).path, 'rw');
  assert.equal(await watch(control, cookie), { status: -EBUSY });
  await client.end();
  await keeper.log.take((line) => line.includes('orphaned'));
  assert.is((await watch(control, cookie)).status, 0, 'an orphaned one is');
  await control.close();
});

keeperTest(
  '--watch none watches nothing',
  async (keeper) => {
    const control = await keeper.control();
    const one = await park(await keeper.client(), makeFile(keeper).path);
    assert.equal(await watch(control, one.cookie), { status: -EOPNOTSUPP });
    assert.is((await control.info()).facility, 0);
    await control.close();
  },
  ['--watch', 'none'],
);

test('--watch takes no other name', async () => {
  const runDir = mkdtempSync(join(tmpdir(), 'keeper-'));
  const [status, said] = await refusedStart('--run-dir', runDir, '--watch', 'kqueue');
  assert.is(status, 1);
  assert.match(said, 'not "kqueue"');
  rmSync(runDir, { recursive: true });
});

test('without CAP_SYS_ADMIN it is inotify, for a file without a handle, too', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'keeper-mount-'));
  const ramfs = [
    ...unshareMounts(),
    'sh',
    '-c',
    `mount -t ramfs none '${scratch}' && exec "$0" "$@"`,
  ];
  const powerless = ['setpriv', '--bounding-set=-sys_admin'];
  for (const [wrapper, facility] of [
    [powerless, 2],
    [ramfs, 1],
  ] as const) {
    const keeper = await Keeper.start([], [...wrapper]);
    try {
      const path =
        wrapper === ramfs ? `/proc/${keeper.pid}/root${scratch}/file` : `${scratch}/file`;
      writeFileSync(path, 'kept');
      const control = await keeper.control();
      assert.is((await control.info()).facility, facility);
      const one = await park(await keeper.client(), path);
      assert.is((await watch(control, one.cookie)).status, 0);
      appendFileSync(path, 'x');
      assert.equal(await touched(control, one.cookie), { how: MODIFIED, pid: 0, process: '' });
      await control.close();
    } finally {
      await keeper.stop();
    }
  }
  rmSync(scratch, { recursive: true });
});

test.run();
