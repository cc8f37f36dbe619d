// SPDX-License-Identifier: GPL-3.0-or-later

import { type Context, suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AdminError } from '../daemon/src/core/admin.js';
import { Core } from '../daemon/src/core/core.js';
import type { Effect } from '../daemon/src/core/effects.js';
import { type Moment, NS_PER_MS } from '../daemon/src/core/handle.js';
import { DEFAULT_POLICY } from '../daemon/src/core/policy.js';
import { handleView } from '../daemon/src/core/view.js';
import type { HandleView } from '../daemon/src/shared/handle-view.js';
import type { FileStat, HandleRecord } from '../daemon/src/wire/records.js';
import type { ArriveBody, ContendBody, SmbdEvent, Verdict } from '../daemon/src/wire/smbd.js';
import { CLIENT_GUID, cookie, keeperEntry, record, server, stat } from './fixtures/handle.js';

const ID = cookie(1);
const SECOND = 1_000n;

/** A core with its own time; remembers every effect. */
class Bench {
  readonly core: Core;
  readonly effects: Effect[] = [];
  atMs = 1_000_000n;

  constructor(policy = DEFAULT_POLICY) {
    this.core = new Core(policy);
  }

  get now(): Moment {
    return {
      monotonicNs: this.atMs * NS_PER_MS,
      realtimeNs: (1_763_715_600_000n + this.atMs) * NS_PER_MS,
    };
  }

  did(effects: Effect[]): Effect[] {
    this.effects.push(...effects);
    return effects;
  }

  events(pid: number, ...events: SmbdEvent[]): Effect[] {
    return this.did(this.core.events(this.now, server(pid), events));
  }

  wait(ms: bigint): Effect[] {
    this.atMs += ms;
    return this.did(this.core.tick(this.now));
  }

  grant(changes: Partial<HandleRecord> = {}): void {
    const granted = record(changes);
    this.events(Number(granted.serverId.pid), { type: 'grant', body: granted });
  }

  disconnect(pid = 1, id = ID, changes: Partial<FileStat> = {}): void {
    this.events(pid, {
      type: 'disconnect',
      body: { cookie: id, stat: stat(changes), path: '/srv/data/file.txt', ...this.now },
    });
  }

  claim(
    changes: Partial<{ pid: number; share: string; clientGuid: string; stat: FileStat }> = {},
  ): Verdict | null {
    const { pid = 2, share = 'data', clientGuid = CLIENT_GUID, stat: file = stat() } = changes;
    const { monotonicNs } = this.now;
    const effects = this.did(
      this.core.claim(this.now, {
        cookie: ID,
        serverId: server(pid),
        share,
        clientGuid,
        stat: file,
        now: monotonicNs,
        ticket: pid,
      }),
    );
    return verdictIn(effects);
  }

  resumed(pid: number, changes: Partial<HandleRecord> = {}): void {
    this.events(pid, { type: 'resumed', body: record({ serverId: server(pid), ...changes }) });
  }

  /** The ids of those that ended. */
  arrive(changes: Partial<ArriveBody> = {}): string[] {
    const body: ArriveBody = {
      ...opener(9),
      clientGuid: CLIENT_GUID,
      leaseKey: null,
      createGuid: null,
      ...changes,
    };
    const { ended, effects } = this.core.arrive(this.now, body);
    this.did(effects);
    return ended.map(({ id }) => id);
  }

  contend(changes: Partial<ContendBody> = {}): string[] {
    const body: ContendBody = { ...opener(9), accessMask: 0x12019f, alive: [], ...changes };
    const { ended, effects } = this.core.contend(this.now, body);
    this.did(effects);
    return ended.map(({ id }) => id);
  }

  conflict(status: string, ino = 100n): void {
    const body = { dev: 2049n, ino, clientAddress: '192.0.2.9', status };
    this.events(9, { type: 'conflict', body });
  }

  /** The reasons of what was published of this name. */
  published(name: string): (string | undefined)[] {
    return this.effects.flatMap((effect) =>
      effect.effect === 'publish' && effect.event.event === name ? [effect.event.reason] : [],
    );
  }

