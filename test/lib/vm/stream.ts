// SPDX-License-Identifier: GPL-3.0-or-later
/** Clients at work when the power is cut, and what they had been told until then. */
import { strict as assert } from 'node:assert';
import type { HandleView } from '../../../daemon/src/shared/handle-view.js';
import { LeaseState, newGuid, type Open, type Smb2Client } from '../smb2/index.js';
import type { VmServer } from './server.js';

const CLIENTS = 4;
/** Beyond the data, three ranges for each file. */
const ranges = [1000, 1010, 1020].map((offset) => ({ offset, length: 5 }));

interface Work {
  client: Smb2Client;
  open: Open;
  /** The CREATE, or for a resilient handle the ioctl, was answered. */
  promised: boolean;
  /** By the number of the range; undefined: the request was under way. */
  locks: (boolean | undefined)[];
  /** What a FLUSH was answered for. */
  flushed: string;
}

export class Stream {
  readonly #vm: VmServer;
  readonly #name: string;
  readonly #done: Work[] = [];
  #isCut = false;
  #finished = 0;

  private constructor(vm: VmServer, name: string) {
    this.#vm = vm;
    this.#name = name;
  }

  /** Some clients work, and the power is cut in the midst of it, after some files. */
  static async cutDuring(vm: VmServer, name: string, files: number): Promise<Stream> {
    const stream = new Stream(vm, name);
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => vm.connect()));
    const working = clients.map((client, i) => stream.#work(client, i));
    const enough = new Promise<void>((resolve) => {
      stream.#onFinished = () => stream.#finished >= files && resolve();
    });
    await Promise.race([enough, Promise.all(working)]);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
    stream.#isCut = true;
    await vm.powerOff();
    await Promise.all(working);
    return stream;
  }

  #onFinished: () => void = () => undefined;

  async #work(client: Smb2Client, worker: number): Promise<void> {
    try {
      for (let i = 0; ; i++) {
        await this.#oneFile(client, `${this.#name}-${worker}-${i}`, i % 2 === 0);
        this.#finished++;
        this.#onFinished();
      }
    } catch (error) {
      if (!this.#isCut) throw error;
    }
  }

  async #oneFile(client: Smb2Client, name: string, isResilient: boolean): Promise<void> {
    const wish = isResilient
      ? { share: 0 }
      : {
          lease: { key: newGuid(), state: LeaseState.RWH },
          durable: { version: 2, createGuid: newGuid() } as const,
        };
    const open = await client.open(name, wish).ok();
    const work: Work = { client, open, promised: !isResilient, locks: [], flushed: '' };
    this.#done.push(work);
    if (isResilient) {
      const status = await open.requestResiliency(0).code();
      work.promised = status === 'SUCCESS';
    }
    for (const [i, range] of ranges.entries()) {
      work.locks[i] = undefined;
      await open.lock(range).ok();
      work.locks[i] = true;
    }
    work.locks[1] = undefined;
    await open.unlock(ranges[1] as (typeof ranges)[0]).ok();
    work.locks[1] = false;
    const text = `${name} `.repeat(20);
    await open.write(0, text).ok();
    await open.flush().ok();
    work.flushed = text;
  }

  /**
   * Each client has again what it was told that it has. `weak` are the handles of which the
   * server's logs said that they would not outlive it. Returns how many were checked.
   */
  async check(handles: readonly HandleView[], weak: ReadonlySet<string>): Promise<number> {
    const promised = this.#done.filter(({ client, open, promised }) => {
      const known = handles.find((handle) => handle.filename === open.path);
      // what the logs said of the last one of a client may have been lost at the cut
      const isLast = this.#done.filter((work) => work.client === client).at(-1)?.open === open;
      return promised && (known === undefined ? !isLast : !weak.has(known.id));
    });
    for (const old of new Set(promised.map(({ client }) => client))) {
      const client = await this.#vm.back(old);
      for (const work of promised) if (work.client === old) await checkOne(client, work);
      await client.drop();
    }
    return promised.length;
  }
}

async function checkOne(client: Smb2Client, { open, locks, flushed }: Work): Promise<void> {
  const again = await client.reconnect(open);
  assert.equal(again.code, 'SUCCESS', `${open.path} is resumed`);
  const back = again.ok();
  assert.equal(back.granted.lease?.state, open.granted.lease?.state);
  for (const [i, locked] of locks.entries()) {
    if (locked === undefined) continue;
    const status = await back.unlock(ranges[i] as (typeof ranges)[0]).code();
    assert.equal(status, locked ? 'SUCCESS' : 'RANGE_NOT_LOCKED', `${open.path}, range ${i}`);
  }
  const data = await back.read(0, 1000);
  if (flushed) assert.equal(String(data.ok()), flushed, `${open.path}: what was flushed`);
  await back.close().ok();
}
