// SPDX-License-Identifier: GPL-3.0-or-later
/** Many handles of other files whose clients are away. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import type { DevSamba } from '../lib/dev-samba.js';
import { Oplock } from '../lib/smb2/index.js';

export const AWAY = 10_000;
/** Well below what smbd lets one connection have open. */
const PER_CLIENT = 2_500;
const IN_FLIGHT = 64;
const BOUND_MS = 120_000;

/** The files that are measured have no more neighbours than on the other share. */
const DIRECTORY = 'away';
const nameOf = (index: number) => `${DIRECTORY}/${index}.dat`;

/** Where smbd has to make a file, it looks through the whole directory first. */
function makeFiles(samba: DevSamba, share: string): void {
  const directory = samba.sharePath(share, DIRECTORY);
  mkdirSync(directory);
  chmodSync(directory, 0o777);
  for (let index = 0; index < AWAY; index += 1) {
    const path = samba.sharePath(share, nameOf(index));
    writeFileSync(path, '');
    chmodSync(path, 0o666);
  }
}

async function openMany(
  samba: DevSamba,
  share: string,
  from: number,
): Promise<() => Promise<void>> {
  const client = await samba.connect(share);
  let next = from;
  const worker = async () => {
    while (next < from + PER_CLIENT) {
      // v1: smbd keeps it for 16 minutes, longer than any measurement takes
      const asked = { durable: { version: 1 }, oplock: Oplock.BATCH } as const;
      const open = await client.open(nameOf(next++), asked).ok();
      if (!open.granted.durableV1) throw new Error('not granted');
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return () => client.drop();
}

export function countAway(samba: DevSamba): number {
  const { handles } = samba.stats() as { handles: { state: { disconnected?: number } } };
  return handles.state.disconnected ?? 0;
}

export async function sendAway(samba: DevSamba, share: string): Promise<void> {
  makeFiles(samba, share);
  for (let from = 0; from < AWAY; from += PER_CLIENT) {
    const drop = await openMany(samba, share, from);
    await drop();
  }
  await samba.until('all handles away', () => countAway(samba) >= AWAY, BOUND_MS);
}
