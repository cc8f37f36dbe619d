// SPDX-License-Identifier: GPL-3.0-or-later
/** Handles that outlive the keeper or the host, in persistd's core. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Core } from '../daemon/src/core/core.js';
import type { Effect } from '../daemon/src/core/effects.js';
import { type Handle, type Moment, NS_PER_MS, type Reopening } from '../daemon/src/core/handle.js';
import type { Remade } from '../daemon/src/core/remaking.js';
import type { HandleRecord } from '../daemon/src/wire/records.js';
import type { SmbdEvent } from '../daemon/src/wire/smbd.js';
import { cookie, handle, keeperEntry, record, server, stat } from './fixtures/handle.js';

const ID = cookie(1);
const [ENODEV, ESTALE, EAGAIN, EEXIST, EIO] = [-19, -116, -11, -17, -5];
const REOPENING: Reopening = {
  openFlags: 2,
  fileHandleType: 1,
  fileHandle: 'ab',
  fileSystem: 'uuid:12-34 ext4 /srv',
};
const LATER: Remade = { made: true, stat: stat({ dev: 7n, sizeBytes: 1n }) };
const test = suite('core: remaking');

class Bench {
  readonly core = new Core();
  #atMs = 1_000_000n;
  #effects: Effect[] = [];

  get now(): Moment {
    return { monotonicNs: this.#atMs * NS_PER_MS, realtimeNs: this.#atMs * NS_PER_MS };
  }

  wait(ms: bigint): void {
    this.#atMs += ms;
    this.did(this.core.tick(this.now));
  }

  did(effects: Effect[]): void {
    this.#effects.push(...effects);
  }

  /** What was to be done since this was asked last, of these kinds. */
  done(...kinds: Effect['effect'][]): string[] {
    const all = this.#effects.filter(({ effect }) => kinds.includes(effect));
    this.#effects = [];
    return all.map(({ effect }) => effect);
  }

  events(...events: SmbdEvent[]): void {
    this.did(this.core.events(this.now, server(1), events));
  }

  grant(changes: Partial<HandleRecord> = {}): void {
    this.events({ type: 'grant', body: record({ durability: 'host', ...changes }) });
  }

  /** Granted, described, and its client gone. */
  away(): void {
    this.grant();
    this.did(this.core.described(this.now, ID, REOPENING));
    this.disconnect();
  }

  disconnect(): void {
    const body = { cookie: ID, stat: stat(), path: '/srv/data/file.txt', ...this.now };
    this.events({ type: 'disconnect', body });
    this.wait(1n);
  }

  /** A keeper that has these. */
  keeper(...ids: string[]): void {
    this.did(this.core.keeperListStarted(this.now));
    for (const id of ids) this.did(this.core.keeperEntry(this.now, keeperEntry(id, 'parked')));
    this.did(this.core.keeperListEnd(this.now, []));
  }

  lost(): void {
    this.did(this.core.keeperLost(this.now));
    this.wait(1n);
  }

  remade(result: Remade): void {
    this.did(this.core.remade(this.now, ID, result));
  }

  get handle(): Handle {
    const found = this.core.table.live(ID) ?? this.core.table.ended(ID);
    if (found === undefined) throw new Error('no such handle');
    return found;
  }
}

test('one that is to outlive the host is described, once; others are not', () => {
  const bench = new Bench();
  bench.grant();
  assert.equal(bench.done('describe'), ['describe']);
  bench.did(bench.core.described(bench.now, ID, REOPENING));
  assert.equal(bench.handle.reopening, REOPENING);
  bench.grant();
  assert.equal(bench.done('describe'), []);
  bench.grant({ durability: 'process' });
  assert.is(bench.handle.reopening, null);
  assert.equal(bench.done('describe'), []);
  // smbd may not have told of all its locks meanwhile
  bench.grant();
  assert.equal(bench.done('describe'), []);
});

test('one that becomes resilient may outlive more than before', () => {
  const bench = new Bench();
  bench.grant({ durability: 'process' });
  bench.grant({ kind: 'resilient' });
  assert.equal(bench.done('describe'), ['describe']);
});

test('a file without a file handle outlives processes only', () => {
  const bench = new Bench();
  bench.grant();
  bench.did(bench.core.described(bench.now, ID, null));
  bench.keeper();
  bench.disconnect();
  bench.did(bench.core.described(bench.now, ID, null));
  bench.keeper();
  assert.is(bench.handle.state.name, 'failed');
});

