// SPDX-License-Identifier: GPL-3.0-or-later
// A million random events against a model that is too simple to be wrong in
// the same way, and against what must hold whatever happens.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Core, type Displaced } from '../daemon/src/core/core.js';
import type { Effect } from '../daemon/src/core/effects.js';
import { isEnded, type Moment, NS_PER_MS } from '../daemon/src/core/handle.js';
import { DEFAULT_POLICY } from '../daemon/src/core/policy.js';
import type { HandleKind } from '../daemon/src/shared/handle-view.js';
import type { HandleRecord } from '../daemon/src/wire/records.js';
import type { SmbdEvent } from '../daemon/src/wire/smbd.js';
import { CLIENT_GUID, cookie, keeperEntry, record, server, stat } from './fixtures/handle.js';

const TIMEOUT_MS = 300;
const CLAIM_MS = 2_000;
const STEPS = 1_000_000;
const FILES = 6;
/** A claim refused for these is refused for good. */
const ENDED_REASONS = ['expired', 'closed', 'superseded', 'modified'];

/** By its cookie, so that all of a handle's records agree. */
function kindOf(id: string): HandleKind {
  return (['durable', 'resilient', 'persistent'] as const)[Number.parseInt(id.slice(-2), 16) % 3]!;
}

/** A handful of files, two lease keys on each. */
function recordOf(id: string, pid: number): HandleRecord {
  const digit = Number.parseInt(id.slice(-3, -1), 16);
  return record({
    cookie: id,
    kind: kindOf(id),
    serverId: server(pid),
    timeoutMs: TIMEOUT_MS,
    ino: 100n + BigInt(digit % FILES),
    leaseKey: leaseKey(digit),
    persistentId: BigInt(`0x${id.slice(-6)}`),
  });
}

function leaseKey(number: number): string {
  return `${'c'.repeat(31)}${number % 2}`;
}

interface Modelled {
  levelLost: boolean;
  name: 'connected' | 'disconnected' | 'claimed';
  holder: number;
  claimant: number;
  deadlineMs: number;
  claimUntilMs: number;
}

class World {
  readonly core = new Core({ ...DEFAULT_POLICY, endedKept: 100_000_000, claimMs: CLAIM_MS });
  /** What the store would hold. */
  readonly stored = new Set<string>();
  readonly live = new Map<string, Modelled>();
  readonly ended = new Set<string>();
  readonly unanswered = new Map<
    number,
    { id: string; pid: number; atMs: number; modified: boolean }
  >();
  readonly owed = new Set<string>();
  readonly ids: string[] = [];
  atMs = 1_000_000;
  tickets = 0;
  verdicts = 0;
  #seed: number;

  /** `isModelled` false: the keeper reports too, of which the model knows nothing. */
  constructor(
    seed: number,
    readonly isModelled: boolean,
  ) {
    this.#seed = seed;
  }

