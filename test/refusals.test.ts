// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * Who may not resume is told what stock Samba tells, and costs the rightful
 * client nothing. Each situation is played on a stock share, too.
 */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS } from './lib/dev-samba.js';
import {
  drop,
  type Held,
  hold,
  isKeptDescription,
  newName,
  optionsOf,
  resume,
  USUAL,
} from './lib/scenario.js';
import { FileId, newGuid, type OpenOptions, type Smb2Client } from './lib/smb2/index.js';

const samba = await DevSamba.up();
const test = suite('refusals');

const BATCH = DURABLE_KINDS['v2, batch oplock'];
const V1 = DURABLE_KINDS['v1, lease v1'];

interface Situation {
  kind?: (typeof DURABLE_KINDS)[keyof typeof DURABLE_KINDS];
  /** Who asks; the rightful machine and user unless given. */
  claimant?: (held: Held) => Promise<Smb2Client>;
  /** What is asked in place of the right thing. */
  asked?: (held: Held) => Partial<OpenOptions>;
  /** Contexts that are not sent. */
  without?: 'lease';
  path?: (held: Held) => string;
  /** How persistd counts it, if it is asked at all. */
  reason?: string;
}

const sameMachine = ({ client }: Held) =>
  samba.connect(client.tree.share, { clientGuid: client.clientGuid });
const asOther = ({ client }: Held) => {
  const { user2: user, password2: password } = samba.status();
  return samba.connect(client.tree.share, { clientGuid: client.clientGuid, user, password });
};
const otherMachine = ({ client }: Held) => samba.connect(client.tree.share);
const otherShare = ({ client }: Held) => {
  const share = client.tree.share === 'plain' ? 'posix-plain' : 'ca';
  return samba.connect(share, { clientGuid: client.clientGuid });
};
const createGuidOf = ({ open }: Held) => open.createGuid ?? newGuid();
const leaseOf = ({ open }: Held) => ({ ...open.asked.lease, version: 2 as const });
const unknownId = ({ open }: Held) => FileId.of(open.fileId.persistent ^ 0x5a5an, 0n);

const SITUATIONS: Record<string, Situation> = {
  'another user': { claimant: asOther },
  'another user, batch oplock': { kind: BATCH, claimant: asOther },
  'another user, v1': { kind: V1, claimant: asOther },
  'another client GUID, lease': { claimant: otherMachine, reason: 'client' },
  'another client GUID, lease, v1': { kind: V1, claimant: otherMachine, reason: 'client' },
  'another lease key': {
    asked: (held) => ({ lease: { ...leaseOf(held), key: newGuid(), state: 7 } }),
    reason: 'file',
  },
  'no lease context': { without: 'lease', reason: 'file' },
  'a lease context for an oplock': {
    kind: BATCH,
    asked: () => ({ lease: { key: newGuid(), state: 7 } }),
    reason: 'file',
  },
  'another create GUID': {
    asked: ({ open }) => ({ reconnect: { fileId: open.fileId, createGuid: newGuid() } }),
  },
  'a create GUID for a v1 handle': {
    kind: V1,
    asked: ({ open }) => ({ reconnect: { fileId: open.fileId, createGuid: newGuid() } }),
  },
  'an unknown persistent id': {
    asked: (held) => ({ reconnect: { fileId: unknownId(held), createGuid: createGuidOf(held) } }),
  },
  'an unknown persistent id, v1': {
    kind: V1,
    asked: (held) => ({ reconnect: { fileId: unknownId(held) } }),
  },
  'another name, lease': { path: () => 'another.txt', reason: 'file' },
  'another share': { claimant: otherShare, reason: 'share' },
  'another share, batch oplock': { kind: BATCH, claimant: otherShare, reason: 'share' },
};

async function attempt(situation: Situation, held: Held) {
  const claimant = await (situation.claimant ?? sameMachine)(held);
  const asked: OpenOptions = { ...held.open.reconnectOptions, ...situation.asked?.(held) };
  if (situation.without) delete asked[situation.without];
  const path = situation.path?.(held) ?? held.name;
  return { claimant, code: await claimant.tree.open(path, asked).code() };
}

const refusals = (): Record<string, number> =>
  (samba.stats() as { refusals: Record<string, number> }).refusals;

/** By how much each count grew. */
function growth(before: Record<string, number>, after: Record<string, number>) {
  const grown = Object.entries(after).map(([reason, n]) => [reason, n - (before[reason] ?? 0)]);
  return Object.fromEntries(grown.filter(([, n]) => n !== 0));
}