test('one that outlives processes only is described when its smbd child has given it up', () => {
  const bench = new Bench();
  bench.grant({ durability: 'process' });
  bench.keeper();
  bench.disconnect();
  assert.equal(bench.done('describe'), ['describe']);
  bench.did(bench.core.described(bench.now, ID, REOPENING));
  bench.lost();
  bench.keeper();
  assert.equal(bench.done('remake'), ['remake']);
  bench.remade(LATER);
  assert.ok(bench.handle.remade);
  // smbd has it again: its locks may change before persistd hears of it
  bench.events({ type: 'resumed', body: record({ durability: 'process' }) });
  assert.is(bench.handle.reopening, null);
});

test('what the very keeper lacks that had it was closed by smbd', () => {
  const bench = new Bench();
  bench.grant();
  bench.keeper();
  bench.did(bench.core.keeperListStarted(bench.now, 'one'));
  bench.did(bench.core.keeperListEnd(bench.now));
  bench.disconnect();
  bench.did(bench.core.described(bench.now, ID, REOPENING));
  bench.lost();
  bench.did(bench.core.keeperListStarted(bench.now, 'one'));
  bench.did(bench.core.keeperListEnd(bench.now));
  assert.equal(bench.done('remake'), []);
  assert.is(bench.handle.state.name, 'failed');
});

test('what smbd closed while the keeper described it is watched until its smbd child is dead', () => {
  const bench = new Bench();
  bench.grant();
  bench.did(bench.core.keeperListStarted(bench.now, 'one'));
  bench.did(bench.core.keeperListEnd(bench.now, []));
  // dropped before the keeper had told of it, so that it never does
  bench.did(bench.core.described(bench.now, ID, REOPENING));
  assert.equal(bench.core.unwatchedServers(), [server(1)]);
  bench.did(bench.core.serverDied(bench.now, server(1)));
  assert.is(bench.handle.state.name, 'failed');
});

test('the same, if its smbd child died: not all of its locks may be known', () => {
  const bench = new Bench();
  bench.grant({ durability: 'process' });
  bench.keeper();
  const orphan = { ...keeperEntry(ID, 'orphaned'), since: bench.now };
  bench.did(bench.core.keeperEntry(bench.now, orphan));
  assert.is(bench.handle.state.name, 'disconnected');
  assert.equal(bench.done('describe'), []);
  bench.lost();
  bench.keeper();
  assert.is(bench.handle.state.name, 'failed');
});

test('the same, if its client was back before the keeper answered', () => {
  const bench = new Bench();
  bench.grant({ durability: 'process' });
  bench.keeper();
  bench.disconnect();
  bench.events({ type: 'resumed', body: record({ durability: 'process' }) });
  bench.did(bench.core.described(bench.now, ID, REOPENING));
  assert.is(bench.handle.reopening, null);
});

test('the same, after a boot: what is on disk may be older than what its client knows', () => {
  const bench = new Bench();
  const body = { ...record(), durability: 'process' } as const;
  const disconnect = {
    stat: stat(),
    since: bench.now,
    deadlineNs: bench.now.monotonicNs + NS_PER_MS * 60_000n,
    orphan: false,
  };
  const gone = {
    ...handle(ID),
    record: body,
    reopening: REOPENING,
    state: { name: 'disconnected', disconnect },
  } as const;
  bench.did(bench.core.restore(bench.now, [{ handle: { ...gone }, sameBoot: false }]));
  bench.wait(1n);
  bench.keeper();
  assert.is(bench.handle.state.name, 'failed');
});

test('what a new keeper lacks is made again, and then it is settled', () => {
  const bench = new Bench();
  bench.away();
  bench.keeper(ID);
  assert.equal(bench.done('remake', 'settled'), ['settled']);
  bench.lost();
  bench.keeper();
  assert.equal(bench.done('remake', 'settled'), ['remake']);
  assert.ok(bench.core.isBeingRemade(bench.handle));
  bench.remade(LATER);
  assert.equal(bench.done('settled'), ['settled']);
  const { remade, retained, importedIn, state } = bench.handle;
  assert.equal([remade, retained, importedIn], [true, true, null]);
  assert.is(bench.handle.record.dev, 7n);
  assert.equal([...bench.core.table.onFile(7n, 100n)], [bench.handle]);
  // what the file was like when its client went is what counts
  assert.ok(state.name === 'disconnected' && state.disconnect.stat?.sizeBytes === 4096n);
  assert.is(bench.core.stats().remakes, 1);
});