  view(id = ID): HandleView {
    return handleView((this.core.table.live(id) ?? this.core.table.ended(id))!, this.now);
  }

  close(pid: number, reason = 'close'): void {
    this.events(pid, { type: 'close', body: { cookie: ID, reason } });
  }

  keeperLists(...entries: Parameters<typeof keeperEntry>[]): void {
    this.did(this.core.keeperListStarted(this.now));
    for (const entry of entries) this.did(this.core.keeperEntry(this.now, keeperEntry(...entry)));
    this.did(this.core.keeperListEnd(this.now));
  }

  state(id = ID): string {
    const handle = this.core.table.live(id) ?? this.core.table.ended(id);
    return handle?.state.name ?? 'unknown';
  }

  reason(): string | null {
    return handleView(this.core.table.ended(ID)!, this.now).reason;
  }

  dropped(id = ID): boolean {
    return this.effects.some((effect) => effect.effect === 'drop' && effect.id === id);
  }
}

function opener(pid: number) {
  return { serverId: server(pid), clientAddress: '192.0.2.9', dev: 2049n, ino: 100n };
}

function verdictIn(effects: Effect[]): Verdict | null {
  for (const effect of effects) if (effect.effect === 'verdict') return effect.verdict;
  return null;
}

function refused(verdict: Verdict | null): { reason: string; final: boolean } {
  assert.is(verdict?.verdict, 'refuse');
  const { reason, final } = verdict as Extract<Verdict, { verdict: 'refuse' }>;
  return { reason, final };
}

const lifecycle = suite<Context>('life of a handle');

lifecycle('a client that comes back in time gets its handle', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  assert.is(bench.state(), 'disconnected');
  bench.wait(59n * SECOND);
  const path = '/srv/data/file.txt';
  assert.equal(bench.claim(), { verdict: 'resume', path, levelLost: false });
  assert.is(bench.state(), 'claimed');
  bench.resumed(2);
  assert.is(bench.state(), 'connected');
  bench.wait(120n * SECOND);
  assert.is(bench.state(), 'connected');
});

lifecycle('a handle expires at its deadline, not a nanosecond before', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  const deadlineNs = bench.core.nextDeadlineNs()!;
  assert.is(deadlineNs, bench.now.monotonicNs + 60_000n * NS_PER_MS);
  bench.core.tick({ ...bench.now, monotonicNs: deadlineNs - 1n });
  assert.is(bench.state(), 'disconnected');
  bench.did(bench.core.tick({ ...bench.now, monotonicNs: deadlineNs }));
  assert.is(bench.state(), 'expired');
  assert.ok(bench.dropped());
});

lifecycle('a claim of an expired handle is refused for good', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.atMs += 60n * SECOND;
  assert.equal(refused(bench.claim()), { reason: 'expired', final: true });
});

lifecycle('of two claims one is granted', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  assert.is(bench.claim({ pid: 2 })?.verdict, 'resume');
  assert.equal(refused(bench.claim({ pid: 3 })), { reason: 'claimed', final: false });
});

lifecycle('a claim that is not confirmed falls back with its old deadline', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.wait(10n * SECOND);
  bench.claim();
  bench.wait(1_999n);
  assert.is(bench.state(), 'claimed');
  bench.wait(1n);
  assert.is(bench.state(), 'disconnected');
  bench.wait(47_999n);
  assert.is(bench.state(), 'disconnected');
  bench.wait(1n);
  assert.is(bench.state(), 'expired');
});

lifecycle('a claim that outlives the deadline still comes true', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.wait(59_500n);
  bench.claim();
  bench.wait(1_000n);
  assert.is(bench.state(), 'claimed');
  bench.resumed(2);
  assert.is(bench.state(), 'connected');
});

