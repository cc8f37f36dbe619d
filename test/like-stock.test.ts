// SPDX-License-Identifier: GPL-3.0-or-later
/** What a client sees of its file after a drop is what it sees on a stock share. */
import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import { DevSamba, DURABLE_KINDS } from './lib/dev-samba.js';
import { type Kind, newName, optionsOf } from './lib/scenario.js';
import {
  CreateOption,
  Disposition,
  FileAttribute,
  type Open,
  type OpenOptions,
  type Smb2Client,
} from './lib/smb2/index.js';

const samba = await DevSamba.up();
const test = suite('like stock');

/** 2001-02-03, in units of 100 ns since 1601. */
const STICKY = 126256320000000000n;

interface Play {
  share: string;
  name: string;
  client: Smb2Client;
  open: Open;
  /** The client goes and comes back; the code of its reconnect. */
  bounce(): Promise<string>;
}

type Scene = (play: Play) => Promise<unknown>;

async function play(share: string, options: OpenOptions, scene: Scene): Promise<unknown> {
  const name = newName();
  const client = await samba.connect(share);
  const now: Play = {
    share,
    name,
    client,
    open: await client.open(name, options).ok(),
    bounce: async () => {
      const old = now.client;
      await old.drop();
      now.client = await samba.back(old, share);
      const reply = await now.client.reconnect(now.open);
      if (reply.code === 'SUCCESS') now.open = reply.ok();
      return reply.code;
    },
  };
  const seen = await scene(now);
  await now.client.drop();
  return seen;
}

/** All but what differs between any two files: their times, numbers and names. */
async function all(open: Open) {
  const { basic, standard, access, position } = await open.info.all().ok();
  return { attributes: basic.attributes, standard, access, position };
}

/** Of a CREATE's answer, the same. */
function answer({ result }: Open) {
  const { oplock, createAction, allocationSizeBytes, endOfFileBytes, attributes, granted } = result;
  const { lease } = granted;
  return {
    oplock,
    createAction,
    allocationSizeBytes,
    endOfFileBytes,
    attributes,
    durable: [granted.durableV1, granted.durableV2],
    lease: lease && [lease.state, lease.flags, lease.version, lease.epoch],
    contexts: result.contexts.map(({ name }) => String(name)),
  };
}

/** A client that looks at the file when nobody has it open. */
async function later({ client, share, name }: Play) {
  const other = await samba.connect(share, { clientGuid: client.clientGuid });
  const open = await other.open(name, { disposition: Disposition.OPEN }).ok();
  const { basic, standard } = await open.info.all().ok();
  await open.close().ok();
  await other.drop();
  return { basic, standard };
}

