// SPDX-License-Identifier: GPL-3.0-or-later
/** A whole run: clients at work, persistd ended in between, and what is left in the end. */
import { chmodSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { setTimeout as elapse } from 'node:timers/promises';
import { type DevSamba, tryLock } from '../lib/dev-samba.js';
import { Share } from '../lib/smb2/index.js';
import { SoakClient, type World } from './client.js';
import { Model } from './model.js';
import { descriptorsOf } from './processes.js';
import { Random } from './random.js';
import { decode, OWN_RECORDS, ownOffset, RECORD_LENGTH } from './records.js';
import { Report } from './report.js';
import { step } from './steps.js';
import { STRONG, STRONG_DURABLE_MS } from './wishes.js';

export interface SoakOptions {
  seed: number;
  minutes: number;
  clients: number;
  files: number;
  /** At so many errors the run ends. */
  maxErrors: number;
  /** Of SIGKILLs and restarts of persistd, on average. */
  outageEveryMs: number;
  onProgress(line: string): void;
  /** Takes all that happens. */
  onTrace?: (line: string) => void;
}

const SHARE = 'durable';
const POSIX = 'soak-posix';
const PROGRESS_MS = 5_000;

async function prepare(samba: DevSamba, files: readonly string[]): Promise<void> {
  const same = `path = ${samba.sharePath(SHARE)}`;
  await samba.addShare(POSIX, same, 'posix locking = yes', 'vfs objects = persistent');
  await samba.addShare(
    STRONG,
    same,
    'posix locking = no',
    'vfs objects = persistent',
    'persistent:strength = yes',
    `persistent:durable timeout max = ${STRONG_DURABLE_MS / 1_000}`,
  );
  for (const file of files) {
    const path = samba.sharePath(SHARE, file);
    writeFileSync(path, '');
    truncateSync(path, 2 ** 21);
    chmodSync(path, 0o666);
  }
}

async function outages(world: World, random: Random, options: SoakOptions, isOver: () => boolean) {
  for (;;) {
    const untilMs = performance.now() + options.outageEveryMs * (0.5 + random.next());
    while (performance.now() < untilMs) {
      if (isOver()) return;
      await elapse(100);
    }
    await world.model.outages.during(async () => {
      if (random.chance(0.6)) await world.samba.verb('kill', 'persistd');
      if (random.chance(0.5)) await elapse(random.int(1_500));
      await world.samba.verb('restart', 'persistd');
    });
  }
}

/** A local process that reads and changes modes: it costs no handle. */
async function visitor(world: World, random: Random, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const path = world.samba.sharePath(SHARE, random.pick(world.files));
    readFileSync(path);
    chmodSync(path, random.pick([0o666, 0o662, 0o646]) | 0o666);
    await elapse(random.int(400));
  }
}

async function work(client: SoakClient, clients: number, isOver: () => boolean): Promise<void> {
  await client.connect();
  while (!isOver()) await step(client, clients);
}

/** Nobody has anything open: each file is free for whoever comes, on each share. */
async function assertFree(world: World): Promise<void> {
  for (const share of world.shares) {
    const client = await world.samba.connect(share);
    for (const file of world.files) {
      const open = await client.open(file, { share: Share.NONE }).ok();
      await open.lock({ offset: 0, length: 2 ** 40 }).ok();
      await open.close().ok();
    }
    await client.logoff();
  }
  for (const file of world.files) {
    const path = world.samba.sharePath(SHARE, file);
    if (tryLock(path, 0, 0) !== 'locked') throw new Error(`a kernel lock is left on ${file}`);
  }
}

function checkOwnRecords(world: World, clients: number): void {
  world.files.forEach((file, fileIndex) => {
    const bytes = readFileSync(world.samba.sharePath(SHARE, file));
    for (let client = 0; client < clients; client += 1) {
      for (let index = 0; index < OWN_RECORDS; index += 1) {
        const at = ownOffset(client, index);
        const found = decode(bytes.subarray(at, at + RECORD_LENGTH));
        const record = world.model.own(fileIndex, client, index);
        const wrong =
          found === undefined ? 'a mixture' : record.check(client, found, record.answered);
        if (wrong) world.report.error(client, `in the end: ${file}, record ${index}: ${wrong}`);
      }
    }
  });
}

/**
 * A client that has dropped one of two connections of one smbd child may lose the
 * other, too: smbd 4.17 gives up the client when a break finds the socket closed, or
 * when a connection was handed to a child that is about to end. Seldom, and never by
 * a panic, for which the log is searched.
 */
function explainHangUps({ report }: World): void {
  if (report.hangUps > 3 + report.drops / 50) throw new Error(`${report.hangUps} times`);
}

async function finish(world: World, clients: readonly SoakClient[], before: number[]) {
  const { samba, report } = world;
  const attempt = async (what: string, act: () => Promise<void>) => {
    try {
      await act();
    } catch (error) {
      report.error(null, `${what}: ${error instanceof Error ? error.message : error}`);
    }
  };
  for (const client of clients) await client.end();
  await attempt('what is left of the handles', () => samba.nothingLeft());
  await attempt('the end of all smbd children', async () => {
    await samba.until('no smbd child', () => samba.status().clientPids.length === 0, 20_000);
  });
  await attempt('the files at the end', () => assertFree(world));
  await attempt('what is left at the very end', () => samba.nothingLeft());
  checkOwnRecords(world, clients.length);
  await attempt('connections that smbd ended', async () => explainHangUps(world));
  await attempt('descriptors', async () => {
    const after = [samba.pid('smbd'), samba.pid('keeper')].map(descriptorsOf);
    const grown = after.some((count, i) => count > (before[i] ?? 0) + 2);
    if (grown)
      throw new Error(`of smbd and fdkeeper: ${before.join(', ')}, then ${after.join(', ')}`);
  });
}

export async function soak(samba: DevSamba, options: SoakOptions): Promise<Report> {
  const files = Array.from({ length: options.files }, (_, index) => `soak-${index}.dat`);
  await prepare(samba, files);
  const before = [samba.pid('smbd'), samba.pid('keeper')].map(descriptorsOf);
  const endMs = performance.now() + options.minutes * 60_000;
  const report = new Report(options.onTrace);
  const isOver = () => performance.now() > endMs || report.errors.length >= options.maxErrors;
  // a share without the module lets others in before a killed child's records are put right
  const shares = [SHARE, POSIX, STRONG];
  const smbdPid = samba.pid('smbd');
  const world: World = { samba, smbdPid, model: new Model(), report, shares, files };
  const seeds = new Random(options.seed);
  const clients = Array.from(
    { length: options.clients },
    (_, id) => new SoakClient(id, world, seeds.fork()),
  );
  const progress = setInterval(() => {
    world.model.forget();
    options.onProgress(report.progress());
  }, PROGRESS_MS);
  try {
    await Promise.all([
      ...clients.map((client) => work(client, clients.length, isOver)),
      outages(world, seeds.fork(), options, isOver),
      visitor(world, seeds.fork(), isOver),
    ]);
  } finally {
    clearInterval(progress);
  }
  await finish(world, clients, before);
  return report;
}
