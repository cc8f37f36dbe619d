// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * persistd or the keeper away, hung, slow, or replaced by something that talks
 * nonsense: the share works as stock Samba's, which is asked in the same run.
 */
import { strict as assert } from 'node:assert';
import { readdirSync, statSync } from 'node:fs';
import { suite } from 'uvu';
import {
  type Account,
  connect,
  dropAll,
  durableOptions,
  morning,
  newName,
  workday,
} from './day.js';
import { DevSamba, sameDescription } from './dev-samba.js';
import { FAULTS, type Fault, type Victim } from './faults.js';
import type { Open, Smb2Client } from './smb2/index.js';
import { Timings } from './timings.js';

const RECOVERY_MS = 3_000;
const MANY = 8;
const ROUND_MS = 2_500;

const samba = await DevSamba.up();
const { port, user, password } = samba.status();
const account = (share: string): Account => ({ port, user, password, share });

/** On the plain share, so on stock Samba, in the same moment. */
async function stockDay(): Promise<Timings> {
  const timings = new Timings();
  await workday(account('plain'), await morning(account('plain')), timings);
  return timings;
}

async function duringFault(fault: Fault, body: () => Promise<void>): Promise<void> {
  await fault.begin(samba);
  try {
    await body();
  } finally {
    await fault.end(samba);
  }
}

function isPossessed(open: Open): boolean {
  const { dev, ino } = statSync(samba.sharePath('durable', open.path));
  const keeper = samba.pid('keeper');
  return samba.status().clientPids.some((pid) => sameDescription(pid, keeper, dev, ino));
}

/** The share has recovered: a handle that is open is persistd's and the keeper's. */
async function assertRecovered(client: Smb2Client, open: Open): Promise<void> {
  await samba.until(
    'persistd knows the handle and the keeper holds it',
    () =>
      samba
        .handles('--all')
        .some((h) => h.path.endsWith(open.path) && h.state === 'connected' && h.retained),
    RECOVERY_MS,
  );
  assert.ok(isPossessed(open), 'deposited');
  await client.drop();
  await samba.disconnected(open.path);
  const back = await connect(account('durable'), client);
  const again = await back.reconnect(open).ok();
  assert.ok(isPossessed(again), 'resumed with the description that was kept');
  assert.equal(samba.handle(open.path).resumes, 1);
  await again.close().ok();
  await back.drop();
}

function addTests(test: ReturnType<typeof suite>, fault: Fault): void {
  const title = `${fault.victim} ${fault.name}`;

  test(`${title}: a client that works goes on as on stock Samba`, async () => {
    const stock = await stockDay();
    const start = await morning(account('durable'));
    const timings = new Timings();
    await duringFault(fault, () => workday(account('durable'), start, timings));
    timings.assertWithin(stock);
    await samba.nothingLeft();
  });

  test(`${title}: a client that comes then works as on stock Samba`, async () => {
    const stock = await stockDay();
    const timings = new Timings();
    await duringFault(fault, async () => {
      await workday(account('durable'), await morning(account('durable')), timings);
    });
    timings.assertWithin(stock);
    await samba.nothingLeft();
  });

  test(`${title}: many resumes pay for it at most once a second`, async () => {
    const stock = new Timings();
    const durable = new Timings();
    for (const [share, timings] of [
      ['plain', stock],
      ['durable', durable],
    ] as const) {
      const client = await connect(account(share));
      const opens: Open[] = [];
      for (let i = 0; i < MANY; i++) {
        opens.push(await client.open(newName(), durableOptions()).ok());
      }
      const resumeAll = async () => {
        await client.drop();
        const back = await connect(account(share), client);
        for (const open of opens) {
          const again = await timings.of('resume', () => back.reconnect(open).ok());
          await timings.of('CLOSE', () => again.close().ok());
        }
        await back.drop();
      };
      if (share === 'durable') await duringFault(fault, resumeAll);
      else await resumeAll();
    }
    durable.assertWithin(stock);
    if (!fault.answers) durable.assertOncePerSecond(stock);
    await samba.nothingLeft();
  });

  test(`${title}: the share recovers by itself`, async () => {
    const client = await connect(account('durable'));
    const before = await client.open(newName(), durableOptions()).ok();
    let meanwhile = before;
    await duringFault(fault, async () => {
      meanwhile = await client.open(newName(), durableOptions()).ok();
    });
    await samba.until(
      'the older handle is known again, too',
      () =>
        samba
          .handles('--all')
          .some((h) => h.path.endsWith(before.path) && h.state === 'connected' && h.retained),
      RECOVERY_MS,
    );
    await before.close().ok();
    await assertRecovered(client, meanwhile);
    await samba.nothingLeft();
  });

  test(`${title}: no smbd child loses a descriptor by it`, async () => {
    const client = await connect(account('durable'));
    const [pid = 0] = samba.status().clientPids;
    // long enough for smbd to try the fake more than once
    const round = async () => {
      for (const endMs = performance.now() + ROUND_MS; performance.now() < endMs; ) {
        const open = await client.open(newName(), durableOptions()).ok();
        await open.close().ok();
      }
    };
    const count = () => readdirSync(`/proc/${pid}/fd`).length;
    await round();
    const before = count();
    await duringFault(fault, round);
    await samba.until('the descriptors of before', () => count() <= before + 1);
    await client.drop();
    await samba.nothingLeft();
  });
}

export function outages(victim: Victim): void {
  const test = suite(`outage of ${victim}`);
  for (const fault of FAULTS) {
    if (fault.victim === victim) addTests(test, fault);
  }
  test.after.each(dropAll);
  test.after(() => samba.down());
  test.run();
}