lifecycle('a resume that failed leaves the handle resumable, unless it is final', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.claim();
  bench.events(2, { type: 'resumeFailed', body: { cookie: ID, reason: 'busy', final: false } });
  assert.is(bench.state(), 'disconnected');
  assert.is(bench.claim({ pid: 3 })?.verdict, 'resume');
  bench.events(3, { type: 'resumeFailed', body: { cookie: ID, reason: 'gone', final: true } });
  assert.is(bench.state(), 'failed');
  assert.is(bench.reason(), 'gone');
  assert.ok(bench.dropped());
});

lifecycle('who resumed has it, also after its claim lapsed; the loser can say nothing', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.claim({ pid: 2 });
  bench.wait(2n * SECOND);
  bench.claim({ pid: 3 });
  bench.resumed(2);
  assert.is(bench.state(), 'connected');
  const failed = { cookie: ID, reason: 'superseded', final: true };
  bench.events(3, { type: 'resumeFailed', body: failed });
  assert.is(bench.state(), 'connected');
  bench.close(3);
  bench.disconnect(1);
  assert.is(bench.state(), 'connected');
  assert.is(bench.core.stats().illegal_transitions, 3);
});

lifecycle('a handle that ended does not come back', () => {
  const bench = new Bench();
  bench.grant();
  bench.close(1);
  bench.grant();
  bench.resumed(2);
  bench.disconnect(1);
  assert.is(bench.state(), 'closed');
  assert.is(bench.core.stats().illegal_transitions, 2);
  assert.is(bench.core.stats().unknown_cookies, 1);
});

lifecycle('events about unknown cookies are counted', () => {
  const bench = new Bench();
  bench.close(1);
  bench.disconnect(1);
  assert.is(bench.core.stats().unknown_cookies, 2);
  assert.is(bench.core.stats().illegal_transitions, 0);
});

lifecycle('a handle that another open superseded says so', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.close(9, 'superseded');
  assert.is(bench.state(), 'superseded');
  assert.equal(refused(bench.claim()), { reason: 'superseded', final: true });
});

lifecycle('locks come and go', () => {
  const bench = new Bench();
  const range = { cookie: ID, start: 2n ** 63n, count: 10n, note: null };
  bench.grant();
  bench.events(1, { type: 'lock', body: { ...range, exclusive: true } });
  const view = handleView(bench.core.table.live(ID)!, bench.now);
  assert.equal(view.locks, [{ start: '9223372036854775808', count: 10, exclusive: true }]);
  bench.events(1, { type: 'unlock', body: range });
  assert.is(bench.core.table.live(ID)!.locks.length, 0);
});

lifecycle.run();

const claims = suite<Context>('claims');

claims('a claim that overtook the disconnect is granted when that comes', () => {
  const bench = new Bench();
  bench.grant();
  assert.is(bench.claim(), null);
  bench.wait(99n);
  bench.disconnect();
  assert.is(verdictIn(bench.effects)?.verdict, 'resume');
});

claims('a claim that overtook even the grant is granted', () => {
  const bench = new Bench();
  assert.is(bench.claim(), null);
  bench.grant();
  bench.disconnect();
  assert.is(verdictIn(bench.effects)?.verdict, 'resume');
});

claims('a connected handle is refused after 100 ms, and its holder named', () => {
  const bench = new Bench();
  bench.grant();
  bench.claim();
  assert.is(verdictIn(bench.wait(99n)), null);
  assert.equal(verdictIn(bench.wait(1n)), {
    verdict: 'refuse',
    reason: 'connected',
    final: false,
    serverId: server(1),
  });
});

claims(
  'a claim for what a dead smbd child told nobody but the keeper is granted after 100 ms',
  () => {
    const bench = new Bench();
    bench.keeperLists();
    bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'orphaned', { since: bench.now })));
    assert.is(bench.claim({ pid: 2 }), null);
    assert.is(verdictIn(bench.wait(100n))?.verdict, 'resume');
  },
);

claims('an unknown cookie is refused after 100 ms, not for good', () => {
  const bench = new Bench();
  assert.is(bench.claim(), null);
  assert.equal(refused(verdictIn(bench.wait(100n))), { reason: 'unknown', final: false });
  assert.equal(bench.core.stats().refusals, { unknown: 1 });
});

