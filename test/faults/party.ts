// SPDX-License-Identifier: GPL-3.0-or-later
/** A client with handles on a file, whose fate an iteration is about. */
import { statSync } from 'node:fs';
import { DURABLE_KINDS, sameDescription } from '../lib/dev-samba.js';
import { acknowledgeBreaks, isDurable } from '../lib/scenario.js';
import {
  LeaseState,
  newGuid,
  type OpenOptions,
  Oplock,
  Share,
  type Smb2Client,
} from '../lib/smb2/index.js';
import type { Random } from '../soak/random.js';
import { answerOf, type Bench, isHost, isPosix, type ShareName } from './bench.js';
import { Held } from './handle.js';

export const KINDS = [
  ...(Object.keys(DURABLE_KINDS) as (keyof typeof DURABLE_KINDS)[]),
  'resilient',
  'resilient, lease v2',
  'persistent, batch oplock',
  'persistent, lease v2',
] as const;
export type KindName = (typeof KINDS)[number];

const isStrong = (kind: KindName): boolean => kind.startsWith('persistent');

/** Persistent handles are granted on shares that are made for them. */
export function shareFor(kind: KindName, share: ShareName): ShareName {
  if (!isStrong(kind)) return share;
  return isPosix(share) ? 'strong-posix' : 'strong';
}

export interface PartyWish {
  share: ShareName;
  kind: KindName;
  /** LeaseState bits. */
  lease?: number;
  /** Share bits. */
  sharing?: number;
  timeoutMs?: number;
  appInstanceId?: Buffer;
  /** How many handles at most; more than one only where they have a lease together. */
  handles?: number;
}

const TIMEOUT_MS = 60_000;
let serial = 0;

export class Party {
  readonly bench: Bench;
  readonly random: Random;
  readonly wish: PartyWish;
  readonly name = `fault-${++serial}.dat`;
  readonly path: string;
  readonly handles: Held[] = [];
  client: Smb2Client;
  /** By file. */
  readonly #leaseKeys = new Map<string, Buffer>();

  private constructor(bench: Bench, random: Random, wish: PartyWish, client: Smb2Client) {
    this.bench = bench;
    this.random = random;
    this.wish = wish;
    this.client = client;
    this.path = bench.samba.sharePath(wish.share, this.name);
  }

  /** With records and locks, and known to persistd. */
  static async meet(bench: Bench, random: Random, wish: PartyWish): Promise<Party> {
    const client = await bench.connect(wish.share);
    acknowledgeBreaks(client);
    const party = new Party(bench, random, wish, client);
    const most = party.hasLease ? (wish.handles ?? 3) : 1;
    const count = 1 + random.int(most);
    for (let i = 0; i < count; i += 1) {
      const held = await party.open(party.name, i);
      if (held === undefined) throw new Error('no handle, and nobody died');
      for (let n = random.int(3); n >= 0; n -= 1) await held.write();
      await held.lock(false, party.isNumbered);
      if (random.chance(0.5)) await held.lock(true, party.isNumbered);
    }
    await party.known();
    // a disk that is slow costs a handle that
    const views = await bench.handlesOf(party.path);
    if (isHost(wish.share) && views.some(({ durability }) => durability !== 'host')) {
      throw new Error('the disk was too slow for durability host');
    }
    return party;
  }

  /** smbd heeds a lock sequence of handles that are resilient only. */
  get isNumbered(): boolean {
    return this.isResilient && this.random.chance(0.5);
  }

  get isResilient(): boolean {
    return this.wish.kind.startsWith('resilient');
  }

  get hasLease(): boolean {
    return this.wish.kind.includes('lease');
  }

  /** Whether its locks are the kernel's, too. */
  get isPosix(): boolean {
    return isPosix(this.wish.share);
  }

  #optionsFor(name: string): OpenOptions {
    const key = this.#leaseKeys.get(name) ?? newGuid();
    this.#leaseKeys.set(name, key);
    const { kind, lease, sharing, timeoutMs, appInstanceId } = this.wish;
    const { version } = DURABLE_KINDS[kind as keyof typeof DURABLE_KINDS] ?? { version: 2 };
    const v2 = { version: 2, timeoutMs: timeoutMs ?? TIMEOUT_MS, createGuid: newGuid() } as const;
    const level: OpenOptions = this.hasLease
      ? {
          lease: {
            key,
            state: lease ?? LeaseState.RWH,
            version: kind.endsWith('v1') ? 1 : 2,
          },
        }
      : { oplock: Oplock.BATCH };
    return {
      share: sharing ?? Share.ALL,
      ...(appInstanceId && { appInstanceId }),
      ...(kind === 'resilient' ? {} : { ...level, durable: version === 1 ? { version } : v2 }),
    };
  }

  /** Another handle; undefined without an answer. */
  async open(name: string, region: number): Promise<Held | undefined> {
    const reply = await answerOf(this.client.open(name, this.#optionsFor(name)));
    if (reply === undefined) return undefined;
    const open = reply.ok();
    const path = this.bench.samba.sharePath(this.wish.share, name);
    const held = new Held(open, path, region, isStrong(this.wish.kind) ? 'persistent' : 'durable');
    this.handles.push(held);
    if (this.isResilient) {
      // without an answer it is what it was: nothing is promised to the client
      const code = await held.makeResilient(this.wish.timeoutMs ?? TIMEOUT_MS);
      if (code !== 'SUCCESS') return this.#withdraw(held);
    } else if (!isDurable(open)) throw new Error(`${this.wish.kind} is not granted`);
    return held;
  }

  #withdraw(held: Held): undefined {
    this.handles.splice(this.handles.indexOf(held), 1);
  }

  /** Until persistd has each in a state, and the keeper its descriptor. */
  async #are(states: readonly string[]): Promise<void> {
    const paths = new Set(this.#living.map(({ path }) => path));
    for (const path of paths) {
      const count = this.#living.filter((held) => held.path === path).length;
      await this.bench.until(`${count} handles of ${path} ${states}`, async () => {
        const known = (await this.bench.handlesOf(path)).filter(
          (h) => states.includes(h.state) && h.retained,
        );
        return known.length >= count;
      });
    }
  }

  get #living(): Held[] {
    return this.handles.filter(({ end }) => end === null);
  }

  /** Connected, and known to persistd and the keeper. */
  known(): Promise<void> {
    return this.#are(['connected']);
  }

  /** The network fails, and persistd hears of it. */
  async drop(): Promise<void> {
    await this.client.drop();
    await this.#are(['disconnected']);
  }

  async comeBack(): Promise<void> {
    this.client = await this.bench.back(this.client);
    acknowledgeBreaks(this.client);
  }

  /** Whether the client's smbd child has the description that the keeper has. */
  isKeptDescription(path: string): boolean {
    const { dev, ino } = statSync(path);
    const pids = [this.bench.childOf(this.client), this.bench.pid('keeper')];
    const [child, keeper] = pids;
    return Boolean(child && keeper && sameDescription(child, keeper, dev, ino));
  }
}