const SCENES: Record<string, Scene> = {
  'the answer to the reconnect': async (p) => {
    await p.open.write(0, Buffer.alloc(5000)).ok();
    const code = await p.bounce();
    return [code, answer(p.open), await all(p.open)];
  },
  'the answers to three reconnects': async (p) => {
    const seen = [];
    for (let i = 0; i < 3; i++) {
      await p.open.write(i * 10, 'more data').ok();
      seen.push(await p.bounce(), answer(p.open), await all(p.open));
    }
    return seen;
  },
  'the file position': async (p) => {
    await p.open.info.setPosition(4711n).ok();
    const code = await p.bounce();
    const position = await p.open.info.position().ok();
    await p.open.info.setPosition(3n).ok();
    return [code, position, await p.bounce(), await p.open.info.position().ok()];
  },
  'an allocation size that was set': async (p) => {
    await p.open.info.setAllocation(1048576n).ok();
    const before = await all(p.open);
    const code = await p.bounce();
    return [before, code, answer(p.open), await all(p.open)];
  },
  'the end of the file, set before and after': async (p) => {
    await p.open.info.setEndOfFile(12345n).ok();
    const code = await p.bounce();
    const before = await all(p.open);
    await p.open.info.setEndOfFile(99n).ok();
    return [code, before, await all(p.open), (await p.open.read(98, 10)).ok().length];
  },
  'reads and writes, at the end too': async (p) => {
    await p.open.write(0, 'abc').ok();
    const code = await p.bounce();
    const codes = [await p.open.read(3, 1).code(), await p.open.read(0, 3).code()];
    await p.open.write(10, 'x').ok();
    return [code, codes, String(await p.open.read(0, 100).ok()), await p.open.flush().code()];
  },
  'attributes that were set': async (p) => {
    await p.open.info.setBasic({ attributes: FileAttribute.HIDDEN | FileAttribute.SYSTEM }).ok();
    const code = await p.bounce();
    const before = (await p.open.info.basic().ok()).attributes;
    await p.open.info.setBasic({ attributes: FileAttribute.READONLY }).ok();
    const again = await p.bounce();
    return [code, before, again, (await p.open.info.basic().ok()).attributes];
  },
  'a write time that was set stays, though there are writes after it': async (p) => {
    await p.open.write(0, 'first').ok();
    await p.open.info.setBasic({ lastWriteTime: STICKY }).ok();
    await p.open.write(0, 'second').ok();
    const code = await p.bounce();
    const back = (await p.open.info.basic().ok()).lastWriteTime;
    await p.open.write(0, 'third').ok();
    const written = (await p.open.info.basic().ok()).lastWriteTime;
    await p.open.close().ok();
    return [code, back, written, (await later(p)).basic.lastWriteTime];
  },
  'a write time that was set after the resume stays': async (p) => {
    await p.open.write(0, 'first').ok();
    const code = await p.bounce();
    await p.open.write(0, 'second').ok();
    await p.open.info.setBasic({ lastWriteTime: STICKY }).ok();
    await p.open.write(0, 'third').ok();
    await p.open.close().ok();
    return [code, (await later(p)).basic.lastWriteTime];
  },
  'write times that nobody set': async (p) => {
    const created = (await p.open.info.basic().ok()).lastWriteTime;
    await p.open.write(0, 'first').ok();
    const written = (await p.open.info.basic().ok()).lastWriteTime;
    const code = await p.bounce();
    const back = (await p.open.info.basic().ok()).lastWriteTime;
    await p.open.write(0, 'second').ok();
    const again = (await p.open.info.basic().ok()).lastWriteTime;
    await p.open.close().ok();
    const final = (await later(p)).basic.lastWriteTime;
    const order = (a: bigint, b: bigint) => (a < b ? 'later' : a === b ? 'same' : 'earlier');
    return [code, order(created, written), order(back, again), order(created, final), back > 0n];
  },
  'a write time without a write after the resume': async (p) => {
    await p.open.write(0, 'first').ok();
    const code = await p.bounce();
    const back = (await p.open.info.basic().ok()).lastWriteTime;
    await p.open.close().ok();
    return [code, (await later(p)).basic.lastWriteTime === back];
  },
  'creation and other times are the same before and after': async (p) => {
    const before = await p.open.info.basic().ok();
    const code = await p.bounce();
    const { creationTime, lastAccessTime, lastWriteTime, changeTime } = await p.open.info
      .basic()
      .ok();
    return [
      code,
      creationTime === before.creationTime,
      lastAccessTime === before.lastAccessTime,
      lastWriteTime === before.lastWriteTime,
      changeTime === before.changeTime,
    ];
  },
  'delete pending before the drop': async (p) => {
    await p.open.info.setDeletePending(true).ok();
    const code = await p.bounce();
    return [code, existsSync(samba.sharePath(p.share, p.name))];
  },
  'delete pending taken back before the drop': async (p) => {
    await p.open.info.setDeletePending(true).ok();
    await p.open.info.setDeletePending(false).ok();
    const code = await p.bounce();
    const { standard } = await all(p.open);
    await p.open.close().ok();
    return [code, standard, existsSync(samba.sharePath(p.share, p.name))];
  },
  'delete pending after the resume': async (p) => {
    const code = await p.bounce();
    await p.open.info.setDeletePending(true).ok();
    const { standard } = await all(p.open);
    await p.open.close().ok();
    return [code, standard, existsSync(samba.sharePath(p.share, p.name))];
  },
  'a rename by the resumed handle': async (p) => {
    const code = await p.bounce();
    const renamed = await p.open.info.rename(`${p.name}.new`).code();
    const { name } = await p.open.info.all().ok();
    await p.open.close().ok();
    return [
      code,
      renamed,
      name.endsWith('.new'),
      existsSync(samba.sharePath(p.share, p.name)),
      existsSync(samba.sharePath(p.share, `${p.name}.new`)),
    ];
  },
};

const ASKED: Record<string, (kind: Kind) => OpenOptions> = {
  'as usual': (kind) => optionsOf(kind),
  'with AlSi': (kind) => ({ ...optionsOf(kind), allocationSizeBytes: 1048576n }),
};

for (const [what, scene] of Object.entries(SCENES)) {
  for (const label of ['v1, batch oplock', 'v2, lease v2'] as const) {
    for (const [how, asked] of Object.entries(ASKED)) {
      test(`${label}, ${how}: ${what}`, async () => {
        const options = () => asked(DURABLE_KINDS[label]);
        const stock = await play('plain', options(), scene);
        const isResumed = what !== 'delete pending before the drop';
        assert.equal([stock].flat().includes('SUCCESS'), isResumed, 'stock resumes it');
        assert.deepEqual(await play('durable', options(), scene), stock);
      });
    }
  }
}

test('DELETE_ON_CLOSE: the file goes with the drop, as on stock', async () => {
  for (const share of ['plain', 'durable', 'posix']) {
    const options = CreateOption.NON_DIRECTORY_FILE | CreateOption.DELETE_ON_CLOSE;
    const asked = { ...optionsOf(DURABLE_KINDS['v2, lease v2']), options };
    const seen = await play(share, asked, async (p) => {
      const code = await p.bounce();
      return [code, existsSync(samba.sharePath(share, p.name))];
    });
    assert.deepEqual(seen, ['OBJECT_NAME_NOT_FOUND', false], share);
  }
});

test('nothing is left behind', () => samba.nothingLeft());
test.after(() => samba.down());
test.run();