claims('another share, client or file is refused and the handle kept', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  assert.equal(refused(bench.claim({ share: 'home' })), { reason: 'share', final: false });
  const clientGuid = 'ff'.repeat(16);
  assert.equal(refused(bench.claim({ clientGuid })), { reason: 'client', final: false });
  const otherFile = stat({ ino: 101n });
  assert.equal(refused(bench.claim({ stat: otherFile })), { reason: 'file', final: false });
  assert.is(bench.claim()?.verdict, 'resume');
});

claims('without a lease the client GUID does not matter', () => {
  const bench = new Bench();
  bench.grant({ leaseKey: null, oplock: 9 });
  bench.disconnect();
  assert.is(bench.claim({ clientGuid: 'ff'.repeat(16) })?.verdict, 'resume');
});

for (const [what, changes] of [
  ['size', { sizeBytes: 4097n }],
  ['mtime', { mtimeNs: 5n }],
] as const) {
  claims(`a durable handle whose file changed its ${what} ends`, () => {
    const bench = new Bench();
    bench.grant();
    bench.disconnect();
    const verdict = bench.claim({ stat: stat(changes) });
    assert.equal(refused(verdict), { reason: 'modified', final: true });
    assert.is(bench.state(), 'superseded');
    assert.is(bench.reason(), 'modified');
    assert.ok(bench.dropped());
  });

  claims(`a persistent handle whose file changed its ${what} is resumed`, () => {
    const bench = new Bench();
    bench.grant({ kind: 'persistent' });
    bench.disconnect();
    assert.is(bench.claim({ stat: stat(changes) })?.verdict, 'resume');
  });
}

claims('chmod, rename and unlink do not matter', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  assert.is(bench.claim({ stat: stat({ ctimeNs: 9n, nlink: 0n }) })?.verdict, 'resume');
});

claims('the verdict names where the file is now', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  const file = { dev: 2049n, ino: 100n, isDirectory: false };
  const from = '/srv/data/file.txt';
  bench.events(7, { type: 'rename', body: { ...file, from, to: '/srv/data/d/new.txt' } });
  const directory = { dev: 2049n, ino: 7n, isDirectory: true };
  bench.events(7, { type: 'rename', body: { ...directory, from: '/srv/data/d', to: '/srv/e' } });
  assert.equal(bench.claim(), { verdict: 'resume', path: '/srv/e/new.txt', levelLost: false });
});

claims('an unlinked file is marked, another name of it is not', () => {
  const bench = new Bench();
  bench.grant();
  bench.events(7, { type: 'unlink', body: { dev: 2049n, ino: 100n, path: '/srv/data/link' } });
  assert.not(bench.core.table.live(ID)!.unlinked);
  bench.events(7, { type: 'unlink', body: { dev: 2049n, ino: 100n, path: '/srv/data/file.txt' } });
  assert.ok(bench.core.table.live(ID)!.unlinked);
});

claims.run();

const keeper = suite<Context>('keeper');

keeper('an orphan is kept, and can be resumed', () => {
  const bench = new Bench();
  bench.keeperLists([ID, 'held']);
  bench.grant();
  const since = bench.now;
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'orphaned', { since })));
  assert.ok(handleView(bench.core.table.live(ID)!, bench.now).orphan);
  assert.is(bench.claim()?.verdict, 'resume');
});

keeper('what it says of a former holder does not touch the new one', () => {
  const bench = new Bench();
  bench.grant({ serverId: server(2) });
  bench.keeperLists([ID, 'held', { pid: 2n }]);
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'orphaned', { pid: 1n })));
  assert.is(bench.state(), 'connected');
});

keeper('a handle that only the keeper knows is taken over', () => {
  const bench = new Bench();
  const since = bench.now;
  bench.keeperLists([ID, 'held'], [cookie(2), 'parked', { since }]);
  assert.is(bench.state(ID), 'connected');
  assert.is(bench.state(cookie(2)), 'disconnected');
  bench.wait(60n * SECOND);
  assert.is(bench.state(cookie(2)), 'expired');
});

