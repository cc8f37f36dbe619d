// SPDX-License-Identifier: GPL-3.0-or-later
/** Iterations: somebody is killed at a point, and what becomes of the handles. */
import { rmSync } from 'node:fs';
import { Random } from '../soak/random.js';
import { type Bench, isAlive, isHost, SHARES } from './bench.js';
import type { Held } from './handle.js';
import { KINDS, Party, type PartyWish, shareFor } from './party.js';
import type { Iteration } from './report.js';
import { type Case, isKeeperLost, isOfTwo, type Rule, ruleOf, victimOf } from './rules.js';
import { scenariosOf } from './scenarios.js';
import { type Scenario, Scene } from './scene.js';
import { checkFree, checkProtection, look, type Outcome } from './verdict.js';

const REACHED_MS = 3_000;
const MEETINGS = 5;

const caseOf = (scene: Scene, scenario: Scenario, held: Held): Case => ({
  scenario: scenario.name,
  point: scene.point,
  victim: victimOf(scene.point),
  kind: held.kind,
  durability: isHost(scene.party.wish.share) ? 'host' : 'process',
  wasAway: scene.wasAway,
  end: held.end,
  isTooEarly: held.isTooEarly,
});

async function isDeadSoon({ bench, point, armedFor }: Scene): Promise<boolean> {
  const endMs = performance.now() + REACHED_MS;
  const victim = victimOf(point);
  // a keeper that hands over may be either of two
  const pid = victim === 'smbd' || isOfTwo(point) ? null : armedFor[victim];
  while (performance.now() < endMs) {
    if (!bench.faults.isArmed(point) && (pid === null || !isAlive(pid))) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return bench.faults.disarm(point);
}

/** What was made anew knows all that it has to know before the client comes. */
async function settle(scene: Scene, scenario: Scenario): Promise<void> {
  const { bench, party, point, hasTried } = scene;
  const isConnected = bench.childOf(party.client) !== undefined;
  const mayLoseAll = isKeeperLost({ point, scenario: scenario.name });
  await bench.until('that persistd knows the keeper', async () => {
    // who was at its start may be about to die only now
    await bench.startAll();
    return bench.isListed();
  });
  if (isConnected && !hasTried) await party.known();
  await bench.until('that all is as it will be', async () =>
    (await bench.handlesOf(party.path)).every(({ state, retained }) => {
      if (state === 'disconnected') {
        if (scenario.name === 'expire') return false;
        return retained || !mayLoseAll;
      }
      return state !== 'connected' || retained || !hasTried;
    }),
  );
}

async function judge(scene: Scene, scenario: Scenario): Promise<Outcome[]> {
  const { bench, party, random } = scene;
  const rules = new Map<Held, Rule>(
    party.handles.map((held) => [held, ruleOf(caseOf(scene, scenario, held))]),
  );
  await party.client.drop();
  if (random.chance(0.5)) {
    for (const [held, { allows }] of rules) {
      if (allows === 'resumed') await checkProtection(scene, held);
    }
  }
  await party.comeBack();
  const outcomes = await look(scene, rules, scenario.isAlone);
  await bench.dropAll();
  return outcomes;
}

/** Nothing of this iteration is in the way of the next one. */
async function clearUp(scene: Scene): Promise<void> {
  const { bench, party } = scene;
  await bench.dropAll();
  const isOver = async () => {
    await bench.admin((admin) => admin.request('expireWhere', { all: true }));
    return (await bench.handlesOf(party.path)).every(
      ({ state }) => !['connected', 'disconnected', 'claimed'].includes(state),
    );
  };
  await bench.until('the end of all handles', isOver);
  await checkFree(scene);
  await bench.dropAll();
  for (const { path } of party.handles) rmSync(path, { force: true });
  rmSync(`${party.path}.renamed`, { force: true });
}

/** On a busy machine not all is granted, since nobody waits for long. */
async function meet(bench: Bench, random: Random, wish: PartyWish): Promise<Party> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await Party.meet(bench, random, wish);
    } catch (error) {
      if (tries === MEETINGS) throw error;
      await bench.dropAll();
    }
  }
}

export async function iterate(bench: Bench, point: string, seed: number): Promise<Iteration> {
  const startMs = performance.now();
  const random = new Random(seed);
  const scenario = random.pick(scenariosOf(point));
  const kind = random.pick(scenario.kinds ?? KINDS);
  const share = shareFor(kind, random.pick(scenario.shares ?? SHARES));
  const iteration: Iteration = {
    ...{ seed, point, scenario: scenario.name, share, kind },
    ...{ isReached: false, outcomes: [], tookMs: 0 },
  };
  try {
    const party = await meet(bench, random, { share, kind, ...scenario.wish });
    const scene = new Scene(bench, random, party, point);
    await scenario.run(scene);
    iteration.isReached = await isDeadSoon(scene);
    await settle(scene, scenario);
    iteration.outcomes = await judge(scene, scenario);
    await clearUp(scene);
  } catch (error) {
    const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
    iteration.outcomes.push({ handle: '-', what: 'lost', why });
    bench.faults.disarm(point);
    await bench.dropAll();
    await bench.startAll();
  }
  for (const why of bench.panics()) iteration.outcomes.push({ handle: '-', what: 'lost', why });
  iteration.tookMs = Math.round(performance.now() - startMs);
  return iteration;
}
