// SPDX-License-Identifier: GPL-3.0-or-later
/** `persistent:durability = host`: what is answered is on the disk before. */
import type { DevSamba } from '../lib/dev-samba.js';
import type { Open } from '../lib/smb2/index.js';
import { type Pair, percentile } from './figures.js';
import { connectSide, fileName, inTurns, makeFiles, openOptions, type Side } from './side.js';

export const HOST = 'host';
const ONE_BY_ONE = 30;
const AT_ONCE = 160;
const IN_FLIGHT = 16;
const CLIENTS = 4;
const PER_CLIENT = 15;
const RANGE = { offset: 0, length: 10 };

export interface HostRounds {
  medianUs: Pair[];
  p99Us: Pair[];
  inFlightPerSecond: Pair[];
  clientsPerSecond: Pair[];
  lockMedianUs: Pair[];
}

/** A side, and more clients with smbd children of their own. */
export interface Crowd {
  side: Side;
  clients: readonly Side[];
}

export async function makeCrowds(samba: DevSamba): Promise<[Crowd, Crowd]> {
  const crowds: Crowd[] = [];
  for (const [name, share] of [
    ['stock', 'plain'],
    ['module', HOST],
  ] as const) {
    const clients: Side[] = [];
    makeFiles(samba, share);
    for (let made = 0; made < CLIENTS; made += 1) {
      clients.push(await connectSide(samba, name, share));
    }
    crowds.push({ side: clients[0] as Side, clients });
  }
  return crowds as [Crowd, Crowd];
}

async function grant({ client }: Side, index: number): Promise<Open> {
  const open = await client.open(fileName(index), openOptions(true)).ok();
  if (open.granted.durableV2 === undefined) throw new Error('not granted');
  return open;
}

async function openAndClose(side: Side, index: number): Promise<void> {
  const open = await grant(side, index);
  await open.close().ok();
}

async function timed(act: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await act();
  return (performance.now() - start) * 1000;
}

async function latencies(count: number, act: (index: number) => Promise<void>): Promise<number[]> {
  const samples: number[] = [];
  for (let index = 0; index < count; index += 1) samples.push(await timed(() => act(index)));
  return samples;
}

async function inFlight(side: Side): Promise<void> {
  let next = 0;
  const worker = async (_: unknown, own: number) => {
    for (; next < AT_ONCE; next += 1) await openAndClose(side, own);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

/** Each of them one by one, all at the same time: their flushes are shared. */
async function together({ clients }: Crowd): Promise<void> {
  await Promise.all(
    clients.map((client, own) => latencies(PER_CLIENT, () => openAndClose(client, own))),
  );
}

async function locksMedian(side: Side): Promise<number> {
  const open = await grant(side, 0);
  const samples = await latencies(ONE_BY_ONE, async () => {
    await open.lock(RANGE).ok();
    await open.unlock(RANGE).ok();
  });
  await open.close().ok();
  return percentile(samples, 0.5);
}

export async function hostRound(
  crowds: readonly [Crowd, Crowd],
  round: number,
  into: HostRounds,
): Promise<void> {
  const sides = crowds.map(({ side }) => side) as [Side, Side];
  const crowdOf = ({ name }: Side) => crowds[name === 'stock' ? 0 : 1];
  const perSecond = (count: number, us: number) => count / (us / 1e6);
  const p99: Pair = { stock: 0, module: 0 };
  into.medianUs.push(
    await inTurns(sides, round, async (side) => {
      const samples = await latencies(ONE_BY_ONE, (index) => openAndClose(side, index));
      p99[side.name] = percentile(samples, 0.99);
      return percentile(samples, 0.5);
    }),
  );
  into.p99Us.push(p99);
  into.inFlightPerSecond.push(
    await inTurns(sides, round, async (side) =>
      perSecond(AT_ONCE, await timed(() => inFlight(side))),
    ),
  );
  into.clientsPerSecond.push(
    await inTurns(sides, round, async (side) =>
      perSecond(CLIENTS * PER_CLIENT, await timed(() => together(crowdOf(side)))),
    ),
  );
  into.lockMedianUs.push(await inTurns(sides, round, locksMedian));
}