keeper('a disconnected handle without a descriptor is lost', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.wait(1n);
  bench.keeperLists();
  assert.is(bench.state(), 'failed');
  assert.is(bench.reason(), 'descriptor-lost');
});

keeper('a handle that was parked while the list was made is not lost', () => {
  const bench = new Bench();
  bench.grant();
  bench.did(bench.core.keeperListStarted(bench.now));
  bench.atMs += 1n;
  bench.disconnect();
  bench.did(bench.core.keeperListEnd(bench.now));
  assert.is(bench.state(), 'disconnected');
});

keeper('a connected handle without a descriptor goes on, not retained', () => {
  const bench = new Bench();
  bench.keeperLists([ID, 'held']);
  bench.grant();
  assert.ok(bench.core.table.live(ID)!.retained);
  bench.did(bench.core.keeperLost(bench.now));
  bench.keeperLists();
  assert.is(bench.state(), 'connected');
  assert.not(bench.core.table.live(ID)!.retained);
});

keeper('a disconnect that smbd could not report is believed of the keeper', () => {
  const bench = new Bench();
  bench.keeperLists([ID, 'held']);
  bench.grant();
  const since = bench.now;
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'parked', { since })));
  bench.wait(999n);
  assert.is(bench.state(), 'connected');
  bench.wait(1n);
  assert.is(bench.state(), 'disconnected');
  bench.wait(59n * SECOND);
  assert.is(bench.state(), 'expired');
});

keeper('what a dead smbd child had said before is true no more when it arrives', () => {
  const bench = new Bench();
  bench.keeperLists();
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'orphaned', { since: bench.now })));
  bench.grant();
  assert.is(bench.state(), 'disconnected');
  bench.grant();
  assert.is(bench.state(), 'disconnected');
});

keeper('a handle that was parked before its grant arrived is not taken for connected', () => {
  const bench = new Bench();
  bench.keeperLists();
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'parked', { since: bench.now })));
  bench.grant();
  assert.is(bench.state(), 'connected');
  bench.wait(1n * SECOND);
  assert.is(bench.state(), 'disconnected');
});

keeper('a closed handle that smbd did not drop is dropped after a second', () => {
  const bench = new Bench();
  bench.keeperLists([ID, 'held']);
  bench.grant();
  bench.close(1);
  bench.wait(999n);
  assert.not(bench.dropped());
  bench.wait(1n);
  assert.ok(bench.dropped());
});

keeper('a closed handle that smbd dropped needs nothing more', () => {
  const bench = new Bench();
  bench.keeperLists([ID, 'held']);
  bench.grant();
  bench.close(1);
  bench.did(bench.core.keeperGone(bench.now, ID));
  bench.wait(5n * SECOND);
  assert.not(bench.dropped());
});

keeper('what ended while the keeper was away is dropped when it is back', () => {
  const bench = new Bench();
  bench.grant();
  bench.disconnect();
  bench.wait(60n * SECOND);
  bench.effects.length = 0;
  bench.keeperLists([ID, 'parked']);
  assert.is(bench.state(), 'expired');
  assert.ok(bench.dropped());
  const gone = bench.core.keeperGone(bench.now, ID);
  assert.ok(gone.some((effect) => effect.effect === 'delete' && effect.id === ID));
});

for (const [seen, becomes] of [
  ['parked', 'disconnected'],
  ['held', 'closed'],
  [null, 'closed'],
] as const) {
  for (const order of ['before', 'after']) {
    const what = seen ?? 'absent';
    keeper(`sync without a ${what} handle, ${order} the list: it is ${becomes}`, () => {
      const bench = new Bench();
      bench.grant();
      const since = bench.now;
      const list = (): void =>
        seen === null ? bench.keeperLists() : bench.keeperLists([ID, seen, { since, pid: 77n }]);
      if (order === 'after') list();
      bench.events(1, { type: 'sync', body: { cookies: [] } });
      if (order === 'before') list();
      assert.is(bench.state(), becomes);
    });
  }
}

