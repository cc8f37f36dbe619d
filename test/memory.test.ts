// SPDX-License-Identifier: GPL-3.0-or-later
/** What the module does with smbd's memory: memcheck, and talloc's own account. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { appendFileSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS } from './lib/dev-samba.js';
import { describe, findings, passesThrough } from './lib/memcheck.js';
import {
  Access,
  LeaseState,
  newGuid,
  type Open,
  type OpenOptions,
  Oplock,
  type Smb2Client,
} from './lib/smb2/index.js';

const SLOW_MS = 120_000; // valgrind runs smbd some thirty times slower

type Kind = (typeof DURABLE_KINDS)[keyof typeof DURABLE_KINDS];
const V2_LEASE = DURABLE_KINDS['v2, lease v2'];
const V1_OPLOCK = DURABLE_KINDS['v1, batch oplock'];

function optionsOf(kind: Kind): OpenOptions {
  const durable =
    kind.version === 1
      ? ({ version: 1 } as const)
      : ({ version: 2, timeoutMs: 60_000, createGuid: newGuid() } as const);
  return kind.lease === 0
    ? { durable, oplock: Oplock.BATCH }
    : { durable, lease: { key: newGuid(), state: LeaseState.RWH, version: kind.lease } };
}

let serial = 0;
const newName = (): string => `memory-${++serial}.txt`;
const memcheck = suite('memory, by memcheck');
const samba = await DevSamba.up('--valgrind');

async function opened(
  share: string,
  kind: Kind,
): Promise<{ client: Smb2Client; open: Open; name: string }> {
  const client = await samba.connect(share, { timeoutMs: SLOW_MS });
  const name = newName();
  const open = await client.open(name, optionsOf(kind)).ok();
  await open.write(0, 'written before').ok();
  return { client, open, name };
}

const away = (name: string) =>
  samba.until(`the disconnect of ${name}`, () => samba.away(name).length > 0, SLOW_MS);

const back = (client: Smb2Client, share: string) =>
  samba.back(client, share, { timeoutMs: SLOW_MS });

/**
 * Comes back for a handle, and gives it up. Under valgrind the daemons' answer
 * may come too late, and then stock's reconnect decides: other tests are about
 * who gets what, this one about the memory that it takes.
 */
async function backFor(open: Open, old: Smb2Client, share: string, name = open.path) {
  const client = await back(old, share);
  const reply = await client.open(name, open.reconnectOptions);
  if (reply.code === 'SUCCESS') await reply.ok().close().ok();
  await client.drop();
}

for (const share of ['durable', 'posix']) {
  for (const [label, kind] of Object.entries(DURABLE_KINDS)) {
    memcheck(`${share}, ${label}: lock, rename, drop, resume, close`, async () => {
      const { client, open, name } = await opened(share, kind);
      const ranges = [0, 20].map((offset) => ({ offset, length: 10 }));
      await open.lock(ranges).ok();
      await open.unlock({ offset: 20, length: 10 }).ok();
      await open.info.rename(`renamed-${name}`).ok();
      await client.drop();
      await away(name);
      await backFor(open, client, share, `renamed-${name}`);
    });
  }
}

memcheck('a handle whose file is unlinked meanwhile', async () => {
  const { client, open, name } = await opened('durable', V2_LEASE);
  await client.drop();
  await away(name);
  unlinkSync(samba.sharePath('durable', name));
  await backFor(open, client, 'durable');
});

memcheck('refused resumes: another client, another create GUID, then the right one', async () => {
  const { client, open, name } = await opened('durable', V2_LEASE);
  await client.drop();
  await away(name);
  const other = await samba.connect('durable', { timeoutMs: SLOW_MS });
  assert.notEqual((await other.reconnect(open)).code, 'SUCCESS');
  const same = await back(client, 'durable');
  const reconnect = { fileId: open.fileId, createGuid: newGuid() };
  assert.notEqual((await same.reconnect(open, { reconnect })).code, 'SUCCESS');
  await backFor(open, same, 'durable');
});

memcheck('refused resumes: modified, expired', async () => {
  for (const end of ['modified', 'expired']) {
    const { client, open, name } = await opened('posix', V2_LEASE);
    await client.drop();
    await away(name);
    if (end === 'modified') appendFileSync(samba.sharePath('posix', name), 'more');
    else assert.equal(samba.ctl('expire', samba.handle(name).id).status, 0);
    await backFor(open, client, 'posix');
  }
});

