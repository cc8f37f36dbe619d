// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * A client whose connection breaks just as smbd sends it an oplock or lease break. On
 * stock nobody ends its smbd child then, and its handles stay open for good.
 */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';
import {
  EXISTING,
  isStillTheOwners,
  isTheOthers,
  type Owner,
  owner,
  SOON_MS,
} from './lib/races.js';
import { childOf } from './lib/scenario.js';
import type { Open, Smb2Client } from './lib/smb2/index.js';

const samba = await DevSamba.up();
const test = suite('lost-connection');

/** The other's CREATE, and the owner's smbd child finds the break before the broken connection. */
async function breakWhileItBreaks(pid: number, own: Owner, other: Smb2Client): Promise<Open> {
  process.kill(pid, 'SIGSTOP');
  const opening = other.open(own.name, EXISTING, { timeoutMs: SOON_MS });
  assert.ok(await opening.pending, 'its lease has to be broken first');
  await own.client.drop();
  process.kill(pid, 'SIGCONT');
  return await opening.ok();
}

test('durable: the other has the file soon', async () => {
  const [own, pid] = await childOf(samba, () => owner(samba, 'durable'));
  const other = await samba.connect('durable');
  const theirs = await breakWhileItBreaks(pid, own, other);
  await isTheOthers(samba, own, theirs);
  await other.drop();
  await samba.nothingLeft();
});

test('resilient: the handle is away, and its client has it back', async () => {
  const [own, pid] = await childOf(samba, () => owner(samba, 'resilient'));
  const other = await samba.connect('durable');
  const theirs = await breakWhileItBreaks(pid, own, other);
  await samba.disconnected(own.name);
  const back = await samba.back(own.client, 'durable');
  await isStillTheOwners(await back.reconnect(own.open).ok(), theirs);
  await back.drop();
  await other.drop();
  await samba.nothingLeft();
});

test.after(() => samba.down());
test.run();
