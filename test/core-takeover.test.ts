// SPDX-License-Identifier: GPL-3.0-or-later
// AppInstanceId in persistd's core: whose opens are taken, and when that is said.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Core } from '../daemon/src/core/core.js';
import type { Effect } from '../daemon/src/core/effects.js';
import { type Moment, NS_PER_MS } from '../daemon/src/core/handle.js';
import type { AppInstance, HandleRecord } from '../daemon/src/wire/records.js';
import type { SmbdEvent, TakeoverAnswer, TakeoverBody } from '../daemon/src/wire/smbd.js';
import { CLIENT_GUID, cookie, keeperEntry, record, server, stat } from './fixtures/handle.js';

const ID = cookie(1);
const APP = 'ab'.repeat(16);
const OTHER = 'ee'.repeat(16);
const HOLDER = { cookie: ID, serverId: server(1) };
const NOTHING: TakeoverAnswer = { refused: false, ended: [], holders: [] };

const version = (high: number, low: number) => ({ high: BigInt(high), low: BigInt(low) });
const app = (of: AppInstance['version'] = null): AppInstance => ({ id: APP, version: of });

class Bench {
  readonly core = new Core();
  readonly effects: Effect[] = [];
  atMs = 1_000_000n;

  get now(): Moment {
    return { monotonicNs: this.atMs * NS_PER_MS, realtimeNs: this.atMs * NS_PER_MS };
  }

  did(effects: Effect[]): TakeoverAnswer | null {
    this.effects.push(...effects);
    for (const effect of effects) if (effect.effect === 'takenOver') return effect.answer;
    return null;
  }

  event(pid: number, event: SmbdEvent): TakeoverAnswer | null {
    return this.did(this.core.events(this.now, server(pid), [event]));
  }

  grant(changes: Partial<HandleRecord> = {}): void {
    this.event(1, { type: 'grant', body: record({ appInstance: app(), ...changes }) });
  }

  disconnect(pid = 1): TakeoverAnswer | null {
    const body = { cookie: ID, stat: stat(), path: '/srv/data/file.txt', ...this.now };
    return this.event(pid, { type: 'disconnect', body });
  }

  claim(): void {
    const claim = { cookie: ID, serverId: server(2), share: 'data', clientGuid: CLIENT_GUID };
    const { monotonicNs: now } = this.now;
    this.did(this.core.claim(this.now, { ...claim, stat: stat(), now, ticket: 2 }));
  }

  close(pid = 1, reason = 'app instance'): TakeoverAnswer | null {
    return this.event(pid, { type: 'close', body: { cookie: ID, reason } });
  }

  take(changes: Partial<TakeoverBody> = {}): TakeoverAnswer | null {
    const body: TakeoverBody = {
      serverId: server(9),
      clientAddress: '192.0.2.9',
      clientGuid: OTHER,
      share: 'data',
      dev: 2049n,
      ino: 100n,
      appInstance: app(),
      mayClose: true,
      waitMs: 0,
      ...changes,
    };
    return this.did(this.core.takeover(this.now, { ...body, ticket: 9 }));
  }

  wait(ms: bigint): TakeoverAnswer | null {
    this.atMs += ms;
    return this.did(this.core.tick(this.now));
  }

  end(): unknown {
    const state = this.core.table.ended(ID)?.state;
    return state && 'reason' in state ? [state.name, state.reason] : undefined;
  }

  dropped(): boolean {
    return this.effects.some((effect) => effect.effect === 'drop' && effect.id === ID);
  }
}

for (const kind of ['durable', 'resilient', 'persistent'] as const) {
  test(`a ${kind} handle that is away ends before the answer`, () => {
    const bench = new Bench();
    bench.grant({ kind });
    bench.disconnect();
    assert.equal(bench.take(), { ...NOTHING, ended: [1n] });
    assert.equal(bench.end(), ['superseded', 'app instance']);
    assert.ok(bench.dropped());
  });
}

for (const kind of ['durable', 'resilient', 'persistent', 'plain'] as const) {
  test(`of a ${kind} open that is connected, its holder is told, and its end`, () => {
    const bench = new Bench();
    bench.grant({ kind });
    assert.equal(bench.take(), { ...NOTHING, holders: [HOLDER] });
    assert.is(bench.take({ waitMs: 100 }), null);
    assert.is(bench.wait(50n), null);
    assert.equal(bench.close(), NOTHING);
    assert.equal(bench.end(), ['superseded', 'app instance']);
    assert.is(bench.wait(100n), null, 'it is answered once');
  });
}

