// SPDX-License-Identifier: GPL-3.0-or-later
/** The working day of a client: all that it does with files, each step timed. */
import { strict as assert } from 'node:assert';
import { LeaseState, newGuid, type Open, type OpenOptions, Smb2Client } from './smb2/index.js';
import type { Timings } from './timings.js';

export interface Account {
  port: number;
  user: string;
  password: string;
  share: string;
}

let serial = 0;
export const newName = (): string => `day-${process.pid}-${++serial}`;

export function durableOptions(): OpenOptions {
  return {
    durable: { version: 2, timeoutMs: 60_000, createGuid: newGuid() },
    lease: { key: newGuid(), state: LeaseState.RWH },
  };
}

const clients = new Set<Smb2Client>();

export async function connect(account: Account, old?: Smb2Client): Promise<Smb2Client> {
  const same = old && { clientGuid: old.clientGuid, previousSessionId: old.session.id };
  const client = await Smb2Client.connect({ ...account, ...same });
  clients.add(client);
  return client;
}

/** However a test ended, none of its clients is left. */
export async function dropAll(): Promise<void> {
  for (const client of clients) await client.drop();
  clients.clear();
}

async function openDurable(client: Smb2Client): Promise<Open> {
  const open = await client.open(newName(), durableOptions()).ok();
  assert.ok(open.granted.durableV2, 'a durable handle is granted as on stock Samba');
  return open;
}

export interface Morning {
  client: Smb2Client;
  /** Durable handles: one fresh, one that has a lock, one that was resumed before. */
  fresh: Open;
  locked: Open;
  resumed: Open;
}

export async function morning(account: Account): Promise<Morning> {
  const before = await connect(account);
  const old = await openDurable(before);
  await old.write(0, 'morning').ok();
  await before.drop();
  const client = await connect(account, before);
  const resumed = await client.reconnect(old).ok();
  const fresh = await openDurable(client);
  await fresh.write(0, 'morning').ok();
  const locked = await openDurable(client);
  await locked.write(0, 'morning').ok();
  await locked.lock({ offset: 0, length: 3 }).ok();
  return { client, fresh, locked, resumed };
}

/** Ends without a handle, and with the last client gone. */
export async function workday(account: Account, start: Morning, timings: Timings): Promise<void> {
  const noon = await openFiles(start.client, timings);
  const { fresh, locked, resumed } = start;
  await timings.of('UNLOCK', () => locked.unlock({ offset: 0, length: 3 }).ok());
  await timings.of('LOCK', () => locked.lock({ offset: 4, length: 3 }).ok());
  await start.client.drop();

  const client = await timings.of('connect again', () => connect(account, start.client));
  const back: Open[] = [];
  for (const open of [fresh, locked, noon, resumed]) {
    const again = await timings.of('resume', () => client.reconnect(open).ok());
    back.push(again);
  }
  for (const open of back) {
    assert.match(String(await timings.of('READ', () => open.read(0, 7).ok())), /^(morning|noon)$/);
    await timings.of('WRITE', () => open.write(0, 'evening').ok());
  }
  await client.drop();

  const last = await timings.of('connect again', () => connect(account, client));
  for (const open of back) {
    const again = await timings.of('resume', () => last.reconnect(open).ok());
    assert.equal(String(await timings.of('READ', () => again.read(0, 7).ok())), 'evening');
    await timings.of('CLOSE', () => again.close().ok());
  }
  await openDurable(last);
  await timings.of('tree disconnect', () => last.tree.disconnect().ok());
  await last.drop();
}

async function openFiles(client: Smb2Client, timings: Timings): Promise<Open> {
  const plain = await timings.of('CREATE', () => client.open(newName()).ok());
  await timings.of('WRITE', () => plain.write(0, 'plain').ok());
  await timings.of('CLOSE', () => plain.close().ok());
  const gone = await timings.of('CREATE, durable', () => openDurable(client));
  await timings.of('LOCK', () => gone.lock({ offset: 0, length: 3 }).ok());
  await timings.of('UNLOCK', () => gone.unlock({ offset: 0, length: 3 }).ok());
  await timings.of('CLOSE', () => gone.close().ok());
  const tree = await timings.of('tree connect', () => client.treeConnect(client.tree.share).ok());
  await timings.of('tree disconnect', () => tree.disconnect().ok());
  const noon = await timings.of('CREATE, durable', () => openDurable(client));
  await timings.of('WRITE', () => noon.write(0, 'noon').ok());
  return noon;
}
