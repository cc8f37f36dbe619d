// SPDX-License-Identifier: GPL-3.0-or-later
// persistctl as a person or a script runs it, against a real persistd. The test plays smbd.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import stringWidth from 'string-width';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Dealer } from 'zeromq';
import { AdminConnection } from '../daemon/cli/connection.js';
import type { HandleView } from '../daemon/src/shared/handle-view.js';
import { decodeMessage, encodeMessage } from '../daemon/src/shared/message.js';
import type { HandleRecord } from '../daemon/src/wire/records.js';
import { encodeRequest, type SmbdEvent } from '../daemon/src/wire/smbd.js';

// Compiled beside this test as scripts/test does it, or from source when the test is.
const [EXTENSION, LOADER] = import.meta.url.endsWith('.ts')
  ? ['ts', ['--import', 'tsx']]
  : ['js', []];
const program = (path: string) => [
  process.execPath,
  ...LOADER,
  fileURLToPath(new URL(`../daemon/${path}.${EXTENSION}`, import.meta.url)),
];
const CLI = program('cli/main');
const PERSISTD = program('src/main');

const FDKEEPER = resolve(process.env.FDKEEPER ?? 'build/fdkeeper');

const CONNECTED = 'c0'.padEnd(32, '1');
const WAITING = 'd0'.padEnd(32, '2');
const HOSTILE = 'd1'.padEnd(32, '3');
const CREATE_OPENED_NS = 1_790_000_000_000_000_000n;
const TIMEOUT_MS = 600_000;
const SERVER = { pid: 4711n, taskId: 0, vnn: 0, uniqueId: 0x7fff_ffff_ffffn };

const HANDLE_KEYS = [
  ...['id', 'kind', 'durableVersion', 'state', 'share', 'path', 'service_path', 'filename'],
  ...['username', 'uid', 'remote_machine', 'hostname', 'client_guid', 'create_guid'],
  ...['app_instance_id', 'app_instance_version'],
  ...['lease_key', 'oplock', 'lease_state', 'fileid', 'server_id', 'access_mask', 'sharemode'],
  ...['opened_at', 'disconnected_at', 'expires_at', 'expires_in_ms', 'timeout_ms', 'locks'],
  ...['retained', 'orphan', 'unlinked', 'reason', 'resumes'],
  ...['level_lost', 'refused_others', 'last_refused', 'durability', 'remade'],
].sort();

type Result = { exitCode: number | null; stdout: string; stderr: string };

type World = {
  directory: string;
  runDir: string;
  persistd: ChildProcess;
  smbd: Dealer;
  seq: number;
};

const persistctl = suite<World>('persistctl');