memcheck('another opener supersedes a handle', async () => {
  const { client, name } = await opened('durable', V1_OPLOCK);
  await client.drop();
  await away(name);
  const other = await samba.connect('durable', { timeoutMs: SLOW_MS });
  await (await other.open(name, optionsOf(V2_LEASE)).ok()).close().ok();
});

memcheck('an open with much in progress is taken over by another node', async () => {
  const appInstanceId = newGuid();
  const name = newName();
  const client = await samba.connect('durable', { timeoutMs: SLOW_MS });
  const blocker = await client.open(name).ok();
  await blocker.lock({ offset: 0, length: 1 }).ok();
  const open = await client.open(name, { appInstanceId }).ok();
  const waiting = open.lock({ offset: 0, length: 1 }, { blocking: true }).code();
  const writes = [1, 2, 3].map((n) => open.write(n * 1e6, Buffer.alloc(1e6)).code());
  const other = await samba.connect('durable', { timeoutMs: SLOW_MS });
  const look = { appInstanceId, access: Access.READ_ATTRIBUTES };
  const take = async () => (await other.open(name, look).ok()).close().ok();
  // persistd's answer may come too late, and then nothing is taken
  for (let tries = 0; tries < 50 && (await open.read(0, 1).code()) !== 'FILE_CLOSED'; tries++) {
    await take();
  }
  assert.equal(await waiting, 'RANGE_NOT_LOCKED');
  await Promise.all(writes);
  await blocker.close().ok();
});

memcheck('others open beside a handle with RH, then read, write, rename, unlink', async () => {
  const actions = [
    (theirs: Open) => theirs.read(0, 1),
    (theirs: Open) => theirs.write(0, 'theirs'),
    (theirs: Open) => theirs.info.rename(`renamed-${theirs.path}`),
    (theirs: Open) => theirs.info.setDeletePending(true),
  ];
  const other = await samba.connect('durable', { timeoutMs: SLOW_MS });
  for (const act of actions) {
    const client = await samba.connect('durable', { timeoutMs: SLOW_MS });
    const name = newName();
    const lease = { key: newGuid(), state: LeaseState.RH };
    const open = await client.open(name, { ...optionsOf(V2_LEASE), lease }).ok();
    await open.write(0, 'written before').ok();
    await client.drop();
    await away(name);
    const wish = { key: newGuid(), state: LeaseState.RWH };
    const theirs = await other.open(name, { lease: wish }).ok();
    await act(theirs).ok();
    await theirs.close().ok();
    await backFor(open, client, 'durable');
  }
});

memcheck('ends: delete on close, tree disconnect, log-off, forced close', async () => {
  const { open } = await opened('durable', V2_LEASE);
  await open.info.setDeletePending(true).ok();
  await open.close().ok();
  await (await opened('durable', V2_LEASE)).client.tree.disconnect().ok();
  await (await opened('posix', V1_OPLOCK)).client.logoff();
  const { client } = await opened('posix', V2_LEASE);
  smbcontrol(samba, 'smbd', 'close-share', 'posix');
  await samba.until('the forced close', () => samba.handles('--all').every(isOver), SLOW_MS);
  await client.drop();
});

const isOver = ({ state }: { state: string }) => !['connected', 'claimed'].includes(state);

for (const part of ['persistd', 'keeper'] as const) {
  memcheck(`${part} is away, and is back`, async () => {
    const held = await opened('durable', V2_LEASE);
    const dropped = await opened('durable', V2_LEASE);
    await samba.verb('kill', part);
    await held.open.lock({ offset: 0, length: 1 }).ok();
    await (await held.client.open(newName(), optionsOf(V1_OPLOCK)).ok()).close().ok();
    await dropped.client.drop();
    await backFor(dropped.open, dropped.client, 'durable');
    await samba.verb('restart', part);
    await (await held.client.open(newName(), optionsOf(V2_LEASE)).ok()).close().ok();
    await held.client.drop();
    await backFor(held.open, held.client, 'durable');
  });
}

memcheck('the module resumed some of these handles itself', () => {
  const resumes = samba.handles('--all').map((handle) => handle.resumes);
  assert.ok(resumes.some((times) => times > 0));
});

memcheck('nothing is left behind', () => samba.nothingLeft());