test('a holder that does not close in time is named again', () => {
  const bench = new Bench();
  bench.grant();
  assert.is(bench.take({ waitMs: 100 }), null);
  assert.is(bench.wait(99n), null);
  assert.equal(bench.wait(1n), { ...NOTHING, holders: [HOLDER] });
  assert.is(bench.close(), null);
});

test('a handle whose client drops meanwhile ends at once', () => {
  const bench = new Bench();
  bench.grant();
  assert.is(bench.take({ waitMs: 100 }), null);
  assert.equal(bench.disconnect(), { ...NOTHING, ended: [1n] });
  assert.ok(bench.dropped());
});

test('a handle that is being resumed is closed by the one who resumes it', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.claim();
  const holders = [{ cookie: ID, serverId: server(2) }];
  assert.equal(bench.take(), { ...NOTHING, holders });
  assert.is(bench.take({ waitMs: 100 }), null);
  const again = record({ appInstance: app(), serverId: server(2) });
  assert.is(bench.event(2, { type: 'resumed', body: again }), null);
  assert.equal(bench.close(2), NOTHING);
});

test('a resume that comes to nothing lets the handle end', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.claim();
  assert.is(bench.take({ waitMs: 100 }), null);
  const body = { cookie: ID, reason: 'file', final: false };
  assert.equal(bench.event(2, { type: 'resumeFailed', body }), { ...NOTHING, ended: [1n] });
});

test('a handle of which only the keeper knows that it is away ends', () => {
  const bench = new Bench();
  bench.did(bench.core.keeperListStarted(bench.now));
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'held')));
  bench.did(bench.core.keeperListEnd(bench.now));
  bench.grant();
  const parked = keeperEntry(ID, 'parked', { since: bench.now });
  bench.did(bench.core.keeperEntry(bench.now, parked));
  assert.equal(bench.take(), { ...NOTHING, ended: [1n] });
});

for (const [what, changes] of [
  ['the same client', { clientGuid: CLIENT_GUID }],
  ['another share', { share: 'other' }],
  ['another file', { ino: 101n }],
  ['another instance', { appInstance: { id: OTHER, version: null } }],
  ['who may not read the file', { mayClose: false }],
] as const) {
  test(`${what} takes nothing`, () => {
    for (const away of [false, true]) {
      const bench = new Bench();
      bench.grant();
      if (away) bench.disconnect();
      assert.equal(bench.take(changes), NOTHING);
      assert.is(bench.end(), undefined);
    }
  });
}

test('an open without an AppInstanceId is not taken', () => {
  const bench = new Bench();
  bench.grant({ appInstance: null });
  bench.disconnect();
  assert.equal(bench.take(), NOTHING);
});

for (const [open, comes, refused] of [
  [version(1, 5), version(2, 0), false],
  [version(1, 5), version(1, 6), false],
  [version(1, 5), version(1, 5), true],
  [version(1, 5), version(1, 4), true],
  [version(2, 0), version(1, 9), true],
  [version(0, 0), null, true],
  [null, version(0, 0), false],
  [null, null, false],
] as const) {
  const text = (of: AppInstance['version']) => (of === null ? 'none' : `${of.high}.${of.low}`);
  test(`version ${text(open)} and then ${text(comes)}: ${refused ? 'refused' : 'taken'}`, () => {
    const bench = new Bench();
    bench.grant({ appInstance: app(open) });
    bench.disconnect();
    const changes = { appInstance: app(comes), mayClose: !refused };
    const answer = { ...NOTHING, refused, ended: refused ? [] : [1n] };
    assert.equal(bench.take(changes), answer, 'the version counts, whatever may be read');
    assert.is(bench.end() === undefined, refused);
  });
}

test('a newer open by the same client does not refuse it', () => {
  const bench = new Bench();
  bench.grant({ appInstance: app(version(9, 0)), clientGuid: OTHER });
  assert.equal(bench.take({ appInstance: app(version(1, 0)) }), NOTHING);
});

test('all opens of the instance on the file are taken', () => {
  const bench = new Bench();
  bench.grant({ cookie: cookie(2), persistentId: 2n });
  bench.grant();
  bench.disconnect();
  const holders = [{ cookie: cookie(2), serverId: server(1) }];
  assert.equal(bench.take(), { ...NOTHING, ended: [1n], holders });
});

test.run();