keeper('sync of one smbd child does not touch the handles of another', () => {
  const bench = new Bench();
  bench.keeperLists();
  bench.grant();
  bench.events(2, { type: 'sync', body: { cookies: [] } });
  assert.is(bench.state(), 'connected');
});

keeper('a dead smbd child whose handle nobody watches is noticed', () => {
  const bench = new Bench();
  bench.grant();
  assert.equal(bench.core.unwatchedServers(), []);
  bench.keeperLists();
  assert.equal(bench.core.unwatchedServers(), [server(1)]);
  bench.did(bench.core.serverDied(bench.now, server(1)));
  assert.is(bench.reason(), 'smbd-died');
});

keeper.run();

const contention = suite<Context>('contention');

const KEY = 'c3'.repeat(16);
const CREATE = 'b2'.repeat(16);
const OTHER = 'ee'.repeat(16);

for (const [how, changes, opens] of [
  ['lease key', { leaseKey: KEY }, { leaseKey: KEY }],
  ['create GUID', { leaseKey: null, oplock: 9 }, { createGuid: CREATE }],
] as const) {
  for (const kind of ['durable', 'resilient', 'persistent'] as const) {
    contention(`a client that opens anew with its ${how} ends its ${kind} handle`, () => {
      const bench = new Bench();
      bench.grant({ kind, ...changes });
      bench.disconnect();
      assert.equal(bench.arrive(opens), [ID]);
      assert.equal([bench.state(), bench.reason()], ['superseded', 'own orphan']);
      assert.ok(bench.dropped());
    });
  }
}

for (const [what, opens] of [
  ['another client', { clientGuid: OTHER, leaseKey: KEY, createGuid: CREATE }],
  ['another lease key and create GUID', { leaseKey: OTHER, createGuid: OTHER }],
  ['neither', {}],
  ['another file', { ino: 101n, leaseKey: KEY, createGuid: CREATE }],
] as const) {
  contention(`an arrival with ${what} ends nothing`, () => {
    const bench = new Bench();
    bench.grant();
    bench.disconnect();
    assert.equal(bench.arrive(opens), []);
    assert.is(bench.state(), 'disconnected');
  });
}

contention('no create GUID is not the same as no create GUID', () => {
  const bench = new Bench();
  const none = '00'.repeat(16);
  bench.grant({ durableVersion: 1, createGuid: none, leaseKey: null, oplock: 9 });
  bench.disconnect();
  assert.equal(bench.arrive({ createGuid: none }), []);
});

contention('what is connected or being resumed is no orphan', () => {
  const bench = new Bench();
  const own = { leaseKey: KEY, createGuid: CREATE };
  bench.grant();
  assert.equal(bench.arrive(own), []);
  bench.disconnect();
  bench.claim();
  assert.equal(bench.arrive(own), []);
  assert.is(bench.state(), 'claimed');
});

contention('an orphan of which only the keeper has told so far ends too', () => {
  const bench = new Bench();
  bench.keeperLists([ID, 'held']);
  bench.grant();
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'parked', { since: bench.now })));
  assert.equal(bench.arrive({ leaseKey: KEY }), [ID]);
});

contention('a durable handle ends unless smbd still has its open', () => {
  const bench = new Bench();
  bench.grant();
  bench.grant({ cookie: cookie(2), persistentId: 2n });
  bench.disconnect();
  bench.disconnect(1, cookie(2));
  assert.equal(bench.contend({ alive: [2n] }), [ID]);
  assert.equal([bench.state(), bench.reason()], ['superseded', 'opened by 192.0.2.9']);
  assert.is(bench.state(cookie(2)), 'disconnected');
  assert.not(bench.view(cookie(2)).level_lost);
});

for (const kind of ['resilient', 'persistent'] as const) {
  contention(`a ${kind} handle stays, and loses its level once`, () => {
    const bench = new Bench();
    bench.grant({ kind });
    bench.disconnect();
    assert.equal(bench.contend(), []);
    assert.equal(bench.contend(), []);
    assert.equal(bench.published('level-lost'), ['opened by 192.0.2.9']);
    assert.ok(bench.view().level_lost);
    const path = '/srv/data/file.txt';
    assert.equal(bench.claim(), { verdict: 'resume', path, levelLost: true });
    bench.resumed(2, { kind, leaseState: 0 });
    assert.not(bench.view().level_lost);
  });
}

