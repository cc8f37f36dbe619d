// SPDX-License-Identifier: GPL-3.0-or-later
/** CREATE and CLOSE of files that exist, without and with a durable request. */
import { setTimeout as elapse } from 'node:timers/promises';
import { type Pair, percentile } from './figures.js';
import { cpuMicroseconds } from './processes.js';
import { FILES, fileName, inTurns, openOptions, type Side } from './side.js';

const ONE_BY_ONE = 300;
const AT_ONCE = 800;
const IN_FLIGHT = 16;
/** Longer than the 20 ms below which the keeper and so persistd never hear of a handle. */
const HOLD_MS = 30;
const HELD_ROUNDS = 3;

export interface CreateCloseRounds {
  medianUs: Pair[];
  p99Us: Pair[];
  perSecond: Pair[];
  smbdCpuUs: Pair[];
}

export interface HeldRounds {
  smbdCpuUs: Pair[];
  /** Of one operation on the module's share alone. */
  persistdCpuUs: number[];
  keeperCpuUs: number[];
}

type Sides = readonly [Side, Side];

async function openAndClose(side: Side, isDurable: boolean, index: number): Promise<void> {
  const open = await side.client.open(fileName(index), openOptions(isDurable)).ok();
  if (isDurable && open.granted.durableV2 === undefined) throw new Error('not granted');
  await open.close().ok();
}

async function latencies(side: Side, isDurable: boolean): Promise<number[]> {
  const samples: number[] = [];
  for (let index = 0; index < ONE_BY_ONE; index += 1) {
    const start = performance.now();
    await openAndClose(side, isDurable, index);
    samples.push((performance.now() - start) * 1000);
  }
  return samples;
}

async function seconds(side: Side, isDurable: boolean): Promise<number> {
  const start = performance.now();
  let next = 0;
  // each worker has files of its own, so that none breaks another's lease
  const worker = async (_: unknown, own: number) => {
    for (; next < AT_ONCE; next += 1) await openAndClose(side, isDurable, own);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return (performance.now() - start) / 1000;
}

/** One round: one by one for the latency, several in flight for rate and CPU time. */
export async function createCloseRound(
  sides: Sides,
  round: number,
  isDurable: boolean,
  into: CreateCloseRounds,
): Promise<void> {
  // what a new smbd child does once is not measured
  for (const side of sides) await latencies(side, isDurable);
  const p99: Pair = { stock: 0, module: 0 };
  into.medianUs.push(
    await inTurns(sides, round, async (side) => {
      const samples = await latencies(side, isDurable);
      p99[side.name] = percentile(samples, 0.99);
      return percentile(samples, 0.5);
    }),
  );
  into.p99Us.push(p99);
  const cpu: Pair = { stock: 0, module: 0 };
  into.perSecond.push(
    await inTurns(sides, round, async (side) => {
      const before = cpuMicroseconds(side.smbdPid);
      const took = await seconds(side, isDurable);
      cpu[side.name] = (cpuMicroseconds(side.smbdPid) - before) / AT_ONCE;
      return AT_ONCE / took;
    }),
  );
  into.smbdCpuUs.push(cpu);
}

async function openHoldClose(side: Side): Promise<void> {
  const opens = await Promise.all(
    Array.from({ length: FILES }, (_, index) =>
      side.client.open(fileName(index), openOptions(true)).ok(),
    ),
  );
  await elapse(HOLD_MS);
  await Promise.all(opens.map((open) => open.close().ok()));
}

/** Handles that live long enough for persistd to hear of them. */
export async function heldRound(
  sides: Sides,
  round: number,
  daemons: { persistd: number; keeper: number },
  into: HeldRounds,
): Promise<void> {
  const operations = HELD_ROUNDS * FILES;
  into.smbdCpuUs.push(
    await inTurns(sides, round, async (side) => {
      const pids = [side.smbdPid, daemons.persistd, daemons.keeper];
      const before = pids.map(cpuMicroseconds);
      for (let i = 0; i < HELD_ROUNDS; i += 1) await openHoldClose(side);
      const [smbd = 0, persistd = 0, keeper = 0] = pids.map(
        (pid, i) => (cpuMicroseconds(pid) - (before[i] ?? 0)) / operations,
      );
      if (side.name === 'module') {
        into.persistdCpuUs.push(persistd);
        into.keeperCpuUs.push(keeper);
      }
      return smbd;
    }),
  );
}
