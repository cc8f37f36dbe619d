// SPDX-License-Identifier: GPL-3.0-or-later
/** What a client does next, by chance. */
import { setTimeout as elapse } from 'node:timers/promises';
import * as acts from './acts.js';
import type { Departure, SoakClient } from './client.js';
import type { Handle } from './handle.js';

const MAX_OPEN = 4;

const WEIGHTS = {
  open: 20,
  close: 9,
  lock: 16,
  unlock: 8,
  writeOwn: 10,
  useGuarded: 20,
  readSomebodys: 8,
  poach: 4,
  pause: 10,
  remember: 2,
  leave: 9,
} as const;
type Step = keyof typeof WEIGHTS;

const DEPARTURES: Record<Departure, number> = { drop: 10, kill: 2, logoff: 1.5, partition: 1.5 };

async function act(client: SoakClient, what: Step, clients: number) {
  const { random, connected } = client;
  if (what === 'pause') return elapse(random.int(60));
  if (what === 'open') {
    if (connected.length < MAX_OPEN) await acts.open(client);
    return;
  }
  if (what === 'remember') {
    const [forgotten] = client.away;
    if (forgotten) await client.resume(forgotten);
    return;
  }
  const able: Handle[] = connected.filter(
    (h) => what === 'close' || (!h.isStat && (h.write || !['writeOwn', 'poach'].includes(what))),
  );
  if (able.length === 0) return;
  const handle = random.pick(able);
  if (what === 'close') await acts.close(client, handle);
  if (what === 'lock') await acts.lock(client, handle);
  if (what === 'unlock') await acts.unlock(client, handle);
  if (what === 'writeOwn') await acts.writeOwn(client, handle);
  if (what === 'useGuarded') await acts.useGuarded(client, handle);
  if (what === 'poach') await acts.poach(client, handle);
  if (what === 'readSomebodys') await acts.readSomebodys(client, handle, clients);
}

export async function step(client: SoakClient, clients: number): Promise<void> {
  const { random } = client;
  if (client.isCut) await client.comeBack();
  const what = random.weighted(WEIGHTS);
  if (what !== 'leave') {
    await act(client, what, clients);
    return;
  }
  const how = random.weighted(DEPARTURES);
  let underWay: Promise<void> | undefined;
  if (how !== 'partition' && random.chance(0.5)) {
    const meanwhile = random.pick(['open', 'close', 'lock', 'unlock', 'writeOwn'] as const);
    underWay = act(client, meanwhile, clients);
    await elapse(random.int(4));
  }
  await client.leave(how, underWay);
}
