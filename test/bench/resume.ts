// SPDX-License-Identifier: GPL-3.0-or-later
/** The CREATE with which a client takes up its durable handle after a drop. */
import type { DevSamba } from '../lib/dev-samba.js';
import { ended, newChild } from './processes.js';
import { fileName, inTurns, openOptions, type Side } from './side.js';

export interface ResumeSamples {
  stock: number[];
  module: number[];
}

/** Drop, wait for the end of the old smbd child, connect, log on: only then the clock runs. */
async function oneResume(samba: DevSamba, share: string, index: number): Promise<number> {
  const smbd = samba.pid('smbd');
  const connect = () => samba.connect(share);
  const [client, child] = await newChild(smbd, connect);
  const open = await client.open(fileName(index), openOptions(true)).ok();
  await client.drop();
  await ended(smbd, child);
  const back = await samba.back(client, share);
  const start = performance.now();
  const again = await back.reconnect(open).ok();
  const tookUs = (performance.now() - start) * 1000;
  await again.close().ok();
  await back.logoff();
  return tookUs;
}

export async function resumeRound(
  samba: DevSamba,
  sides: readonly [Side, Side],
  round: number,
  count: number,
  into: ResumeSamples,
): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await inTurns(sides, round + index, async ({ name, share }) => {
      const tookUs = await oneResume(samba, share, index);
      into[name].push(tookUs);
      return tookUs;
    });
  }
}