/** Clients with one GUID share an smbd child (multichannel), others have their own. */
async function leave(claimant: Smb2Client, { client }: Held): Promise<void> {
  const { length } = samba.status().clientPids;
  await claimant.drop();
  if (claimant.clientGuid.equals(client.clientGuid)) return;
  await samba.until('the end of its smbd', () => samba.status().clientPids.length < length);
}

async function stillGood(held: Held): Promise<void> {
  assert.ok(isKeptDescription(samba, held.path), 'resumed with the kept description');
  await held.open.write(0, 'still good').ok();
  assert.equal(String(await held.open.read(0, 100).ok()), 'still good');
}

for (const [what, situation] of Object.entries(SITUATIONS)) {
  const options = () => optionsOf(situation.kind ?? USUAL);

  test(`${what}: refused as stock does, counted, and resumable afterwards`, async () => {
    const stock = await hold(samba, 'plain', options());
    await stock.client.drop();
    const expected = await attempt(situation, stock);
    await expected.claimant.drop();
    await stock.client.drop();

    let held = await hold(samba, 'durable', options());
    await drop(samba, held);
    const before = refusals();
    const { claimant, code } = await attempt(situation, held);
    assert.equal(code, expected.code);
    await claimant.drop();
    held = await resume(samba, held);
    await stillGood(held);
    const counted = situation.reason === undefined ? {} : { [situation.reason]: 1 };
    assert.deepEqual(growth(before, refusals()), counted);
    await held.open.close().ok();
  });

  test(`${what}: the refused client may leave long after the rightful one is back`, async () => {
    let held = await hold(samba, 'durable', options());
    await drop(samba, held);
    const { claimant, code } = await attempt(situation, held);
    assert.notEqual(code, 'SUCCESS');
    held = await resume(samba, held);
    await stillGood(held);
    await leave(claimant, held);
    await stillGood(held);
    await held.client.drop();
    held = await resume(samba, held);
    await stillGood(held);
    await held.open.close().ok();
  });
}

for (const [label, kind] of Object.entries(DURABLE_KINDS)) {
  test(`${label}: never durable: refused as stock does`, async () => {
    const codes = [];
    for (const share of ['plain', 'durable']) {
      const { durable, ...options } = optionsOf(kind);
      const client = await samba.connect(share);
      const open = await client.open(newName(), options).ok();
      await client.drop();
      const back = await samba.back(client, share);
      const createGuid = durable?.version === 2 ? { createGuid: newGuid() } : {};
      const reconnect = { fileId: open.fileId, ...createGuid };
      codes.push(await back.reconnect(open, { reconnect }).code());
      await back.drop();
    }
    assert.equal(codes[1], codes[0]);
  });

  for (const [who, from] of Object.entries({
    'its own client': sameMachine,
    'another client': otherMachine,
  })) {
    test(`${label}: in use: ${who} is refused as stock does, and the handle works on`, async () => {
      const codes: string[] = [];
      for (const share of ['plain', 'durable']) {
        let held = await hold(samba, share, optionsOf(kind));
        const claimant = await from(held);
        codes.push(await claimant.reconnect(held.open).code());
        if (share === 'durable') {
          await stillGood(held);
          await claimant.drop();
          await stillGood(held);
          await held.client.drop();
          held = await resume(samba, held);
          await stillGood(held);
          await held.open.close().ok();
        }
        await claimant.drop();
        await held.client.drop();
      }
      assert.equal(codes[1], codes[0]);
    });
  }
}

test('expired: refused as stock does', async () => {
  const options = () => optionsOf(USUAL, { timeoutMs: 1000 });
  const stock = await hold(samba, 'plain', options());
  await stock.client.drop();
  const held = await hold(samba, 'durable', options());
  await held.client.drop();
  await samba.until('the expiry', () => samba.handle(held.name).state === 'expired');
  await samba.until('the expiry of stock', () => !samba.smbstatus('-L').includes(stock.name));
  const codes = [];
  for (const { client, open } of [stock, held]) {
    const back = await samba.back(client, client.tree.share);
    codes.push(await back.reconnect(open).code());
    await back.drop();
  }
  assert.equal(codes[1], codes[0]);
});

test('a client that asks in vain again and again does no harm', async () => {
  let held = await hold(samba, 'durable');
  await drop(samba, held);
  const other = await otherMachine(held);
  for (let i = 0; i < 20; i++) {
    assert.equal(await other.reconnect(held.open).code(), 'OBJECT_NAME_NOT_FOUND');
  }
  held = await resume(samba, held);
  await stillGood(held);
  await held.open.close().ok();
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