memcheck('no error and no leak passes through the module', async () => {
  await samba.verb('down');
  const { processes, found } = findings(join(samba.dir, 'log'));
  assert.ok(processes > 20, `only ${processes} processes were watched`);
  const ours = found.filter((finding) => passesThrough(finding, 'persistent.so'));
  assert.equal(ours.map(describe).join('\n\n'), '');
});

memcheck.after(() => samba.down());
memcheck.run();

// ---- talloc ----------------------------------------------------------------
// It frees at the end of a process what was forgotten, which hides a leak from
// memcheck. So one smbd child works for long and must not grow.

const pool = suite('memory, by talloc');
const WARM_UP = 50;
/** Caches and the event loop make it go up and down by that much. */
const SLACK_BLOCKS = 60;

let quick: DevSamba;
pool.before(async () => {
  quick = await DevSamba.up();
});

function smbcontrol(instance: DevSamba, ...args: string[]): string {
  const configFile = `--configfile=${instance.status().smbConf}`;
  return execFileSync('smbcontrol', [configFile, ...args], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
}

function blocksOf(pid: number): number {
  const report = smbcontrol(quick, String(pid), 'pool-usage');
  const [, blocks] = /\(total +\d+ bytes in +(\d+) blocks\)/.exec(report) ?? [];
  assert.ok(blocks !== undefined, report.slice(0, 200));
  return Number(blocks);
}

/** The least of some: what is under way comes to an end, and a leak does not. */
async function leastBlocksOf(pid: number): Promise<number> {
  let least = blocksOf(pid);
  for (let i = 0; i < 10; i += 1) {
    await sleep(100);
    least = Math.min(least, blocksOf(pid));
  }
  return least;
}

type Cycle = (share: string, anchor: Smb2Client) => Promise<void>;

/**
 * The number of blocks by which a child grows. All connections with the client
 * GUID of one that stays are served by the same process (MS-SMB2 3.3.5.3).
 */
async function growth(share: string, cycle: Cycle, times: number): Promise<number> {
  const anchor = await quick.connect(share);
  const { clientPids } = quick.status();
  assert.equal(clientPids.length, 1);
  for (let i = 0; i < WARM_UP; i++) await cycle(share, anchor);
  const pid = clientPids[0] as number;
  const before = await leastBlocksOf(pid);
  for (let i = 0; i < times; i++) await cycle(share, anchor);
  assert.deepEqual(quick.status().clientPids, clientPids);
  const after = await leastBlocksOf(pid);
  await anchor.drop();
  await quick.until('the end of the child', () => quick.status().clientPids.length === 0);
  return after - before;
}

let turn = 0;
const nextKind = (): Kind => Object.values(DURABLE_KINDS)[turn++ % 4] as Kind;

const openLockClose: Cycle = async (_share, anchor) => {
  const open = await anchor.open(`pool-${turn % 7}.txt`, optionsOf(nextKind())).ok();
  await open.lock({ offset: 0, length: 1 }).ok();
  if (turn % 2 === 0) await open.unlock({ offset: 0, length: 1 }).ok();
  await open.close().ok();
};

const comeBack =
  (leave: (client: Smb2Client) => Promise<unknown>): Cycle =>
  async (share, { clientGuid }) => {
    const client = await quick.connect(share, { clientGuid });
    const open = await client.open(`pool-${turn % 7}.txt`, optionsOf(nextKind())).ok();
    await open.lock({ offset: 0, length: 1 }).ok();
    await leave(client);
    const again = await quick.back(client, share);
    const resumed = await again.reconnect(open).ok();
    await resumed.close().ok();
    await again.drop();
  };

const CYCLES: [string, Cycle, number][] = [
  ['open, lock, close', openLockClose, 1000],
  ['open, lock, drop, resume, close', comeBack((client) => client.drop()), 200],
  ['open, lock, log-off, resume, close', comeBack((client) => client.logoff()), 200],
];

for (const [label, cycle, times] of CYCLES) {
  pool(`${label}, ${times} times: smbd grows no more than without the module`, async () => {
    const plain = await growth('plain', cycle, times);
    const durable = await growth('durable', cycle, times);
    // a negative growth is what was freed of the time before
    const allowed = Math.max(plain, 0) + SLACK_BLOCKS;
    assert.ok(durable < allowed, `${durable} blocks, without the module ${plain}`);
    assert.ok(durable < SLACK_BLOCKS, `${durable} blocks`);
  });
}

pool('nothing is left behind', () => quick.nothingLeft());
pool.after(() => quick.down());
pool.run();
