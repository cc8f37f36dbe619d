// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * The benchmark (scripts/bench): the module against stock Samba in the same smbd, on
 * shares that differ in nothing else, in turns. docs/performance.md has the method.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { DevSamba } from '../lib/dev-samba.js';
import { AWAY, countAway, sendAway } from './away.js';
import {
  type CreateCloseRounds,
  createCloseRound,
  type HeldRounds,
  heldRound,
} from './create-close.js';
import { EventSource } from './events.js';
import { median, type Pair } from './figures.js';
import { HOST, type HostRounds, hostRound, makeCrowds } from './host.js';
import { machine, renderMachine } from './machine.js';
import { compared, comparedAt, renderTable, type Section } from './report.js';
import { type ResumeSamples, resumeRound } from './resume.js';
import { connectSides, fileName, makeFiles, SHARES, type Side } from './side.js';
import { FORGOTTEN, treeConnectRound } from './tree-connect.js';

const run = promisify(execFile);
const RESUMES_PER_ROUND = 8;
const LIVES = 5000;
const DEPOSITS = 20_000;
/** Each restarts smbd. */
const MOST_RESTARTS = 7;

const options = yargs(hideBin(process.argv))
  .scriptName('bench')
  .usage('$0 [options]\n\nMeasures what the module costs, against stock Samba.')
  .option('rounds', { type: 'number', default: 25, describe: 'How often everything is measured' })
  .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
  .strict()
  .parseSync();

function progress(text: string): void {
  const end = process.stderr.isTTY ? '\r' : '\n';
  process.stderr.write(`bench: ${text}`.padEnd(60) + end);
}

async function rounds(what: string, act: (round: number) => Promise<void>): Promise<void> {
  for (let round = 0; round < options.rounds; round += 1) {
    progress(`${what}, round ${round + 1} of ${options.rounds}`);
    await act(round);
  }
}

/** Each round has smbd children of its own: two that do the same differ by a few percent. */
async function createClose(samba: DevSamba, isDurable: boolean): Promise<Section> {
  const into: CreateCloseRounds = { medianUs: [], p99Us: [], perSecond: [], smbdCpuUs: [] };
  const title = isDurable ? 'CREATE+CLOSE, durable v2 with a lease' : 'CREATE+CLOSE, not durable';
  await rounds(title, async (round) => {
    const sides = await connectSides(samba, round);
    await createCloseRound(sides, round, isDurable, into);
    for (const { client } of sides) await client.logoff();
  });
  const aims = isDurable
    ? { cpu: { atMost: 1.15 }, median: { atMost: 60 } }
    : { rate: { atLeast: 0.98 } };
  return {
    title,
    rows: [
      compared('rate, 16 in flight', 'per second', into.perSecond, 'ratio', aims.rate),
      compared('smbd CPU time', 'us', into.smbdCpuUs, 'ratio', aims.cpu),
      compared('latency, median', 'us', into.medianUs, 'added', aims.median),
      compared('latency, p99', 'us', into.p99Us, 'added'),
    ],
  };
}

async function held(samba: DevSamba, sides: [Side, Side]): Promise<Section> {
  const into: HeldRounds = { smbdCpuUs: [], persistdCpuUs: [], keeperCpuUs: [] };
  const daemons = { persistd: samba.pid('persistd'), keeper: samba.pid('keeper') };
  const title = 'The same, kept open for 30 ms';
  await rounds(title, (round) => heldRound(sides, round, daemons, into));
  return {
    title,
    rows: [
      compared('smbd CPU time', 'us', into.smbdCpuUs, 'ratio'),
      { what: 'persistd CPU time', unit: 'us', module: median(into.persistdCpuUs) },
      { what: 'fdkeeper CPU time', unit: 'us', module: median(into.keeperCpuUs) },
    ],
  };
}

async function resume(samba: DevSamba, sides: [Side, Side]): Promise<Section> {
  const samples: ResumeSamples = { stock: [], module: [] };
  const title = 'Resume: CREATE with DH2C';
  await rounds(title, (round) => resumeRound(samba, sides, round, RESUMES_PER_ROUND, samples));
  return {
    title,
    rows: [
      comparedAt('latency, median', 0.5, samples),
      comparedAt('latency, p99', 0.99, samples, { atMost: 1000 }),
    ],
  };
}

