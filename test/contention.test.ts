// SPDX-License-Identifier: GPL-3.0-or-later
/** Somebody else comes for the file while its durable handle is away. */
import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { DevSamba, tryLock } from './lib/dev-samba.js';
import { Access, Disposition, LeaseState, newGuid, Oplock, Share } from './lib/smb2/index.js';

const samba = await DevSamba.up();
const test = suite('contention');
let serial = 0;

async function away(share: string) {
  const name = `contended-${++serial}.txt`;
  const a = await samba.connect(share);
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const durable = { version: 2, timeoutMs: 60_000, createGuid: newGuid() } as const;
  const open = await a.open(name, { lease, durable }).ok();
  await open.write(0, 'mine').ok();
  await open.lock({ offset: 0, length: 100 }).ok();
  await a.drop();
  await samba.disconnected(name);
  return { name, a, open, path: samba.sharePath(share, name) };
}

const openers = {
  'opens for writing': { access: Access.READ_WRITE },
  'opens for reading': { access: Access.READ },
  'asks for a lease': { lease: { key: newGuid(), state: LeaseState.RWH } },
  'asks for a batch oplock': { oplock: Oplock.BATCH },
  'overwrites it': { disposition: Disposition.OVERWRITE_IF },
  'shares nothing': { share: Share.NONE },
};

for (const share of ['durable', 'posix']) {
  for (const [what, options] of Object.entries(openers)) {
    test(`${share}: a client that ${what} gets the file at once, locks included`, async () => {
      const { name, a, open, path } = await away(share);
      const other = await samba.connect(share);
      const theirs = await other.open(name, options).ok();
      assert.equal(samba.handle(name).state, 'superseded', 'persistd knows when it is answered');
      assert.equal(tryLock(path, 0, 1), 'locked', 'no kernel lock is left');
      if (what !== 'opens for reading') await theirs.lock({ offset: 0, length: 100 }).ok();
      await theirs.close().ok();
      const back = await samba.back(a, share);
      assert.equal(await back.reconnect(open).code(), 'OBJECT_NAME_NOT_FOUND');
      await back.drop();
      await other.drop();
    });
  }

  test(`${share}: a client that only looks at attributes costs the handle nothing`, async () => {
    const { name, a, open } = await away(share);
    const other = await samba.connect(share);
    const look = await other.open(name, { access: Access.READ_ATTRIBUTES }).ok();
    await look.info.basic().ok();
    await look.close().ok();
    const back = await samba.back(a, share);
    const again = await back.reconnect(open).ok();
    assert.equal(String(await again.read(0, 10).ok()), 'mine');
    await again.close().ok();
  });
}

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
