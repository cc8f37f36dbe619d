// SPDX-License-Identifier: GPL-3.0-or-later
/** Which handles are watched, and what ends them (daemon/src/core/local-access.ts). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Core } from '../daemon/src/core/core.js';
import type { Effect } from '../daemon/src/core/effects.js';
import { type Moment, NS_PER_MS } from '../daemon/src/core/handle.js';
import type { Touch } from '../daemon/src/core/local-access.js';
import type { HandleRecord } from '../daemon/src/wire/records.js';
import { CLIENT_GUID, cookie, keeperEntry, record, server, stat } from './fixtures/handle.js';

const ID = cookie(1);
const VIM: Touch = { id: ID, how: 'opened', pid: 4711, process: 'vim' };

class Bench {
  readonly core = new Core();
  atMs = 1_000_000n;

  get now(): Moment {
    return { monotonicNs: this.atMs * NS_PER_MS, realtimeNs: this.atMs * NS_PER_MS };
  }

  keeperIsBack(...entries: Parameters<typeof keeperEntry>[]): Effect[] {
    const effects = this.core.keeperListStarted(this.now);
    for (const entry of entries) {
      effects.push(...this.core.keeperEntry(this.now, keeperEntry(...entry)));
    }
    return [...effects, ...this.core.keeperListEnd(this.now)];
  }

  grant(changes: Partial<HandleRecord> = {}): void {
    this.core.events(this.now, server(1), [{ type: 'grant', body: record(changes) }]);
  }

  disconnect(): Effect[] {
    const body = { cookie: ID, stat: stat(), path: '/srv/data/file.txt', ...this.now };
    return this.core.events(this.now, server(1), [{ type: 'disconnect', body }]);
  }

  park(state: 'held' | 'parked' | 'orphaned' = 'parked'): Effect[] {
    return this.core.keeperEntry(this.now, keeperEntry(ID, state, { since: this.now }));
  }

  claim(): Effect[] {
    return this.core.claim(this.now, {
      cookie: ID,
      serverId: server(2),
      share: 'data',
      clientGuid: CLIENT_GUID,
      stat: stat(),
      now: this.now.monotonicNs,
      ticket: 1,
    });
  }

  touched(touch: Touch = VIM): Effect[] {
    return this.core.touched(this.now, touch);
  }

  wait(ms: bigint): Effect[] {
    this.atMs += ms;
    return this.core.tick(this.now);
  }

  /** How it ended: [state, reason]. */
  ended(): [string, string] | null {
    const state = this.core.table.ended(ID)?.state;
    return state !== undefined && 'reason' in state ? [state.name, state.reason] : null;
  }
}

/** A handle that is away, with the effects of its going. */
function away(changes: Partial<HandleRecord> = {}) {
  const bench = new Bench();
  bench.keeperIsBack();
  bench.grant(changes);
  const effects = [...bench.park(), ...bench.disconnect()];
  return { bench, effects };
}

function watches(effects: readonly Effect[]): number {
  return effects.filter(({ effect }) => effect === 'watch').length;
}

function sinceOf(effects: readonly Effect[]): bigint {
  const [watch] = effects.filter((one) => one.effect === 'watch');
  return watch?.sinceNs ?? 0n;
}

for (const [kind, localAccess, watched] of [
  ['durable', null, 1],
  ['durable', 'keep', 0],
  ['resilient', null, 0],
  ['resilient', 'yield', 1],
  ['persistent', null, 0],
  ['persistent', 'yield', 1],
] as const) {
  test(`${kind}, local access = ${localAccess}: ${watched} watch`, () => {
    const { bench, effects } = away({ kind, localAccess });
    assert.is(watches(effects), watched);
    const touched = bench.touched();
    assert.is(
      touched.some(({ effect }) => effect === 'drop'),
      watched === 1,
    );
  });
}

test('the watch waits for both, whichever comes last, and is asked for once', () => {
  const bench = new Bench();
  bench.keeperIsBack();
  bench.grant();
  assert.is(watches(bench.park('held')), 0);
  assert.is(watches(bench.disconnect()), 0);
  assert.is(watches(bench.park()), 1);
  assert.is(watches([...bench.disconnect(), ...bench.park()]), 0);
});

test('a disconnect that only the keeper saw is watched, too', () => {
  const bench = new Bench();
  bench.keeperIsBack();
  bench.grant();
  assert.is(watches(bench.park()), 0);
  assert.is(watches(bench.wait(1_000n)), 1);
});

