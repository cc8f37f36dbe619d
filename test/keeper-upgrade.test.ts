// SPDX-License-Identifier: GPL-3.0-or-later
/** A keeper hands everything over to the program that now lies where it was started from. */

import { spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Control } from './lib/keeper-control.js';
import { type Client, FDKEEPER, fdtool, isRunning, Keeper, newCookie } from './lib/keeper-parts.js';
import { HELD, indexed, list, makeFile, ORPHANED, PARKED } from './lib/keeper-suite.js';
import { marks } from './lib/local-process.js';
import { Mailbox } from './lib/mailbox.js';

const UPGRADE = 36;
const WATCH = 35;
const TOUCHED = 68;
const PROTECT = 1;

const programs = await mkdtemp(join(tmpdir(), 'fdkeeper-'));
const program = join(programs, 'fdkeeper');

/** As a package manager does it: the old file is gone, another one has its name. */
function install(content: string | Buffer | null, mode = 0o755): void {
  rmSync(program, { force: true });
  const next = `${program}.new`;
  if (content === null) copyFileSync(FDKEEPER, next);
  else writeFileSync(next, content);
  chmodSync(next, mode);
  renameSync(next, program);
}

function upgradeTest(name: string, body: (keeper: Keeper) => Promise<void>, ...options: string[]) {
  test(name, async () => {
    install(null);
    const keeper = await Keeper.start(options, [], program);
    try {
      await body(keeper);
    } finally {
      await keeper.stop();
    }
  });
}

async function answerTo(control: Control, seq: number) {
  const { payload } = await control.packets.take((one) => one.type === 0x8024 && one.seq === seq);
  return {
    status: payload.readInt32LE(0),
    pid: payload.readUInt32LE(4),
    why: payload.toString('utf8', 8),
  };
}