for (const [status, reason] of [
  [ESTALE, 'file-gone'],
  [EAGAIN, 'locked-by-others'],
  [EIO, 'descriptor-lost'],
] as const) {
  test(`one that cannot be made again ends alone: ${reason}`, () => {
    const bench = new Bench();
    bench.away();
    bench.keeper();
    bench.done();
    bench.remade({ made: false, status });
    const { state } = bench.handle;
    assert.ok(state.name === 'failed' && state.reason === reason);
    // whatever the keeper has of it goes
    assert.equal(bench.done('drop', 'settled'), ['drop', 'settled']);
    assert.is(bench.core.stats().failures[reason], 1);
  });
}

test('one whose file system is not mounted waits for it, until its deadline', () => {
  const bench = new Bench();
  bench.away();
  bench.keeper();
  bench.remade({ made: false, status: ENODEV });
  // nobody waits for it
  assert.equal(bench.done('settled'), ['settled']);
  assert.not(bench.core.isBeingRemade(bench.handle));
  bench.did(bench.core.mounted(bench.now));
  assert.equal(bench.done('remake'), ['remake']);
  bench.remade({ made: false, status: ENODEV });
  bench.wait(60_000n);
  assert.is(bench.handle.state.name, 'expired');
  bench.did(bench.core.mounted(bench.now));
  assert.equal(bench.done('remake'), []);
});

test('one that the keeper has after all stays', () => {
  const bench = new Bench();
  bench.away();
  bench.keeper();
  bench.remade({ made: false, status: EEXIST });
  assert.is(bench.handle.state.name, 'disconnected');
});

test('a keeper that dies meanwhile is forgotten, and the next one is asked', () => {
  const bench = new Bench();
  bench.away();
  bench.keeper();
  bench.lost();
  bench.remade({ made: false, status: ESTALE });
  assert.is(bench.handle.state.name, 'disconnected');
  bench.done();
  bench.keeper();
  assert.equal(bench.done('remake'), ['remake']);
});

test('one that ends while it is made again is dropped', () => {
  const bench = new Bench();
  bench.away();
  bench.keeper();
  bench.done();
  bench.wait(60_000n);
  assert.equal(bench.done('drop'), ['drop']);
  bench.remade(LATER);
  assert.is(bench.handle.state.name, 'expired');
});

test('it is not imported before it is made', () => {
  const bench = new Bench();
  const wanted = {
    serverId: server(2),
    recordsEpoch: '11'.repeat(16),
    clientGuid: '22'.repeat(16),
    share: 'data',
    dev: 0n,
    ino: 0n,
    round: 0n,
  };
  const imported = () => bench.core.import(bench.now, wanted).imports.handles.length;
  bench.away();
  bench.keeper();
  assert.is(imported(), 0);
  bench.did(
    bench.core.events(bench.now, server(2), [
      { type: 'importFailed', body: { cookie: ID, reason: 'descriptor-lost' } },
    ]),
  );
  assert.is(bench.handle.state.name, 'disconnected');
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'orphaned')));
  bench.remade(LATER);
  assert.is(imported(), 1);
});

test('a connected one whose smbd child died with the keeper is made again', () => {
  const bench = new Bench();
  bench.grant();
  bench.did(bench.core.described(bench.now, ID, REOPENING));
  bench.did(bench.core.keeperListStarted(bench.now));
  bench.did(bench.core.keeperListEnd(bench.now, [server(1)]));
  assert.equal(bench.done('remake'), ['remake']);
  bench.remade(LATER);
  const { state } = bench.handle;
  assert.ok(state.name === 'disconnected' && state.disconnect.orphan);
  // nobody saw the file when the client went
  assert.ok(state.name === 'disconnected' && state.disconnect.stat?.sizeBytes === 1n);
});

test('a connected one whose smbd child lives waits for it', () => {
  const bench = new Bench();
  bench.grant();
  bench.did(bench.core.described(bench.now, ID, REOPENING));
  bench.did(bench.core.keeperListStarted(bench.now));
  bench.did(bench.core.keeperListEnd(bench.now, []));
  assert.equal(bench.done('remake'), []);
  bench.did(bench.core.serverDied(bench.now, server(1)));
  assert.equal(bench.done('remake'), ['remake']);
});

test('after a boot a connected one is away, another one has failed', () => {
  const bench = new Bench();
  const host = { ...handle(ID), record: record({ durability: 'host' }), reopening: REOPENING };
  const other = handle(cookie(2));
  const both = [host, other].map((each) => ({ handle: each, sameBoot: false }));
  bench.did(bench.core.restore(bench.now, both));
  assert.is(bench.handle.state.name, 'disconnected');
  assert.is(bench.core.table.ended(other.id)?.state.name, 'failed');
  bench.wait(1n);
  bench.keeper();
  assert.equal(bench.done('remake'), ['remake']);
  bench.wait(60_000n);
  assert.is(bench.handle.state.name, 'expired');
});

test.run();
