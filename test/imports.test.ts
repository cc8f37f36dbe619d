// SPDX-License-Identifier: GPL-3.0-or-later
/** What smbd is told to take into its records after it died. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Core } from '../daemon/src/core/core.js';
import type { Effect } from '../daemon/src/core/effects.js';
import type { Moment } from '../daemon/src/core/handle.js';
import type { KeeperEntry } from '../daemon/src/core/keeper-view.js';
import type { HandleRecord } from '../daemon/src/wire/records.js';
import type { ImportBody, SmbdEvent } from '../daemon/src/wire/smbd.js';
import {
  CLIENT_GUID,
  cookie,
  EPOCH,
  keeperEntry,
  record,
  server,
  stat,
} from './fixtures/handle.js';

const NEW_EPOCH = 'dd'.repeat(16);
const RWH = 7;
const RH = 3;

class Bench {
  readonly core = new Core();
  now: Moment = { monotonicNs: 10n ** 15n, realtimeNs: 10n ** 18n };

  constructor() {
    this.core.keeperListStarted(this.now);
    this.core.keeperListEnd(this.now);
  }

  events(...events: SmbdEvent[]): void {
    this.core.events(this.now, server(1), events);
  }

  hold(number: number, changes: Partial<HandleRecord> = {}): string {
    const id = cookie(number);
    const persistentId = BigInt(number);
    this.events({ type: 'grant', body: record({ cookie: id, persistentId, ...changes }) });
    this.keeper(id, 'held');
    return id;
  }

  keeper(id: string, state: KeeperEntry['state']): void {
    const entry = keeperEntry(id, state, { since: this.now });
    this.core.keeperEntry(this.now, entry);
  }

  disconnect(id: string): void {
    const body = { cookie: id, stat: stat(), path: '/srv/data/file.txt', ...this.now };
    this.events({ type: 'disconnect', body });
    this.keeper(id, 'parked');
  }

  import(changes: Partial<ImportBody> = {}) {
    return this.core.import(this.now, {
      serverId: server(9),
      recordsEpoch: EPOCH,
      clientGuid: '77'.repeat(16),
      share: 'data',
      dev: 0n,
      ino: 0n,
      round: 0n,
      ...changes,
    }).imports;
  }

  imported(changes: Partial<ImportBody> = {}): string[] {
    return this.import(changes).handles.map(({ record: { cookie: id } }) => id);
  }

  claim(id: string): void {
    const serverId = server(2);
    const { clientGuid, share } = record();
    const question = { cookie: id, serverId, share, clientGuid, stat: stat() };
    this.core.claim(this.now, { ...question, now: this.now.monotonicNs, ticket: 1 });
  }

  state(id: string): string | undefined {
    const { table } = this.core;
    return (table.live(id) ?? table.ended(id))?.state.name;
  }
}

test('what is connected needs no import, what has gone is looked at once', () => {
  const bench = new Bench();
  bench.hold(1);
  const id = bench.hold(2);
  bench.disconnect(id);
  assert.equal(bench.imported(), [id]);
  bench.events({ type: 'imported', body: { cookie: id, recordsEpoch: EPOCH } });
  assert.equal(bench.imported(), []);
});

test('its own client looks at what it comes back to, once for each smbd child', () => {
  const bench = new Bench();
  const id = bench.hold(1);
  bench.disconnect(id);
  const body = { cookie: id, recordsEpoch: EPOCH };
  bench.events({ type: 'imported', body });
  assert.equal(bench.imported(), []);
  assert.equal(bench.imported({ clientGuid: CLIENT_GUID }), [id]);
  assert.equal(bench.imported({ clientGuid: CLIENT_GUID, serverId: server(1) }), []);
});

test('one whose claimant died is imported, and may be claimed again', () => {
  const bench = new Bench();
  const id = bench.hold(1);
  bench.disconnect(id);
  bench.claim(id);
  assert.is(bench.state(id), 'claimed');
  assert.equal(bench.imported(), [id]);
  bench.events({ type: 'imported', body: { cookie: id, recordsEpoch: EPOCH } });
  assert.is(bench.state(id), 'disconnected');
});

test('one with more locks than fit into a message ends, and hinders no other', () => {
  const bench = new Bench();
  const [many, few] = [bench.hold(1), bench.hold(2)];
  const locks = Array.from({ length: 8193 }, (_, start) => ({
    type: 'lock' as const,
    body: { cookie: many, start: BigInt(start), count: 1n, exclusive: true, note: null },
  }));
  bench.events(...locks);
  for (const id of [many, few]) bench.keeper(id, 'orphaned');
  assert.equal(bench.imported(), [few]);
  assert.is(bench.state(many), 'failed');
});

test('a batch oplock beside another open is one no more', () => {
  const bench = new Bench();
  const oplock = { leaseKey: null, oplock: 0x09, leaseState: 0 };
  const alone = bench.hold(1, { ...oplock, ino: 5n });
  const [one, two] = [bench.hold(2, oplock), bench.hold(3, { ...oplock, kind: 'resilient' })];
  for (const id of [alone, one, two]) bench.keeper(id, 'orphaned');
  const levels = bench.import().handles.map(({ record: { oplock: level } }) => level);
  assert.equal(levels, [0x09, 0x01, 0x01]);
});

test('an orphan is imported once, by share or by file', () => {
  const bench = new Bench();
  const id = bench.hold(1);
  bench.keeper(id, 'orphaned');
  assert.equal(bench.imported(), [id]);
  assert.equal(bench.imported({ share: 'other' }), []);
  assert.equal(bench.imported({ share: null, dev: 2049n, ino: 100n }), [id]);
  assert.equal(bench.imported({ share: null, dev: 2049n, ino: 101n }), []);
  bench.events({ type: 'imported', body: { cookie: id, recordsEpoch: EPOCH } });
  assert.equal(bench.imported(), []);
});

test('after smbd wiped its databases all that is away is imported', () => {
  const bench = new Bench();
  const id = bench.hold(1);
  bench.disconnect(id);
  assert.equal(bench.imported({ recordsEpoch: NEW_EPOCH }), [id]);
});

test('one whose child died between parking it and saying so is imported', () => {
  const bench = new Bench();
  const id = bench.hold(1);
  bench.keeper(id, 'parked');
  assert.equal(bench.imported(), [id]);
  assert.is(bench.state(id), 'disconnected');
});

test('locks go with it, and whether it is to be protected', () => {
  const bench = new Bench();
  const id = bench.hold(1, { kind: 'resilient' });
  const lock = { start: 1n, count: 2n, exclusive: true };
  bench.events({ type: 'lock', body: { cookie: id, ...lock, note: null } });
  bench.keeper(id, 'orphaned');
  const [handle] = bench.import().handles;
  assert.equal(handle?.locks, [lock]);
  assert.ok(handle?.protected);
});

test('no more than 64 at once, and then the rest', () => {
  const bench = new Bench();
  for (let number = 1; number <= 65; number++) bench.keeper(bench.hold(number), 'orphaned');
  const { more, handles } = bench.import();
  assert.ok(more);
  for (const { record: imported } of handles) {
    bench.events({
      type: 'imported',
      body: { cookie: imported.cookie, recordsEpoch: EPOCH },
    });
  }
  assert.is(handles.length, 64);
  assert.equal(bench.imported(), [cookie(65)]);
  assert.not.ok(bench.import().more);
});

test('a round goes on where it stopped, and looks at all once more at its end', () => {
  const bench = new Bench();
  const ids = Array.from({ length: 130 }, (_, number) => bench.hold(number + 1));
  for (const id of ids) bench.keeper(id, 'orphaned');
  const told = [1, 2, 3].map(() => bench.import({ round: 5n }));
  assert.equal(
    told.map(({ more, handles }) => [more, handles.length]),
    [
      [true, 64],
      [true, 64],
      [true, 2],
    ],
  );
  const all = told.flatMap(({ handles }) => handles.map(({ record: { cookie: id } }) => id));
  assert.equal(all, ids);
  assert.equal(bench.import({ round: 5n }), { more: false, handles: [] });
  assert.is(bench.imported({ round: 6n }).length, 64, 'what a child has given up');
});

test('what one smbd child is at, others are not told of for a while', () => {
  const bench = new Bench();
  const ids = Array.from({ length: 70 }, (_, number) => bench.hold(number + 1));
  for (const id of ids) bench.keeper(id, 'orphaned');
  const [one, other] = [
    { serverId: server(1), round: 5n },
    { serverId: server(2), round: 5n },
  ];
  assert.equal(bench.imported(one), ids.slice(0, 64));
  assert.equal(bench.imported(other), ids.slice(64));
  assert.equal(bench.import(other), { more: true, handles: [] });
  for (const id of ids.slice(0, 64)) {
    bench.events({ type: 'imported', body: { cookie: id, recordsEpoch: EPOCH } });
  }
  assert.equal(bench.import(other), { more: false, handles: [] });
  bench.now = { ...bench.now, monotonicNs: bench.now.monotonicNs + 10n ** 9n };
  assert.equal(bench.imported(one), ids.slice(64));
});

test('what an smbd child was at when it died, the next one is told of at once', () => {
  const bench = new Bench();
  const id = bench.hold(1);
  bench.keeper(id, 'orphaned');
  assert.equal(bench.imported({ serverId: server(1) }), [id]);
  assert.equal(bench.core.importers(bench.now), [server(1)]);
  bench.core.importerDied(server(1));
  assert.equal(bench.imported({ serverId: server(2) }), [id]);
});

test('of many that were imported, people are told of some at once and of the others soon', () => {
  const bench = new Bench();
  const ids = Array.from({ length: 100 }, (_, number) => bench.hold(number + 1));
  for (const id of ids) bench.keeper(id, 'orphaned');
  const done = ids.map((id) => ({
    type: 'imported' as const,
    body: { cookie: id, recordsEpoch: EPOCH },
  }));
  const told = (effects: readonly Effect[]) =>
    effects.filter(({ effect }) => effect === 'publish').length;
  assert.is(told(bench.core.events(bench.now, server(1), done)), 64);
  assert.equal(bench.imported(), []);
  bench.now = { ...bench.now, monotonicNs: bench.now.monotonicNs + 10n ** 9n };
  assert.is(told(bench.core.tick(bench.now)), 36);
});

test('two clients that both had write caching have it no more', () => {
  const bench = new Bench();
  const alone = bench.hold(1, { ino: 5n });
  const one = bench.hold(2);
  const two = bench.hold(3, { clientGuid: '99'.repeat(16) });
  const sameClient = bench.hold(4, { ino: 6n });
  const itsOther = bench.hold(5, { ino: 6n });
  for (const id of [alone, one, two, sameClient, itsOther]) bench.keeper(id, 'orphaned');
  const states = bench.import().handles.map(({ record: { leaseState } }) => leaseState);
  assert.equal(states, [RWH, RH, RH, RWH, RWH]);
});

test('a handle that cannot be imported has ended', () => {
  const bench = new Bench();
  const [lost, taken] = [bench.hold(1), bench.hold(2)];
  for (const id of [lost, taken]) bench.keeper(id, 'orphaned');
  bench.events(
    { type: 'importFailed', body: { cookie: lost, reason: 'descriptor-lost' } },
    { type: 'importFailed', body: { cookie: taken, reason: 'superseded' } },
  );
  assert.equal([bench.state(lost), bench.state(taken)], ['failed', 'superseded']);
});

test.run();