  random(below: number): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#seed / 0x1_0000_0000) * below);
  }

  get now(): Moment {
    const monotonicNs = BigInt(this.atMs) * NS_PER_MS;
    return { monotonicNs, realtimeNs: monotonicNs };
  }

  event(pid: number, event: SmbdEvent): void {
    this.take(this.core.events(this.now, server(pid), [event]));
  }

  /** Checks what every effect must keep to, and applies it to the model. */
  take(effects: Effect[]): void {
    for (const effect of effects) {
      if (effect.effect === 'put') {
        this.stored.add(effect.handle.id);
        if (isEnded(effect.handle.state)) this.owed.add(effect.handle.id);
      } else if (effect.effect === 'delete') {
        this.stored.delete(effect.id);
      } else if (effect.effect === 'publish') {
        this.#published(effect.event.event, effect.event.id ?? '', effect.event.reason);
      } else if (effect.effect === 'verdict') {
        this.#judged(effect);
      } else if (effect.effect === 'drop') {
        assert.is(this.core.table.live(effect.id), undefined, 'a live handle was dropped');
      }
    }
  }

  #published(event: string, id: string, reason: string | undefined): void {
    if (!['expire', 'supersede', 'close', 'fail'].includes(event)) return;
    assert.ok(reason, `${id} ended by ${event} without a reason`);
    assert.not(this.ended.has(id), `${id} ended twice`);
    const modelled = this.live.get(id);
    if (event === 'expire' && this.isModelled && modelled !== undefined) {
      assert.ok(this.atMs >= modelled.deadlineMs, `${id} expired early`);
    }
    this.ended.add(id);
    this.live.delete(id);
  }

  #judged({ ticket, verdict }: Extract<Effect, { effect: 'verdict' }>): void {
    const asked = this.unanswered.get(ticket)!;
    assert.ok(asked, 'a claim was answered twice');
    assert.ok(this.atMs - asked.atMs <= 100 + LONGEST_STEP_MS, 'a claim waited too long');
    this.unanswered.delete(ticket);
    this.verdicts++;
    if (verdict.verdict === 'refuse') {
      assert.is(verdict.final, ENDED_REASONS.includes(verdict.reason), verdict.reason);
      if (verdict.final) assert.ok(this.core.table.ended(asked.id), 'refused for good, yet alive');
      return;
    }
    if (!this.isModelled) return;
    const modelled = this.live.get(asked.id);
    assert.is(modelled?.name, 'disconnected', 'a handle was given to two claimants');
    const levelLost = modelled!.levelLost || asked.modified;
    assert.is(verdict.levelLost, levelLost, 'the verdict and the level');
    modelled!.name = 'claimed';
    modelled!.claimant = asked.pid;
    modelled!.claimUntilMs = this.atMs + CLAIM_MS;
  }

  /** Lets the model's claims lapse as time passes. */
  pass(ms: number): void {
    this.atMs += ms;
    for (const modelled of this.live.values()) {
      if (modelled.name === 'claimed' && modelled.claimUntilMs <= this.atMs) {
        modelled.name = 'disconnected';
      }
    }
    this.take(this.core.tick(this.now));
  }

  compareAll(): void {
    for (const id of this.ids) {
      const handle = this.core.table.live(id);
      assert.is(handle?.state.name, this.live.get(id)?.name, id);
      assert.is(handle?.levelLost, this.live.get(id)?.levelLost, id);
      if (handle?.state.name === 'disconnected') {
        assert.ok(handle.state.disconnect.deadlineNs > this.now.monotonicNs, 'expired late');
      }
      if (handle !== undefined) assert.ok(this.stored.has(id), `${id} is not stored`);
      if (this.ended.has(id)) {
        assert.ok(this.core.table.ended(id), `${id} came back`);
        assert.is(this.stored.has(id), this.owed.has(id), `${id} is stored in vain`);
      }
    }
  }
}

const LONGEST_STEP_MS = 60;
const SERVERS = 4;

/** A cookie that nothing will name any more does not stay connected for ever. */
function retire(world: World, id: string): void {
  const holder = world.core.table.live(id)?.record.serverId;
  if (holder === undefined) return;
  world.event(Number(holder.pid), { type: 'close', body: { cookie: id, reason: 'close' } });
}

/** Somebody comes for a file: whoever is in the way ends or loses its level. */
function come(world: World, pid: number): void {
  const ino = 100n + BigInt(world.random(FILES));
  const opener = { serverId: server(pid), clientAddress: '192.0.2.9', dev: 2049n, ino };
  const away = [...world.live].filter(
    ([id, { name }]) => name !== 'connected' && recordOf(id, 1).ino === ino,
  );
  const isWaiting = (modelled: Modelled): boolean => modelled.name === 'disconnected';
  let displaced: Displaced;
  let expected: string[];
  if (world.random(2) === 0) {
    const key = leaseKey(world.random(2));
    const body = { ...opener, clientGuid: CLIENT_GUID, leaseKey: key, createGuid: null };
    displaced = world.core.arrive(world.now, body);
    expected = away
      .filter(([id, modelled]) => isWaiting(modelled) && recordOf(id, 1).leaseKey === key)
      .map(([id]) => id);
  } else {
    const accessMask = world.random(3) === 0 ? 0x80 : 0x81;
    const alive = away.slice(0, 1).map(([id]) => recordOf(id, 1).persistentId);
    displaced = world.core.contend(world.now, { ...opener, accessMask, alive });
    for (const [id, modelled] of away) {
      if (accessMask !== 0x80 && kindOf(id) !== 'durable') modelled.levelLost = true;
    }
    expected = away
      .slice(1)
      .filter(([id, modelled]) => isWaiting(modelled) && kindOf(id) === 'durable')
      .map(([id]) => id);
  }
  const ended = displaced.ended.map(({ id }) => id);
  if (world.isModelled) assert.equal(ended.sort(), expected.sort(), 'who had to give way');
  for (const id of ended) {
    assert.ok(displaced.effects.some((effect) => effect.effect === 'drop' && effect.id === id));
  }
  world.take(displaced.effects);
}