contention('an open for attributes costs no level', () => {
  const bench = new Bench();
  bench.grant({ kind: 'resilient' });
  bench.disconnect();
  bench.contend({ accessMask: 0x0012_0180 });
  assert.not(bench.view().level_lost);
  bench.contend({ accessMask: 0x8000_0000 });
  assert.ok(bench.view().level_lost, 'GENERIC_READ');
});

contention('what has no oplock or lease has none to lose', () => {
  const bench = new Bench();
  bench.grant({ kind: 'resilient', leaseKey: null, oplock: 0, leaseState: 0 });
  bench.disconnect();
  bench.contend();
  assert.not(bench.view().level_lost);
  assert.equal(bench.published('level-lost'), []);
});

contention('a level that is lost while its owner resumes in vain stays lost', () => {
  const bench = new Bench();
  bench.grant({ kind: 'resilient' });
  bench.disconnect();
  bench.claim();
  bench.contend();
  bench.events(2, { type: 'resumeFailed', body: { cookie: ID, reason: 'busy', final: false } });
  const verdict = bench.claim({ pid: 3 });
  assert.ok(verdict?.verdict === 'resume' && verdict.levelLost);
});

contention('a grant that is older than the loss does not undo it', () => {
  const bench = new Bench();
  bench.keeperLists([ID, 'held']);
  bench.grant({ kind: 'resilient' });
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'parked', { since: bench.now })));
  bench.contend();
  bench.grant({ kind: 'resilient' });
  assert.ok(bench.view().level_lost);
  bench.did(bench.core.keeperEntry(bench.now, keeperEntry(ID, 'held')));
  bench.grant({ kind: 'resilient' });
  assert.not(bench.view().level_lost);
});

contention('conflicts are counted with the handles that are away, and told', () => {
  const bench = new Bench();
  bench.grant({ kind: 'resilient' });
  bench.conflict('SHARING_VIOLATION');
  assert.equal([bench.view().refused_others, bench.view().last_refused], [0, null]);
  bench.disconnect();
  bench.conflict('SHARING_VIOLATION');
  bench.conflict('SHARING_VIOLATION', 101n);
  bench.conflict('LOCK_NOT_GRANTED');
  const { refused_others, last_refused } = bench.view();
  assert.is(refused_others, 2);
  assert.match(last_refused!, /^192\.0\.2\.9 \(LOCK_NOT_GRANTED\) at 20\d\d-\S+Z$/);
  assert.equal(bench.published('conflict'), [
    'SHARING_VIOLATION for 192.0.2.9',
    'LOCK_NOT_GRANTED for 192.0.2.9',
  ]);
});

contention('a durable handle is made resilient, with another timeout, by a grant', () => {
  const bench = new Bench();
  bench.grant();
  bench.grant({ kind: 'resilient', timeoutMs: 120_000 });
  assert.is(bench.view().kind, 'resilient');
  assert.equal(bench.published('grant'), [undefined, 'durable to resilient']);
  bench.grant({ kind: 'resilient', timeoutMs: 90_000 });
  assert.is(bench.published('grant').length, 2);
  assert.is(bench.core.stats().illegal_transitions, 0);
  bench.disconnect();
  bench.wait(89_999n);
  assert.is(bench.state(), 'disconnected');
  bench.wait(1n);
  assert.is(bench.state(), 'expired');
});

contention('a resilient handle whose file changed is resumed', () => {
  const bench = new Bench();
  bench.grant({ kind: 'resilient' });
  bench.disconnect();
  assert.is(bench.claim({ stat: stat({ sizeBytes: 1n }) })?.verdict, 'resume');
});

contention.run();

const admin = suite<Context>('admin');