test('a keeper or persistd that is back is asked anew', () => {
  const { bench } = away();
  bench.core.keeperLost(bench.now);
  assert.is(watches(bench.keeperIsBack([ID, 'parked'])), 1);
});

test('who opens it for writing ends it, and is named', () => {
  const { bench } = away();
  const effects = bench.touched();
  assert.equal(bench.ended(), ['superseded', 'opened for writing by local process 4711 (vim)']);
  const published = effects.flatMap((one) => (one.effect === 'publish' ? [one.event] : []));
  assert.is(published[0]?.event, 'supersede');
  assert.match(published[0]?.reason ?? '', '4711 (vim)');
});

test('as much is said as is known', () => {
  for (const [pid, process, said] of [
    [4711, '', 'modified by local process 4711'],
    [0, '', 'modified'],
  ] as const) {
    const { bench } = away();
    bench.touched({ id: ID, how: 'modified', pid, process });
    assert.equal(bench.ended(), ['superseded', said]);
  }
});

test('what changed before the watch began is seen by its stat', () => {
  for (const [changes, ended] of [
    [{}, null],
    [{ ctimeNs: 9n }, null],
    [{ sizeBytes: 1n }, ['superseded', 'modified']],
    [{ mtimeNs: 1n }, ['superseded', 'modified']],
  ] as const) {
    const { bench, effects } = away();
    bench.core.watched(bench.now, ID, sinceOf(effects), stat(changes));
    assert.equal(bench.ended(), ended);
  }
});

const THEN = stat().mtimeNs;

/** smbd sets the file's modification time on behalf of another client. */
function setTime(bench: Bench, fromNs: bigint, toNs: bigint): void {
  const { dev, ino } = record();
  bench.core.events(bench.now, server(3), [
    { type: 'writeTime', body: { dev, ino, fromNs, toNs } },
  ]);
}

test('a write time that smbd sets is no change, whenever the file is looked at', () => {
  for (const mtimeNs of [THEN, 1n, 2n]) {
    const { bench, effects } = away();
    setTime(bench, THEN, 1n);
    setTime(bench, 1n, 2n);
    bench.core.watched(bench.now, ID, sinceOf(effects), stat({ mtimeNs }));
    assert.is(bench.ended(), null);
  }
});

test('one that smbd set before the disconnect was told is none either', () => {
  const bench = new Bench();
  bench.keeperIsBack();
  bench.grant();
  setTime(bench, THEN, 1n);
  const effects = [...bench.park(), ...bench.disconnect()];
  bench.core.watched(bench.now, ID, sinceOf(effects), stat({ mtimeNs: 1n }));
  assert.is(bench.ended(), null);
});

test('what somebody else changed meanwhile is one', () => {
  for (const now of [{ mtimeNs: 2n }, { mtimeNs: 3n, sizeBytes: 1n }, { mtimeNs: 9n }]) {
    const { bench, effects } = away();
    setTime(bench, 2n, 3n);
    bench.core.watched(bench.now, ID, sinceOf(effects), stat(now));
    assert.equal(bench.ended(), ['superseded', 'modified']);
  }
});

test('a write time is stored, so that another persistd knows it', () => {
  const { bench } = away();
  setTime(bench, THEN, 1n);
  const { state } = bench.core.table.live(ID) ?? {};
  assert.is(state?.name === 'disconnected' && state.disconnect.stat?.mtimeNs, 1n);
});

test('the answer to a watch of an earlier disconnect is not taken for this one', () => {
  const { bench, effects } = away();
  const since = sinceOf(effects);
  bench.core.events(bench.now, server(2), [
    { type: 'resumed', body: record({ serverId: server(1) }) },
  ]);
  bench.atMs += 10n;
  assert.is(watches(bench.disconnect()), 1);
  const again = bench.core.watched(bench.now, ID, since, stat({ sizeBytes: 1n }));
  assert.is(bench.ended(), null);
  assert.is(watches(again), 1);
});

test('a handle that is being resumed is not ended, but loses its level', () => {
  const { bench } = away();
  bench.claim();
  bench.touched();
  assert.is(bench.core.table.live(ID)?.state.name, 'claimed');
  assert.is(bench.core.table.live(ID)?.levelLost, true);
  assert.is(watches(bench.wait(2_000n)), 1, 'it lapsed, and the keeper will tell again');
  bench.touched();
  assert.is(bench.ended()?.[0], 'superseded');
});

test('a connected handle and one that is unknown are left alone', () => {
  const bench = new Bench();
  bench.grant();
  assert.equal(bench.touched(), []);
  assert.equal(bench.touched({ ...VIM, id: cookie(2) }), []);
});

test.run();