/** One random thing; the model says what it should come to. */
function step(world: World): void {
  if (world.random(8) === 0) return world.pass(world.random(LONGEST_STEP_MS));
  if (world.ids.length < 20 || world.random(40) === 0) {
    world.ids.push(cookie(world.ids.length + world.verdicts * 7 + world.tickets + 1));
    if (world.ids.length > 30) retire(world, world.ids.shift()!);
  }
  const id = world.ids[world.random(world.ids.length)]!;
  const pid = 1 + world.random(SERVERS);
  const modelled = world.live.get(id);
  const isOver = world.ended.has(id);
  switch (world.random(8)) {
    case 0:
    case 1: {
      const type = world.random(2) === 0 ? 'grant' : 'resumed';
      const body = recordOf(id, pid);
      const mayHold =
        modelled === undefined
          ? !isOver
          : modelled.name === 'disconnected' ||
            (modelled.name === 'claimed' && type === 'resumed') ||
            pid === (modelled.name === 'claimed' ? modelled.claimant : modelled.holder);
      if (mayHold) {
        const blank = { claimant: 0, deadlineMs: 0, claimUntilMs: 0, levelLost: false };
        world.live.set(id, { name: 'connected', holder: pid, ...blank });
      }
      return world.event(pid, { type, body });
    }
    case 2: {
      if (modelled !== undefined && modelled.name !== 'claimed' && modelled.holder === pid) {
        modelled.name = 'disconnected';
        modelled.deadlineMs = world.atMs + TIMEOUT_MS;
      }
      const body = { cookie: id, stat: stat(), path: '/srv/data/f', ...world.now };
      return world.event(pid, { type: 'disconnect', body });
    }
    case 3:
    case 4: {
      const ticket = ++world.tickets;
      const share = world.random(10) === 0 ? 'other' : 'data';
      const modified = world.random(10) === 0;
      const sizeBytes = modified ? 1n : 4096n;
      world.unanswered.set(ticket, { id, pid, atMs: world.atMs, modified });
      const file = stat({ sizeBytes, ino: recordOf(id, pid).ino });
      const { monotonicNs: now } = world.now;
      return world.take(
        world.core.claim(world.now, {
          cookie: id,
          serverId: server(pid),
          share,
          clientGuid: CLIENT_GUID,
          stat: file,
          now,
          ticket,
        }),
      );
    }
    case 5: {
      const final = world.random(8) === 0;
      const mayFail = modelled?.name === 'claimed' && modelled.claimant === pid;
      if (!final && mayFail) modelled.name = 'disconnected';
      return world.event(pid, {
        type: 'resumeFailed',
        body: { cookie: id, reason: 'because', final },
      });
    }
    case 6:
      return world.random(2) === 0 ? come(world, pid) : undefined;
    default:
      if (world.random(4) > 0) return;
      return world.event(pid, { type: 'close', body: { cookie: id, reason: 'close' } });
  }
}

test('a million random events leave the table as the model has it', () => {
  const world = new World(20261121, true);
  for (let number = 0; number < STEPS; number++) {
    step(world);
    if (number % 500 === 0) world.compareAll();
  }
  const lastMs = world.atMs;
  while (world.unanswered.size > 0 && world.atMs < lastMs + 1_000) world.pass(LONGEST_STEP_MS);
  world.compareAll();
  assert.is(world.unanswered.size, 0, 'claims were left without an answer');
  const stats = world.core.stats();
  const failures = Object.values(stats.failures).reduce((sum, each) => sum + each, 0);
  assert.is(stats.expiries + stats.closes + stats.supersedes + failures, world.ended.size);
  const { expiries, closes, supersedes, illegal_transitions: illegal } = stats;

  for (const many of [expiries, closes, supersedes, failures, illegal]) {
    assert.ok(many > 1_000, 'the test does not reach everything');
  }
});

/** Lists mostly come to their end. */
function controlEvent(world: World): Effect[] {
  const choice = world.random(100);
  if (choice < 2) return world.core.keeperListStarted(world.now);
  if (choice < 4) return world.core.keeperLost(world.now);
  return choice < 20 ? world.core.keeperListEnd(world.now) : [];
}

test('whatever the keeper reports, no ended handle comes back and no live one is dropped', () => {
  const world = new World(7, false);
  for (let number = 0; number < STEPS / 10; number++) {
    const id = world.ids[world.random(Math.max(1, world.ids.length))] ?? cookie(1);
    const { now } = world;
    switch (world.random(12)) {
      case 0: {
        const state = (['held', 'parked', 'orphaned'] as const)[world.random(3)]!;
        const pid = BigInt(1 + world.random(SERVERS));
        world.take(world.core.keeperEntry(now, keeperEntry(id, state, { pid, since: now })));
        break;
      }
      case 1:
        world.take(world.core.keeperGone(now, id));
        break;
      case 2:
        world.take(controlEvent(world));
        break;
      case 3:
        if (world.random(10) > 0) break;
        world.event(1 + world.random(SERVERS), { type: 'sync', body: { cookies: [id] } });
        break;
      default:
        step(world);
    }
    for (const each of world.ids) {
      if (world.ended.has(each)) {
        assert.is(world.core.table.live(each), undefined, `${each} came back`);
      }
    }
  }
  assert.ok(world.ended.size > 1_000);
});

test.run();
