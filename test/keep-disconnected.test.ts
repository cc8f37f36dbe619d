// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * What another client may do to a file without costing a disconnected handle its life:
 * smbtorture's keep-disconnected-* and purge-disconnected-* (4.22 and later), and more. MS-SMB2
 * 3.3.4.7 ends a disconnected durable open when its lease breaks to a state without H.
 */
import { strict as assert } from 'node:assert';
import { statSync } from 'node:fs';
import { suite } from 'uvu';
import { DevSamba, tryLock } from './lib/dev-samba.js';
import { Faults } from './lib/fault-points.js';
import { meanwhile } from './lib/races.js';
import { drop, type Held, hold, optionsOf, resume, USUAL } from './lib/scenario.js';
import {
  Access,
  Disposition,
  LeaseState,
  newGuid,
  type Open,
  type OpenOptions,
  Oplock,
  Share,
} from './lib/smb2/index.js';

const { R, RH, RWH } = LeaseState;
const samba = await DevSamba.up('--faults');
const faults = new Faults(samba);
const test = suite('keep disconnected');

const away = async (share: string, state: number): Promise<Held> => {
  const held = await hold(samba, share, optionsOf(USUAL, { state }));
  await held.open.write(0, 'mine').ok();
  return held;
};

const lease = (state: number) => ({ lease: { key: newGuid(), state } });
const level = (open: Open): number => open.granted.lease?.state ?? open.oplock;

interface Case {
  what: string;
  how: OpenOptions;
  does?: (theirs: Open) => Promise<unknown>;
  /** Leases that are away and survive it. */
  keeps: number[];
  /** What it is granted beside RH; beside nothing it is all that it asked for. */
  granted?: number;
}

const OPEN = { disposition: Disposition.OPEN };
const STAT = { access: Access.READ_ATTRIBUTES | Access.SYNCHRONIZE };

const cases: Case[] = [
  { what: 'looks at attributes', how: STAT, keeps: [RH, RWH] },
  { what: 'asks for no oplock', how: {}, keeps: [RH], granted: Oplock.NONE },
  { what: 'asks for a batch oplock', how: { oplock: Oplock.BATCH }, keeps: [RH], granted: 0 },
  { what: 'asks for a lease R', how: lease(R), keeps: [RH], granted: R },
  { what: 'asks for a lease RH', how: lease(RH), keeps: [RH], granted: RH },
  { what: 'asks for a lease RWH', how: lease(RWH), keeps: [RH], granted: RH },
  { what: 'reads', how: { access: Access.READ }, does: (o) => o.read(0, 4).ok(), keeps: [RH] },
  { what: 'asks for all it may have', how: { access: Access.MAXIMUM_ALLOWED }, keeps: [RH] },
  { what: 'shares nothing', how: { ...lease(RWH), share: Share.NONE }, keeps: [] },
  { what: 'overwrites', how: { disposition: Disposition.OVERWRITE_IF }, keeps: [] },
  { what: 'writes', how: lease(RWH), does: (o) => o.write(0, 'his').ok(), keeps: [] },
  { what: 'truncates', how: lease(RWH), does: (o) => o.info.setEndOfFile(0n).ok(), keeps: [] },
  { what: 'renames', how: lease(RWH), does: (o) => o.info.rename(`${o.path}.new`).ok(), keeps: [] },
  { what: 'unlinks', how: {}, does: (o) => o.info.setDeletePending(true).ok(), keeps: [] },
];

/** Another client's open, from begin to end; what it was granted. */
async function otherOpens(share: string, name: string, { how, does }: Case): Promise<number> {
  const other = await samba.connect(share);
  const theirs = await other.open(name, { ...OPEN, ...how }).ok();
  await does?.(theirs);
  await theirs.close().ok();
  await other.drop();
  return level(theirs);
}

async function survives(held: Held): Promise<boolean> {
  const back = await samba.back(held.client, held.client.tree.share);
  const reply = await back.reconnect(held.open);
  if (reply.code === 'SUCCESS') {
    const again = reply.ok();
    assert.equal(again.granted.lease?.state, held.open.granted.lease?.state);
    assert.equal(String(await again.read(0, 4).ok()), 'mine');
    await again.close().ok();
  }
  await back.drop();
  return reply.code === 'SUCCESS';
}

/** Who comes now has the file for himself. */
async function leavesNoTrace(share: string, { name, path }: Held): Promise<void> {
  const third = await samba.connect(share);
  const theirs = await third.open(name, { ...lease(RWH), share: Share.NONE }).ok();
  assert.equal(level(theirs), RWH);
  await theirs.lock({ offset: 0, length: 10 }).ok();
  await theirs.close().ok();
  assert.equal(tryLock(path, 0, 10), 'locked');
  await third.drop();
}