async function upgrade(keeper: Keeper, control: Control): Promise<void> {
  const old = keeper.pid;
  const { status, pid, why } = await answerTo(control, control.send(UPGRADE));
  assert.equal({ status, why }, { status: 0, why: '' });
  assert.is.not(pid, old);
  assert.not(isRunning(old), 'the old one has ended');
  keeper.succeededBy(pid);
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Descriptors in every state there is, and how to see that they are as they were. */
async function manyKinds(keeper: Keeper, control: Control) {
  const file = makeFile(keeper, 'kept over an upgrade');
  const [owner, dying] = [await keeper.client(), await keeper.client()];
  const [held, parked, safe, orphaned] = [newCookie(), newCookie(), newCookie(), newCookie()];
  for (const cookie of [held, parked, safe]) {
    await owner.run('deposit', cookie, file.path, 'rw', 1, `record of ${cookie}`);
  }
  await owner.run('seek', held, 77);
  await owner.run('lock', held, 10, 5);
  await owner.run('note', held, Buffer.from('a note').toString('hex'));
  await owner.run('park', parked);
  const { surrogate } = await owner.run('park', safe, PROTECT);
  await dying.run('deposit', orphaned, file.path, 'r');
  await control.entry(held, HELD);
  await control.entry(orphaned, HELD);
  await dying.end();
  await control.entry(orphaned, ORPHANED);
  return { file, owner, held, parked, safe, orphaned, surrogate: Number(surrogate) };
}

upgradeTest('everything is as it was, over connections that stay', async (keeper) => {
  const control = await keeper.control();
  const { file, owner, held, parked, safe, orphaned, surrogate } = await manyKinds(keeper, control);
  const before = [...(await list(control))].sort();
  const counted = readFileSync(keeper.path('keeper.index'));
  const inode = statSync(keeper.path('keeper.index')).ino;
  const open = keeper.descriptorCount();
  for (let i = 0; i < 3; i += 1) {
    install(null);
    await upgrade(keeper, control);
  }
  assert.is(keeper.descriptorCount(), open);
  assert.equal([...(await list(control))].sort(), before);
  assert.is(statSync(keeper.path('keeper.index')).ino, inode);
  assert.ok(readFileSync(keeper.path('keeper.index')).equals(counted), 'keeper.index');
  assert.match(
    fdtool('same-description', keeper.pid, owner.pid, file.dev, file.ino),
    /^same \d+ \d+$/,
  );
  const taken = await owner.run('take', held);
  assert.equal(
    [taken.same, taken.offset, taken.note],
    [true, 77, Buffer.from('a note').toString('hex')],
  );
  assert.is(fdtool('ofd-lock', file.path, 10, 5), 'busy');

  assert.ok(exists(surrogate), 'its surrogate lives');
  await owner.run('adopt', safe);
  assert.equal(await owner.run('query', 1, 1), { status: 0, cookies: [] });
  assert.not(exists(surrogate), 'and ends with the new keeper');
  assert.is((await control.entry(safe, HELD)).ownerPid, owner.pid);
  assert.equal(await owner.run('dropsync', parked), { status: 0 });
  assert.equal(indexed(keeper, file), [1, 1]);
  const other = await keeper.client();
  assert.is((await other.run('take', orphaned)).status, 0);
  await other.run('adopt', orphaned);
  assert.is((await control.entry(orphaned, HELD)).ownerPid, other.pid);

  const again = await other.run('park', orphaned, PROTECT);
  assert.ok(exists(Number(again.surrogate)));
  await owner.end();
  await control.entry(held, ORPHANED);
  await control.close();
});

upgradeTest('SIGUSR2 does the same, with no persistd', async (keeper) => {
  const client = await keeper.client();
  const cookie = newCookie();
  await client.run('deposit', cookie, makeFile(keeper).path, 'rw');
  process.kill(keeper.pid, 'SIGUSR2');
  await keeper.log.take((line) => line.includes(`took over 1 descriptors from pid ${keeper.pid}`));
  assert.is((await client.run('take', cookie)).same, true);
  const control = await keeper.control();
  keeper.succeededBy((await control.info()).pid);
  await control.close();
});

upgradeTest('no deposit is lost that comes meanwhile, and no drop', async (keeper) => {
  const control = await keeper.control();
  const file = makeFile(keeper);
  const clients = await Promise.all([1, 2, 3].map(() => keeper.client()));
  let busy = true;
  const work = async (client: Client) => {
    const kept: string[] = [];
    while (busy) {
      const [stays, goes, parked] = [newCookie(), newCookie(), newCookie()];
      await client.run('post', stays, file.path, 'r');
      await client.run('post', goes, file.path, 'r');
      await client.run('drop', goes);
      await client.run('post', parked, file.path, 'r');
      assert.equal(await client.run('park', parked), { status: 0 });
      kept.push(stays, parked);
    }
    return kept;
  };
  const working = clients.map(work);
  for (let i = 0; i < 20; i += 1) await upgrade(keeper, control);
  busy = false;
  const kept = (await Promise.all(working)).flat();
  assert.ok(kept.length >= 6, `${kept.length} deposits`);
  const entries = await list(control);
  assert.equal([...entries.keys()].sort(), kept.sort());
  const parked = [...entries.values()].filter(({ state }) => state === PARKED);
  assert.is(parked.length * 2, kept.length);
  assert.is((await control.info()).protocolErrors, 0);
  await control.close();
});

upgradeTest('thousands change hands, and questions meanwhile are answered', async (keeper) => {
  const control = await keeper.control();
  const client = await keeper.client();
  const file = makeFile(keeper);
  const count = Math.min(2000, (await control.info()).limit - 10);
  for (let i = 0; i < count; i += 1) {
    await client.run('post', newCookie(), file.path, 'r', 1, 'r'.repeat(1000));
  }
  let asking = true;
  const ask = async () => {
    while (asking) await client.run('query', 1, 1);
  };
  const asked = ask();
  await upgrade(keeper, control);
  asking = false;
  await asked;
  assert.is((await control.info()).used, count);
  await control.close();
});

upgradeTest('a child that does not read its answers has each of them later', async (keeper) => {
  const control = await keeper.control();
  const client = await keeper.client();
  const file = makeFile(keeper);
  const cookie = newCookie();
  await client.run('deposit', cookie, file.path, 'r');
  const questions = 400;
  for (let i = 0; i < questions; i += 1) await client.run('ask', 1, i);
  await upgrade(keeper, control);
  const seqs: unknown[] = [];
  for (let i = 0; i < questions; i += 1) {
    const { status, seq } = await client.run('receive');
    assert.is(status, 0);
    seqs.push(seq);
  }
  assert.equal(
    seqs,
    [...seqs].sort((a, b) => Number(a) - Number(b)),
  );
  assert.is(new Set(seqs).size, questions);
  await control.close();
});

for (const facility of ['fanotify', 'inotify']) {
  upgradeTest(
    `${facility}: what happens to a watched file is told, whoever is the keeper then`,
    async (keeper) => {
      const control = await keeper.control();
      const client = await keeper.client();
      const files = [makeFile(keeper), makeFile(keeper)];
      const cookies = files.map(() => newCookie());
      for (const [i, cookie] of cookies.entries()) {
        await client.run('deposit', cookie, files[i]?.path ?? '', 'rw');
        await client.run('park', cookie);
        const seq = control.send(WATCH, cookie);
        await control.packets.take((one) => one.type === 0x8023 && one.seq === seq);
      }
      assert.is(marks(keeper.pid), 2);
      // opened a moment before: the new one looks at who it was
      const fd = openSync(files[0]?.path ?? '', 'r+');
      await upgrade(keeper, control);
      if (facility === 'inotify') {
        assert.is(marks(keeper.pid), 2);
        writeFileSync(fd, 'changed');
      }
      const [first, second] = cookies;
      await control.packets.take((one) => one.type === TOUCHED && one.cookie === first);
      closeSync(fd);
      writeFileSync(files[1]?.path ?? '', 'changed');
      await control.packets.take((one) => one.type === TOUCHED && one.cookie === second);
      assert.is(marks(keeper.pid), 0);
      await control.close();
    },
    '--watch',
    facility,
  );
}

const script = (text: string) => `#!/bin/sh\n${text}\n`;
const taker = (text: string) => script(`[ "$1" = --can-take-over ] && exit 0\n${text}`);

const broken: Record<string, { program: string | Buffer | null; mode?: number; says: RegExp }> = {
  'is gone': { program: null, mode: 0, says: /cannot be executed: No such file/ },
  'is garbage': {
    program: Buffer.from('not a program', 'utf8'),
    says: /cannot be executed: Exec format error/,
  },
  'is half of a program': {
    program: readFileSync(FDKEEPER).subarray(0, 20_000),
    says: /ended by signal|cannot be executed|says/,
  },
  'may not be executed': {
    program: script('exit 0'),
    mode: 0o644,
    says: /cannot be executed: Permission denied/,
  },
  crashes: { program: script('kill -SEGV $$'), says: /ended by signal 11/ },
  refuses: {
    program: script('echo fdkeeper: no library >&2; exit 127'),
    says: /says: no library$/,
  },
  'knows no takeover': { program: script(`exec ${FDKEEPER} --no-such`), says: /says: / },
  'is of another version': {
    program: script(`exec ${FDKEEPER} --can-take-over 99`),
    says: /state of version 1, not 99/,
  },
  'gives no answer': { program: script('exec sleep 60'), says: /no answer for 5 s/ },
  'ends in the middle': { program: taker('exit 3'), says: /without a word/ },
  'crashes in the middle': { program: taker('kill -SEGV $$'), says: /without a word/ },
  'hangs in the middle': { program: taker('exec sleep 60'), says: /not take over within/ },
  'cannot read the state': {
    program: taker(
      `IFS=,; set -- \${3#*=}; exec ${FDKEEPER} --run-dir . --take-over=$1,3,$3 3</dev/null`,
    ),
    says: /cannot take over the state of pid/,
  },
};

for (const [how, { program: content, mode, says }] of Object.entries(broken)) {
  upgradeTest(`a program that ${how}: the old one goes on`, async (keeper) => {
    const control = await keeper.control();
    const { owner, held, parked, safe, surrogate, file } = await manyKinds(keeper, control);
    const before = [...(await list(control))].sort();
    const open = keeper.descriptorCount();
    if (mode === 0) rmSync(program);
    else install(content, mode);
    const seq = control.send(UPGRADE);
    assert.is((await owner.run('take', held)).same, true);
    const { status, pid, why } = await answerTo(control, seq);
    assert.ok(status < 0);
    assert.is(pid, keeper.pid);
    assert.match(why, says);
    const logged = await keeper.log.take((line) => line.includes('not upgraded to'));
    assert.match(logged, `not upgraded to ${program}: ${why}; this one goes on, all 4 descriptors`);

    assert.is((await control.info()).pid, keeper.pid);
    assert.is(keeper.descriptorCount(), open);
    assert.equal([...(await list(control))].sort(), before);
    const children = readFileSync(`/proc/${keeper.pid}/task/${keeper.pid}/children`, 'utf8');
    assert.equal(children.trim().split(' ').map(Number), [keeper.hostPid], 'no child is left');
    assert.ok(exists(surrogate));
    await owner.run('adopt', safe);
    assert.equal(await owner.run('park', held), { status: 0 });
    assert.equal(await owner.run('dropsync', parked), { status: 0 });
    assert.not(exists(surrogate));
    assert.equal(indexed(keeper, file), [2, 2]);

    install(null);
    await upgrade(keeper, control);
    await control.close();
  });
}

test('a symlink that leads to another program by now is followed', async () => {
  const [old, next, link] = ['old', 'next', 'link'].map((name) => join(programs, name));
  for (const file of [old, next]) copyFileSync(FDKEEPER, file ?? '');
  symlinkSync(old ?? '', link ?? '');
  const keeper = await Keeper.start([], [], link);
  const control = await keeper.control();
  rmSync(link ?? '');
  symlinkSync(next ?? '', link ?? '');
  await upgrade(keeper, control);
  assert.is(readlinkSync(`/proc/${keeper.pid}/exe`), next);
  await control.close();
  await keeper.stop();
});

upgradeTest('one upgrade at a time', async (keeper) => {
  const control = await keeper.control();
  install(script('exec sleep 60'));
  const first = control.send(UPGRADE);
  const second = await answerTo(control, control.send(UPGRADE));
  assert.equal([second.status < 0, second.why], [true, 'another upgrade is under way']);
  assert.ok((await answerTo(control, first)).status < 0);
  await control.close();
});

upgradeTest('a stop while it is upgraded is not lost', async (keeper) => {
  const client = await keeper.client();
  await client.run('deposit', newCookie(), makeFile(keeper).path, 'r');
  install(taker('exec sleep 60'));
  process.kill(keeper.pid, 'SIGUSR2');
  const isForked = () =>
    readdirSync('/proc').some((pid) => {
      const children = `/proc/${keeper.pid}/task/${keeper.pid}/children`;
      return (
        /^\d+$/.test(pid) &&
        readFileSync(children, 'utf8').trim().split(' ').includes(pid) &&
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep')
      );
    });
  while (!isForked()) await new Promise((resolve) => setTimeout(resolve, 5));
  process.kill(keeper.pid, 'SIGTERM');
  await keeper.log.take((line) => line.includes('Terminated from pid'));
});

test('systemd is told who its main process is, before the old one ends', async () => {
  install(null);
  const socket = join(programs, 'notify');
  const listener = spawn(resolve('build/test-tools/notify_socket'), [socket]);
  const told = new Mailbox<string>('word to systemd');
  createInterface(listener.stdout).on('line', (line) => told.put(line));
  await told.take((line) => line === 'listening');
  const keeper = await Keeper.start([], ['env', `NOTIFY_SOCKET=${socket}`], program);
  assert.is(await told.take(), 'READY=1');
  const control = await keeper.control();
  await upgrade(keeper, control);
  assert.is(await told.take(), `MAINPID=${keeper.pid}`);
  assert.is(await told.take(), 'READY=1');
  await control.close();
  await keeper.stop();
  listener.stdin.end();
});

test('the programs are removed', () => rmSync(programs, { recursive: true }));

test.run();