/** Files that nobody is away from, while others are: nobody is asked about them. */
async function besideAway(samba: DevSamba): Promise<Section> {
  progress(`${AWAY} handles of other files`);
  await sendAway(samba, 'durable');
  const section = await createClose(samba, false);
  if (countAway(samba) < AWAY) throw new Error('handles ended while it was measured');
  samba.ctl('expire', '--all', '--yes');
  return { ...section, title: `The same, while ${AWAY} handles of other files are away` };
}

/** On a share that differs from `plain` in the module and where it keeps what it knows. */
async function host(samba: DevSamba): Promise<Section> {
  const title = 'CREATE+CLOSE, durable v2, persistent:durability = host';
  const into: HostRounds = {
    medianUs: [],
    p99Us: [],
    inFlightPerSecond: [],
    clientsPerSecond: [],
    lockMedianUs: [],
  };
  await samba.addShare(
    HOST,
    'posix locking = no',
    'vfs objects = persistent',
    'persistent:durability = host',
  );
  const crowds = await makeCrowds(samba);
  await rounds(title, (round) => hostRound(crowds, round, into));
  return {
    title,
    rows: [
      compared('latency, median', 'us', into.medianUs, 'added'),
      compared('latency, p99', 'us', into.p99Us, 'added'),
      compared('rate, 16 in flight', 'per second', into.inFlightPerSecond, 'ratio'),
      compared('rate, 4 clients', 'per second', into.clientsPerSecond, 'ratio'),
      compared('LOCK+UNLOCK, median', 'us', into.lockMedianUs, 'added'),
    ],
  };
}

/** Everything of a share that is away is put into smbd's records before it is answered. */
async function treeConnects(samba: DevSamba): Promise<Section> {
  const title = `Tree connect after a restart of smbd, ${AWAY} handles to import`;
  progress(title);
  await sendAway(samba, FORGOTTEN);
  const pairs: Pair[] = [];
  for (let round = 0; round < Math.min(options.rounds, MOST_RESTARTS); round += 1) {
    progress(`${title}, round ${round + 1}`);
    pairs.push(await treeConnectRound(samba));
  }
  if (countAway(samba) < AWAY) throw new Error('handles ended while it was measured');
  samba.ctl('expire', '--all', '--yes');
  return {
    title,
    rows: [compared('latency, median', 'us', pairs, 'added', { atMost: 1_000_000 })],
  };
}

async function events(samba: DevSamba): Promise<Section> {
  progress('events into persistd');
  const source = await EventSource.connect(samba.status().runDir);
  const alone = await source.rate(LIVES / 10, 1);
  const batched = await source.rate(LIVES, 20);
  source.close();
  return {
    title: 'Events into persistd, committed and acknowledged',
    rows: [
      { what: '4 in a message', unit: 'per second', module: alone },
      { what: '80 in a message', unit: 'per second', module: batched },
    ],
  };
}

async function deposits(samba: DevSamba): Promise<Section> {
  progress('deposits with the keeper');
  const { stdout } = await run('build/test-tools/bench_keeper', [
    join(samba.status().runDir, 'keeper.sock'),
    samba.sharePath('durable', fileName(0)),
    String(DEPOSITS),
  ]);
  const figures = JSON.parse(stdout) as Record<
    'depositNs' | 'depositP99Ns' | 'parkTakeNs' | 'depositsPerSecond',
    number
  >;
  return {
    title: 'A descriptor in the keeper',
    rows: [
      { what: 'deposit, median', unit: 'ns', module: figures.depositNs },
      { what: 'deposit, p99', unit: 'ns', module: figures.depositP99Ns },
      { what: 'park and take, median', unit: 'ns', module: figures.parkTakeNs },
      { what: 'deposit and drop', unit: 'per second', module: figures.depositsPerSecond },
    ],
  };
}

const measuredOn = machine();
const samba = await DevSamba.up('--log-level', '0');
try {
  for (const share of Object.values(SHARES)) makeFiles(samba, share);
  const sides = await connectSides(samba);
  const sections = [
    await createClose(samba, false),
    await besideAway(samba),
    await createClose(samba, true),
    await held(samba, sides),
    await resume(samba, sides),
    await events(samba),
    await deposits(samba),
    // these restart smbd
    await host(samba),
    await treeConnects(samba),
  ];
  progress('done');
  if (options.json) {
    console.log(JSON.stringify({ schemaVersion: 1, machine: measuredOn, sections }, null, 2));
  } else {
    console.log(`${renderMachine(measuredOn)}\n\n${renderTable(sections)}`);
  }
} finally {
  await samba.down();
}