async function run(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
  const [file = '', ...args] = command;
  const child = spawn(file, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { exitCode, stdout, stderr };
}

function ctl(world: World, ...args: string[]): Promise<Result> {
  return run([...CLI, ...args], { PERSISTD_RUN_DIR: world.runDir });
}

async function handlesOf(world: World, ...args: string[]): Promise<HandleView[]> {
  const { exitCode, stdout, stderr } = await ctl(world, ...args, '--json');
  assert.is(exitCode, 0, stderr);
  const answer = JSON.parse(stdout) as { schemaVersion: number; handles: HandleView[] };
  assert.is(answer.schemaVersion, 1);
  return answer.handles;
}

const idsOf = (handles: readonly HandleView[]) => handles.map((handle) => handle.id).sort();

function record(cookie: string, changes: Partial<HandleRecord> = {}): HandleRecord {
  return {
    cookie,
    kind: 'durable',
    durableVersion: 2,
    share: 'durable',
    connectPath: '/srv/durable',
    path: '/srv/durable/reports/2026/report.docx',
    user: 'alice',
    ownerSid: 'S-1-5-21-1-2-3-1000',
    uid: 1000,
    clientAddress: '192.0.2.17',
    clientName: 'workstation',
    clientGuid: '1'.repeat(32),
    createGuid: cookie,
    leaseKey: null,
    oplock: 0x09,
    leaseState: 0,
    leaseVersion: 0,
    leaseEpoch: 0,
    persistentId: 7n,
    shareFileId: 1n,
    accessMask: 0x12019f,
    shareAccess: 7,
    createOptions: 0,
    openedRealtimeNs: CREATE_OPENED_NS,
    timeoutMs: TIMEOUT_MS,
    serverId: SERVER,
    dev: 64769n,
    localAccess: null,
    ino: BigInt(`0x${cookie.slice(0, 4)}`),
    recordsEpoch: '0'.repeat(32),
    knownAs: null,
    appInstance: null,
    durability: 'process',
    posixLocking: null,
    ...changes,
  };
}

/** Resolves when persistd has committed the events. */
async function send(world: World, ...events: SmbdEvent[]): Promise<void> {
  world.seq += 1;
  const request = encodeRequest({ type: 'events', body: { serverId: SERVER, events } });
  await world.smbd.send(encodeMessage('events', world.seq, request));
  const [bytes] = await world.smbd.receive();
  assert.is(decodeMessage(bytes ?? Buffer.alloc(0)).type, 'ack');
}

function disconnect(cookie: string): SmbdEvent {
  const { path, dev, ino } = record(cookie);
  const stat = { dev, ino, nlink: 1n, sizeBytes: 0n, mtimeNs: 0n, ctimeNs: 0n };
  const monotonicNs = process.hrtime.bigint();
  const realtimeNs = BigInt(Date.now()) * 1_000_000n;
  return { type: 'disconnect', body: { cookie, stat, path, monotonicNs, realtimeNs } };
}

persistctl.before(async (world) => {
  world.directory = await mkdtemp(join(tmpdir(), 'persistctl-'));
  world.runDir = join(world.directory, 'run');
  world.seq = 0;
  world.persistd = await startPersistd(world);
  world.smbd = new Dealer({ linger: 0, receiveTimeout: 10_000 });
  world.smbd.connect(`ipc://${join(world.runDir, 'smbd.sock')}`);
});

persistctl.after(async (world) => {
  world.smbd.close();
  world.persistd.kill('SIGTERM');
  await once(world.persistd, 'exit');
  await rm(world.directory, { recursive: true });
});

async function startPersistd(world: World): Promise<ChildProcess> {
  const options = ['--run-dir', world.runDir, '--store', join(world.directory, 'store')];
  const [file = '', ...args] = [...PERSISTD, ...options];
  const persistd = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = await once(createInterface(persistd.stdout), 'line');
  assert.is(line, 'persistd: ready');
  return persistd;
}

persistctl('an empty table is an empty answer and no error', async (world) => {
  const { exitCode, stdout, stderr } = await ctl(world, 'list');
  assert.is(exitCode, 0);
  assert.is(stdout, '');
  assert.match(stderr, 'No handle waits');
  assert.equal(await handlesOf(world, 'list', '--all'), []);
});

persistctl('lists what waits for its client, and everything with --all', async (world) => {
  await send(
    world,
    { type: 'grant', body: record(CONNECTED) },
    { type: 'grant', body: record(WAITING) },
    disconnect(WAITING),
  );
  const { exitCode, stdout } = await ctl(world, 'list');
  assert.is(exitCode, 0);
  const [header = '', line = '', ...rest] = stdout.trimEnd().split('\n');
  assert.equal(rest, []);
  assert.match(header, /^ID +KIND +SHARE +USER +CLIENT +EXPIRES +FILE$/);
  assert.match(
    line,
    /^d0222222 +durable +durable +alice +192\.0\.2\.17 +in \d+ min.* rep.*\.docx$/,
  );

  const bare = await ctl(world, 'list', '--no-header', '--all');
  assert.is(bare.stdout.trimEnd().split('\n').length, 2);
  assert.match(bare.stdout, /^c0111111 +connected .* - /m);
  assert.match(bare.stdout, /^d0222222 +disconnected /m);
});

persistctl('JSON has every documented key', async (world) => {
  const [handle] = await handlesOf(world, 'list');
  assert.equal(Object.keys(handle ?? {}).sort(), HANDLE_KEYS);
  assert.is(handle?.id, WAITING);
  assert.is(handle?.state, 'disconnected');
  assert.is(handle?.remote_machine, '192.0.2.17');
  assert.is(handle?.server_id.pid, '4711');
  assert.match(handle?.expires_at ?? '', /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
});

persistctl('every filter narrows the list', async (world) => {
  const matching = [
    ['--share', 'durable'],
    ['--user', 'alice'],
    ['--client', '192.0.2.17'],
    ['--client', 'workstation'],
    ['--kind', 'durable'],
    ['--path', '/srv/durable/reports'],
  ];
  for (const filter of matching) {
    const ids = idsOf(await handlesOf(world, 'list', ...filter));
    assert.equal(ids, [WAITING], filter.join(' '));
  }
  assert.equal(idsOf(await handlesOf(world, 'list', '--state', 'connected')), [CONNECTED]);
  for (const filter of [
    ['--share', 'x'],
    ['--user', 'x'],
    ['--client', 'x'],
    ['--kind', 'resilient'],
    ['--state', 'failed'],
    ['--path', '/srv/durable/rep'],
  ]) {
    assert.equal(await handlesOf(world, 'list', ...filter), [], filter.join(' '));
  }
});

persistctl('tables fit 80 columns and escape what could drive the terminal', async (world) => {
  const name = Buffer.from(`/srv/durable/${'日本語'.repeat(30)}\u001b[2J\n.docx`).toString(
    'latin1',
  );
  const hostile = record(HOSTILE, {
    path: name,
    user: `DOMAIN\\${'long.user.name'.repeat(4)}`,
    share: 'a-share-with-a-very-long-name',
    clientAddress: '2001:db8:85a3:1234:5678:8a2e:370:7334',
    kind: 'persistent',
  });
  const away = disconnect(HOSTILE);
  await send(world, { type: 'grant', body: hostile }, {
    ...away,
    body: { ...away.body, path: name },
  } as SmbdEvent);
  for (const args of [['list'], ['list', '--all'], ['stats'], ['--help'], ['list', '--help']]) {
    const { stdout } = await ctl(world, ...args);
    for (const line of stdout.split('\n')) {
      assert.ok(stringWidth(line) <= 80, `${args.join(' ')}: ${line}`);
    }
    assert.not.match(stdout, '\u001b');
  }
  const wide = await ctl(world, 'list', '--wide');
  assert.match(wide.stdout, `${'日本語'.repeat(30)}\\x1b[2J\\n.docx`);
  assert.match(wide.stdout, HOSTILE);
  const found = (await handlesOf(world, 'list')).find((handle) => handle.id === HOSTILE);
  assert.match(found?.filename ?? '', '\u001b[2J\n.docx');
});

persistctl('shows one handle by a unique prefix of its id', async (world) => {
  const text = await ctl(world, 'show', 'D02');
  assert.is(text.exitCode, 0);
  assert.match(text.stdout, `Id            ${WAITING}`);
  assert.match(text.stdout, 'File          /srv/durable/reports/2026/report.docx');
  assert.match(text.stdout, /^Share mode +RWD \(others may read, write, delete\)$/m);
  assert.match(text.stdout, /^Locks +none$/m);
  assert.match(text.stdout, /^Oplock +BATCH$/m);
  const { handle } = JSON.parse((await ctl(world, 'show', 'd02', '--json')).stdout);
  assert.equal(Object.keys(handle).sort(), HANDLE_KEYS);
});

persistctl('an id that is unknown or not unique ends with 4 and says what to do', async (world) => {
  const unknown = await ctl(world, 'show', 'ffff');
  assert.is(unknown.exitCode, 4);
  assert.match(unknown.stderr, 'cannot show ffff');
  assert.match(unknown.stderr, 'persistctl list --all');
  const ambiguous = await ctl(world, 'close', 'd');
  assert.is(ambiguous.exitCode, 4);
  assert.match(ambiguous.stderr, 'several');
  assert.is((await handlesOf(world, 'list')).length, 2);
});

persistctl('a wrong command line ends with 2 and shows the usage of the command', async (world) => {
  for (const [expected, ...args] of [
    ['Name a command'],
    ['list', 'lst'],
    ['bogus', 'list', '--bogus'],
    ['Choices', 'list', '--kind', 'x'],
    ['is no id', 'show', 'xyz'],
    ['persistctl extend <id>', 'extend', 'd02', '--by', '5'],
    ['Not enough', 'close'],
    ['--yes', 'expire', '--all'],
    ['one of the three', 'expire'],
    ['one of the three', 'expire', 'd02', '--older-than', '5m'],
  ]) {
    const { exitCode, stdout, stderr } = await ctl(world, ...args);
    assert.is(exitCode, 2, args.join(' '));
    assert.is(stdout, '');
    assert.match(stderr, expected ?? '');
    assert.match(stderr, 'Options:');
  }
});

persistctl('gives a client more time', async (world) => {
  const { exitCode, stdout } = await ctl(world, 'extend', 'd02', '--by', '1h');
  assert.is(exitCode, 0);
  assert.match(stdout, /^d0222222 now expires in 1 h/);
});

persistctl('what the state does not allow is refused with 5', async (world) => {
  for (const args of [
    ['extend', 'c0', '--by', '5m'],
    ['expire', 'c0'],
  ]) {
    const { exitCode, stderr } = await ctl(world, ...args);
    assert.is(exitCode, 5, args.join(' '));
    assert.match(stderr, 'Nothing was changed');
  }
});

persistctl('expires only what has waited long enough', async (world) => {
  assert.equal(await handlesOf(world, 'expire', '--older-than', '1h'), []);
  assert.equal(idsOf(await handlesOf(world, 'expire', '--older-than', '0s')), [WAITING, HOSTILE]);
  assert.equal(await handlesOf(world, 'list'), []);
});

persistctl('closes what it is told to', async (world) => {
  const cookie = 'e0'.padEnd(32, '4');
  await send(world, { type: 'grant', body: record(cookie) }, disconnect(cookie));
  const { exitCode, stdout, stderr } = await ctl(world, 'close', 'e0');
  assert.is(exitCode, 0);
  assert.match(stdout, 'closed e0444444 /srv/durable/reports/2026/report.docx (alice)');
  assert.match(stderr, 'cannot resume');
  assert.equal(await handlesOf(world, 'list'), []);
});

persistctl('counts', async (world) => {
  const stats = JSON.parse((await ctl(world, 'stats', '--json')).stdout);
  assert.is(stats.schemaVersion, 1);
  assert.is(stats.grants, 4);
  assert.is(stats.disconnects, 3);
  assert.is(stats.handles.state.connected, 1);
  assert.match((await ctl(world, 'stats')).stdout, /^ {2}grants +4$/m);
});

persistctl('tells what a handle protects and whom it kept from the file', async (world) => {
  const cookie = 'e1'.padEnd(32, '7');
  const lease = { leaseKey: 'a'.repeat(32), oplock: 0xff, leaseState: 7 };
  const body = record(cookie, { kind: 'resilient', shareAccess: 1, ...lease });
  const { dev, ino } = body;
  const conflict = { dev, ino, clientAddress: '192.0.2.9', status: 'LOCK_NOT_GRANTED' };
  await send(
    world,
    { type: 'grant', body },
    { type: 'lock', body: { cookie, start: 5n, count: 10n, exclusive: true, note: null } },
    disconnect(cookie),
    { type: 'conflict', body: conflict },
  );
  const { stdout } = await ctl(world, 'show', 'e1');
  assert.match(stdout, /^Kind +resilient, opened as durable v2$/m);
  assert.match(stdout, /^Share mode +R \(others may read\)$/m);
  assert.match(stdout, /^Locks +exclusive 10 bytes at 5$/m);
  assert.match(stdout, /^Oplock +LEASE RWH$/m);
  assert.match(stdout, /^Refused +once 192\.0\.2\.9 \(LOCK_NOT_GRANTED\) at 20/m);
  const wide = await ctl(world, 'list', '--wide');
  assert.match(wide.stdout, / resilient .* R, 1 lock, RWH +1 +\/srv/);
  await ctl(world, 'close', 'e1');
});

for (const json of [false, true]) {
  persistctl(`watch prints a line per event${json ? ' as JSON' : ''}`, async (world) => {
    const cookie = (json ? 'f1' : 'f0').padEnd(32, '5');
    await send(world, { type: 'grant', body: record(cookie) }, disconnect(cookie));
    const [file = '', ...args] = [...CLI, 'watch', ...(json ? ['--json'] : [])];
    const watcher = spawn(file, args, {
      env: { ...process.env, PERSISTD_RUN_DIR: world.runDir },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exited = once(watcher, 'exit');
    const firstLine = once(createInterface(watcher.stdout), 'line');
    const line = await extendUntil(world, cookie, firstLine as Promise<[string]>);
    if (json) {
      const event = JSON.parse(line);
      assert.is(event.schemaVersion, 1);
      assert.is(event.event, 'extend');
      assert.is(event.id, cookie);
      assert.is(event.path, '/srv/durable/reports/2026/report.docx');
    } else {
      assert.match(line, /^\d\d:\d\d:\d\d {2}extend +f0555555 +alice +\/srv.*report\.docx$/);
      assert.ok(line.length <= 80);
    }
    watcher.kill('SIGINT');
    assert.equal(await exited, [0, null]);
  });
}

/** ZeroMQ does not tell a publisher's client when it is subscribed; so until it hears something. */
async function extendUntil(world: World, id: string, heard: Promise<[string]>): Promise<string> {
  const connection = await AdminConnection.open({ runDir: world.runDir, timeout: 5000 });
  let line: string | undefined;
  const done = heard.then(([text]) => {
    line = text;
  });
  while (line === undefined) {
    await connection.request('extend', { id, byMs: 1 });
    await Promise.race([done, new Promise((wake) => setTimeout(wake, 20))]);
  }
  connection.close();
  return line;
}

persistctl('a reader that has seen enough ends watch without a complaint', async (world) => {
  const cookie = 'f2'.padEnd(32, '6');
  await send(world, { type: 'grant', body: record(cookie) }, disconnect(cookie));
  const command = `${CLI.map((word) => `'${word}'`).join(' ')} watch --json | head -1`;
  const finished = run(['bash', '-o', 'pipefail', '-c', command], {
    PERSISTD_RUN_DIR: world.runDir,
  });
  await extendUntil(
    world,
    cookie,
    finished.then(({ stdout }) => [stdout]),
  );
  const { exitCode, stderr } = await finished;
  assert.is(exitCode, 0);
  assert.not.match(stderr, 'EPIPE');
});

persistctl('doctor reports each check with its remedy', async (world) => {
  const { exitCode, stdout } = await ctl(world, 'doctor', '--smb-conf', '/dev/null', '--json');
  const { ok, checks } = JSON.parse(stdout);
  assert.is(ok, false);
  assert.is(exitCode, 1);
  const status = new Map(
    checks.map((check: { check: string; status: string }) => [check.check, check.status]),
  );
  assert.is(status.get('run directory'), 'ok');
  assert.is(status.get('persistd'), 'ok');
  assert.is(status.get('versions'), 'ok');
  assert.is(status.get('keeper'), 'fail');
  assert.is(status.get('store'), 'ok');
  for (const check of checks) {
    assert.equal(Object.keys(check), ['check', 'status', 'message', 'remedy']);
    assert.is(check.remedy === null, check.status === 'ok');
  }
  const text = await ctl(world, 'doctor', '--smb-conf', '/dev/null');
  assert.match(text.stdout, /^fail {2}keeper: /m);
  assert.ok(text.stdout.split('\n').every((line) => line.length <= 80 || !line.includes(' ', 8)));
});

persistctl('doctor sees the keeper as soon as persistd does', async (world) => {
  const keeper = spawn(FDKEEPER, ['--run-dir', world.runDir, '--max-descriptors', '10'], {
    stdio: 'ignore',
  });
  try {
    await connectedToKeeper(world);
    const { exitCode, stdout } = await ctl(world, 'doctor', '--smb-conf', '/dev/null');
    assert.is(exitCode, 0, stdout);
    assert.match(stdout, `keeper: answers, pid ${keeper.pid}`);
    assert.match(stdout, 'descriptors: 0 of 10 descriptors used');
  } finally {
    const exited = once(keeper, 'exit');
    keeper.kill('SIGTERM');
    await exited;
  }
});

async function connectedToKeeper(world: World): Promise<void> {
  const connection = await AdminConnection.open({ runDir: world.runDir, timeout: 5000 });
  while ((await connection.request('info', {})).keeper === null) {
    await new Promise((wake) => setTimeout(wake, 20));
  }
  connection.close();
}

persistctl('who may not open the run directory is told so with 6', async (world) => {
  const nobody = ['setpriv', '--reuid', '65534', '--clear-groups', '--bounding-set', '-all'];
  const { exitCode, stderr } = await run([...nobody, ...CLI, 'list'], {
    PERSISTD_RUN_DIR: world.runDir,
  });
  assert.is(exitCode, 6, stderr);
  assert.match(stderr, 'as root');
});

persistctl(
  'a persistd that does not answer, and one that is not there, end with 3',
  async (world) => {
    world.persistd.kill('SIGSTOP');
    const silent = await ctl(world, 'list', '--timeout', '200ms');
    world.persistd.kill('SIGCONT');
    assert.is(silent.exitCode, 3);
    assert.match(silent.stderr, 'does not answer');
    for (const args of [['list'], ['watch'], ['doctor', '--smb-conf', '/dev/null']]) {
      const absent = await ctl(world, ...args, '--run-dir', world.directory);
      assert.is(absent.exitCode, 3, args.join(' '));
      assert.match(absent.stdout + absent.stderr, 'persistd is not running');
    }
  },
);

persistctl.run();