for (const state of [RH, RWH]) {
  const levelName = state === RH ? 'RH' : 'RWH';
  for (const each of cases) {
    const kept = each.keeps.includes(state);
    test(`a client that ${each.what} ${kept ? 'keeps' : 'ends'} a handle with ${levelName}`, async () => {
      for (const share of ['durable', 'plain']) {
        const held = await away(share, state);
        if (share === 'plain') await held.client.drop();
        else await drop(samba, held);
        const granted = await otherOpens(share, held.name, each);
        if (share === 'plain') {
          assert.equal(await survives(held), each.how === STAT, 'as stock smbd has it');
        } else {
          if (kept && each.granted !== undefined) assert.equal(granted, each.granted);
          assert.equal(await survives(held), kept);
          assert.ok(samba.handles('--all').every((h) => h.state !== 'disconnected'));
        }
        await leavesNoTrace(share, held);
      }
    });
  }
}

for (const share of ['durable', 'posix']) {
  test(`${share}: its byte-range locks stay in force meanwhile`, async () => {
    const held = await away(share, RH);
    await held.open.lock({ offset: 0, length: 10 }).ok();
    await drop(samba, held);
    const other = await samba.connect(share);
    const theirs = await other.open(held.name, { ...OPEN, ...lease(RWH) }).ok();
    assert.equal(await theirs.lock({ offset: 5, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    assert.equal(await theirs.write(5, 'x').code(), 'FILE_LOCK_CONFLICT');
    assert.equal(samba.handle(held.name).state, 'disconnected');
    const again = await resume(samba, held);
    assert.equal(await theirs.lock({ offset: 5, length: 1 }).code(), 'LOCK_NOT_GRANTED');
    await again.open.unlock({ offset: 0, length: 10 }).ok();
    await theirs.close().ok();
    await again.open.close().ok();
    await leavesNoTrace(share, held);
  });
}

test('persistd knows at once when a write, a rename or an unlink ends it', async () => {
  for (const each of cases.filter(({ what }) => /^(writes|renames|unlinks)$/.test(what))) {
    const held = await away('durable', RH);
    const { id } = samba.handle(held.name);
    await drop(samba, held);
    await otherOpens('durable', held.name, each);
    assert.equal(samba.handles('--all').find((h) => h.id === id)?.state, 'superseded', each.what);
  }
});

test('two handles survive, together and with the one that came between', async () => {
  const one = await away('durable', RH);
  // it must not write: that breaks the lease of the first
  const two = await hold(samba, 'durable', optionsOf(USUAL, { state: RH }), one.name);
  await one.client.drop();
  await two.client.drop();
  await samba.until('both to be away', () => samba.away(one.name).length === 2);
  const other = await samba.connect('durable');
  const theirs = await other.open(one.name, { ...OPEN, ...lease(RWH) }).ok();
  assert.equal(level(theirs), RH);
  const back = [await resume(samba, one), await resume(samba, two)];
  for (const { open } of back) assert.equal(open.granted.lease?.state, RH);
  for (const { open } of back) await open.close().ok();
  await theirs.close().ok();
  await leavesNoTrace('durable', one);
});

for (const [what, leave] of Object.entries({
  'drops off the network': ({ client }: Held) => client.drop(),
  'closes the file': ({ open }: Held) => open.close().ok(),
  'sets the write time': ({ open }: Held) =>
    open.info.setBasic({ lastWriteTime: 132_000_000_000_000_000n }).ok(),
})) {
  test(`the write time of another client, who then ${what}, is not taken for a change`, async () => {
    const one = await away('durable', RH);
    const two = await hold(samba, 'durable', optionsOf(USUAL, { state: RH }), one.name);
    await drop(samba, two);
    const before = statSync(two.path).mtimeMs;
    await leave(one);
    await samba.until('a new write time', () => statSync(two.path).mtimeMs !== before);
    const back = await resume(samba, two);
    assert.equal(back.open.granted.lease?.state, RH);
    await back.open.close().ok();
  });
}

test('it does not return beside one who shares no writing and came while it was put back', async () => {
  const held = await away('durable', RH);
  await drop(samba, held);
  const [other, another] = [await samba.connect('durable'), await samba.connect('durable')];
  const reading = { ...OPEN, access: Access.READ };
  const point = faults.hold('keep.before-restore');
  const opening = other.open(held.name, reading);
  const { reply } = await meanwhile(samba, point, () =>
    another.open(held.name, { ...reading, share: Share.READ }),
  );
  await (await opening.ok()).close().ok();
  await reply.ok().close().ok();
  assert.ok(!(await survives(held)));
  await leavesNoTrace('durable', held);
});

test('the newcomer dies before it is put back: it ends, and nothing is left', async () => {
  const held = await away('durable', RH);
  await drop(samba, held);
  faults.kill('keep.before-restore');
  const other = await samba.connect('durable');
  await other.open(held.name, { ...OPEN, ...lease(RH) }).then(
    () => assert.fail('its smbd lives'),
    () => undefined,
  );
  assert.ok(!(await survives(held)));
  await leavesNoTrace('durable', held);
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