function administer<T>(bench: Bench, request: Parameters<typeof bench.core.administer<T>>[1]): T {
  const { outcome, effects } = bench.core.administer(bench.now, request);
  bench.did(effects);
  if (!outcome.ok) throw outcome.error;
  return outcome.value;
}

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof AdminError && error.code === code;
}

admin('a connected handle is not closed, and its holder is named', () => {
  const bench = new Bench();
  bench.grant({ serverId: server(4711) });
  assert.throws(
    () => administer(bench, (desk) => desk.end([ID], 'closed')),
    /laptop.*smbcontrol 4711 close-share data/,
  );
});

admin('a disconnected handle is closed by a prefix of its id', () => {
  const bench = new Bench();
  bench.grant({ cookie: `ab${'0'.repeat(30)}` });
  bench.grant({ cookie: `ac${'0'.repeat(30)}` });
  bench.disconnect(1, `ab${'0'.repeat(30)}`);
  assert.throws(() => administer(bench, (desk) => desk.one('a')), isCode('ambiguous'));
  assert.throws(() => administer(bench, (desk) => desk.one('b')), isCode('no-such-handle'));
  const [closed] = administer(bench, (desk) => desk.end(['ab'], 'closed'));
  assert.is(closed!.state.name, 'closed');
  assert.ok(bench.dropped(closed!.id));
});

admin('if one of several handles may not be ended none is', () => {
  const bench = new Bench();
  bench.grant();
  bench.grant({ cookie: cookie(2) });
  bench.disconnect();
  const both = [ID, cookie(2)];
  assert.throws(() => administer(bench, (desk) => desk.end(both, 'expired')), isCode('refused'));
  assert.is(bench.state(), 'disconnected');
});

admin('extend moves the deadline of a disconnected handle only', () => {
  const bench = new Bench();
  bench.grant();
  assert.throws(() => administer(bench, (desk) => desk.extend(ID, 1)), isCode('refused'));
  bench.disconnect();
  administer(bench, (desk) => desk.extend(ID, 30_000));
  bench.wait(89_999n);
  assert.is(bench.state(), 'disconnected');
  bench.wait(1n);
  assert.is(bench.state(), 'expired');
});

admin('expireWhere ends what waits long enough', () => {
  const bench = new Bench();
  bench.grant();
  bench.grant({ cookie: cookie(2) });
  bench.disconnect();
  bench.wait(10n * SECOND);
  bench.disconnect(1, cookie(2));
  const ended = administer(bench, (desk) => desk.expireWhere({ olderThanMs: 5_000 }));
  assert.equal(
    ended.map(({ id }) => id),
    [ID],
  );
  assert.is(administer(bench, (desk) => desk.expireWhere({ all: true })).length, 1);
});

admin('list filters, and shows ended handles when asked', () => {
  const bench = new Bench();
  bench.grant();
  bench.grant({ cookie: cookie(2), share: 'home', path: '/srv/home/a/b', kind: 'resilient' });
  bench.close(1);
  const ids = (request: object): string[] =>
    administer(bench, (desk) => desk.list({ all: false, ...request })).map(({ id }) => id);
  assert.equal(ids({}), [cookie(2)]);
  assert.equal(ids({ all: true }), [cookie(2), ID]);
  assert.equal(ids({ state: 'closed' }), [ID]);
  assert.equal(ids({ share: 'HOME', path: '/srv/home/a' }), [cookie(2)]);
  assert.equal(ids({ path: '/srv/home/' }), [cookie(2)]);
  assert.equal(ids({ path: '/srv/hom' }), []);
  assert.equal(ids({ kind: 'durable' }), []);
});

admin('the oldest of the ended handles are forgotten', () => {
  const bench = new Bench({ ...DEFAULT_POLICY, endedKept: 10 });
  for (let number = 1; number <= 12; number++) {
    bench.grant({ cookie: cookie(number) });
    bench.events(1, { type: 'close', body: { cookie: cookie(number), reason: 'close' } });
  }
  assert.is([...bench.core.table.allEnded()].length, 10);
  assert.is(bench.state(cookie(1)), 'unknown');
  assert.is(bench.state(cookie(12)), 'closed');
});

admin.run();
