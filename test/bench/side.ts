// SPDX-License-Identifier: GPL-3.0-or-later
/** One of the two that are compared: a share, a client on it, the smbd child that serves it. */
import { chmodSync, writeFileSync } from 'node:fs';
import type { DevSamba } from '../lib/dev-samba.js';
import {
  Disposition,
  LeaseState,
  newGuid,
  type OpenOptions,
  type Smb2Client,
} from '../lib/smb2/index.js';
import type { Pair } from './figures.js';
import { newChild } from './processes.js';

export const FILES = 64;
export const fileName = (index: number): string => `bench-${index % FILES}.dat`;

export interface Side {
  name: keyof Pair;
  share: string;
  client: Smb2Client;
  smbdPid: number;
}

export const SHARES = { stock: 'plain', module: 'durable' } as const;

export function makeFiles(samba: DevSamba, share: string): void {
  for (let index = 0; index < FILES; index += 1) {
    const path = samba.sharePath(share, fileName(index));
    writeFileSync(path, 'bench');
    chmodSync(path, 0o666);
  }
}

export async function connectSide(
  samba: DevSamba,
  name: Side['name'],
  share: string,
): Promise<Side> {
  const [client, smbdPid] = await newChild(samba.pid('smbd'), () => samba.connect(share));
  return { name, share, client, smbdPid };
}

/** Both sides anew. In odd rounds the module's smbd child is the older one. */
export async function connectSides(samba: DevSamba, round = 0): Promise<[Side, Side]> {
  const connect = (name: Side['name']) => connectSide(samba, name, SHARES[name]);
  if (round % 2 === 0) return [await connect('stock'), await connect('module')];
  const module = await connect('module');
  return [await connect('stock'), module];
}

export function openOptions(isDurable: boolean): OpenOptions {
  const plain = { disposition: Disposition.OPEN };
  if (!isDurable) return plain;
  return {
    ...plain,
    durable: { version: 2, timeoutMs: 60_000 },
    lease: { key: newGuid(), state: LeaseState.RWH },
  };
}

/** Both sides in turns, the first one changing, so that drift hits both alike. */
export async function inTurns(
  sides: readonly [Side, Side],
  round: number,
  act: (side: Side) => Promise<number>,
): Promise<Pair> {
  const pair: Pair = { stock: 0, module: 0 };
  const order = round % 2 === 0 ? sides : [...sides].reverse();
  for (const side of order) pair[side.name] = await act(side);
  return pair;
}
