// SPDX-License-Identifier: GPL-3.0-or-later
/** What many scenarios begin with: a durable handle, and a client that is gone. */
import { strict as assert } from 'node:assert';
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { type DevSamba, DURABLE_KINDS, sameDescription } from './dev-samba.js';
import {
  LeaseState,
  newGuid,
  type Open,
  type OpenOptions,
  Oplock,
  type Smb2Client,
} from './smb2/index.js';

export type Kind = (typeof DURABLE_KINDS)[keyof typeof DURABLE_KINDS];

/** The kind for scenarios where it does not matter. */
export const USUAL = DURABLE_KINDS['v2, lease v2'];

export interface Wish {
  /** LeaseState bits. */
  state?: number;
  /** Of v2. */
  timeoutMs?: number;
}

export function optionsOf(kind: Kind, { state, timeoutMs }: Wish = {}): OpenOptions {
  const durable =
    kind.version === 1
      ? ({ version: 1 } as const)
      : ({ version: 2, timeoutMs: timeoutMs ?? 60_000, createGuid: newGuid() } as const);
  return kind.lease === 0
    ? { durable, oplock: Oplock.BATCH }
    : { durable, lease: { key: newGuid(), state: state ?? LeaseState.RWH, version: kind.lease } };
}

let serial = 0;
export const newName = (): string => `file-${++serial}.txt`;

export function isDurable(open: Open): boolean {
  return open.granted.durableV1 || open.granted.durableV2 !== undefined;
}

export interface Held {
  client: Smb2Client;
  open: Open;
  name: string;
  path: string;
}

/** A client with a durable handle on a new file. */
export async function hold(
  samba: DevSamba,
  share: string,
  options: OpenOptions = optionsOf(USUAL),
  name = newName(),
): Promise<Held> {
  const client = await samba.connect(share);
  const open = await client.open(name, options).ok();
  assert.ok(isDurable(open), 'the handle is granted');
  return { client, open, name, path: samba.sharePath(share, name) };
}

/** The client is gone, and persistd knows. */
export async function drop(samba: DevSamba, held: Held): Promise<void> {
  await held.client.drop();
  await samba.disconnected(basename(held.path));
}

/** The client comes back and has its handle again. */
export async function resume(samba: DevSamba, held: Held): Promise<Held> {
  const client = await samba.back(held.client, held.client.tree.share);
  return { ...held, client, open: await client.reconnect(held.open).ok() };
}

/** Lets others in, as a client's cache does that has nothing to write back. */
export function acknowledgeBreaks(client: Smb2Client): void {
  client.on('leaseBreak', (broken) => void (broken.ackRequired && broken.ack()));
  client.on('oplockBreak', (broken) => void broken.ack());
}

/** Whether an smbd child has the very description that the keeper has. */
export function isKeptDescription(samba: DevSamba, path: string): boolean {
  const { dev, ino } = statSync(path);
  const { clientPids, pids } = samba.status();
  return clientPids.some((pid) => sameDescription(pid, pids.keeper ?? 0, dev, ino));
}

/** What the one client that connects meanwhile brings, and the smbd child that serves it. */
export async function childOf<T>(
  samba: DevSamba,
  connecting: () => Promise<T>,
): Promise<[T, number]> {
  const before = new Set(samba.status().clientPids);
  const result = await connecting();
  const pids = samba.status().clientPids.filter((pid) => !before.has(pid));
  assert.equal(pids.length, 1, `children: ${pids}`);
  return [result, pids[0] as number];
}
