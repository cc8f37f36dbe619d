// SPDX-License-Identifier: GPL-3.0-or-later
/** One client machine: its connection, how it goes away, and how it comes back. */
import { setTimeout as elapse } from 'node:timers/promises';
import type { DevSamba } from '../lib/dev-samba.js';
import {
  type Call,
  LeaseState,
  newGuid,
  type Open,
  Oplock,
  type Reply,
  type Smb2Client,
  type Tree,
} from '../lib/smb2/index.js';
import { type Handle, name } from './handle.js';
import { type Model, SETTLE_MS } from './model.js';
import { childOf } from './processes.js';
import type { Random } from './random.js';
import type { Report } from './report.js';

export type Departure = 'drop' | 'kill' | 'logoff' | 'partition';

/** Nobody may be kept waiting for longer, on a busy machine. */
const PATIENCE_MS = 15_000;
/** How long a client tries to resume: persistd may be away, or too slow on a busy machine. */
const OUTAGE_PATIENCE_MS = 12_000;

/** What was under way ends so; whether it was done nobody knows. */
const AFTER_LOGOFF = [
  'CANCELLED',
  'FILE_CLOSED',
  'NETWORK_NAME_DELETED',
  'NETWORK_SESSION_EXPIRED',
  'USER_SESSION_DELETED',
];

/** As long as the module waits for persistd to make a handle resilient, nearly. */
const WHOLE_WAIT_MS = 190;
const IMPATIENT_MS = 1_500;
const HUNG_UP = /closed by the server|ECONNRESET/;

export interface World {
  samba: DevSamba;
  smbdPid: number;
  model: Model;
  report: Report;
  /** The first one is connected first; all export the same directory. */
  shares: readonly string[];
  files: readonly string[];
}

export class SoakClient {
  readonly id: number;
  readonly world: World;
  readonly random: Random;
  readonly guid = newGuid();
  readonly trees = new Map<string, Tree>();
  /** Of the handles that it has, or believes to have. */
  readonly opens = new Map<Handle, Open>();
  isLeaving = false;
  /** The server has ended the connection. */
  isCut = false;
  #smb: Smb2Client | undefined;
  #how: Departure = 'drop';
  #slowAtMs = Number.NEGATIVE_INFINITY;
  #leaseKeys = new Map<number, Buffer>();

  constructor(id: number, world: World, random: Random) {
    this.id = id;
    this.world = world;
    this.random = random;
  }

  get connected(): Handle[] {
    return [...this.opens.keys()].filter((h) => h.state === 'connected' && !h.isBusy);
  }

  get away(): Handle[] {
    return [...this.opens.keys()].filter((h) => h.state === 'away');
  }

  /**
   * smbd's record of a lease outlives a handle that ended while its client was
   * away (docs/limits.md), and would give its state to the next open with its key.
   */
  changeLeaseKey(file: number): void {
    this.#leaseKeys.delete(file);
  }

  /** One for each file, as Windows does it. */
  leaseKey(file: number): Buffer {
    const key = this.#leaseKeys.get(file) ?? newGuid();
    this.#leaseKeys.set(file, key);
    return key;
  }

  open(handle: Handle): Open {
    const open = this.opens.get(handle);
    if (!open) throw new Error(`${name(handle)} has no open`);
    return open;
  }

  error(what: string): void {
    this.world.report.error(this.id, what);
  }

  /** Its smbd child may have waited for persistd in vain, and does not wait for a second now. */
  get isImpatient(): boolean {
    return performance.now() - this.#slowAtMs < IMPATIENT_MS;
  }

  /** The answer, or null when the connection was ended while the request was under way. */
  async request<T>(what: string, call: Call<T>): Promise<Reply<T> | null> {
    const startMs = performance.now();
    try {
      const reply = await call;
      if (this.isLeaving && AFTER_LOGOFF.includes(reply.code)) throw new Error(reply.code);
      const tookMs = performance.now() - startMs;
      if (tookMs > WHOLE_WAIT_MS) this.#slowAtMs = performance.now();
      this.world.report.answered(this.id, what, reply.code, tookMs);
      if (tookMs > PATIENCE_MS) this.error(`${what} took ${Math.round(tookMs)} ms`);
      return reply;
    } catch (error) {
      this.world.report.note(this.id, `${what}: no answer`);
      const why = error instanceof Error ? error.message : String(error);
      if (!this.isLeaving && HUNG_UP.test(why)) this.#hungUp();
      else if (!this.isLeaving) this.error(`${what}: ${why}`);
      return null;
    }
  }

  async connect(previousSessionId?: bigint): Promise<void> {
    const { samba, shares } = this.world;
    const [first = ''] = shares;
    this.trees.clear();
    this.isLeaving = false;
    const previous = previousSessionId === undefined ? {} : { previousSessionId };
    this.#smb = await samba.connect(first, { clientGuid: this.guid, ...previous });
    this.#followBreaks(this.#smb);
    this.trees.set(first, this.#smb.tree);
    for (const share of shares.slice(1)) {
      this.trees.set(share, await this.#smb.treeConnect(share).ok());
    }
  }

  #followBreaks(smb: Smb2Client): void {
    smb.on('leaseBreak', (broken) => {
      const key = broken.key.toString('hex');
      for (const handle of this.opens.keys()) {
        if (handle.leaseKey === key) handle.level = broken.newState;
      }
      this.world.report.note(this.id, `break of lease ${key.slice(0, 4)} to ${broken.newState}`);
      if (broken.ackRequired) broken.ack();
    });
    smb.on('oplockBreak', (broken) => {
      for (const [handle, open] of this.opens) {
        if (open.fileId.equals(broken.fileId)) handle.level = levelOf(broken.level);
      }
      this.world.report.note(this.id, `break of an oplock to ${broken.level}`);
      // its CREATE may not have been answered yet: the tree that knows it takes it
      for (const tree of this.trees.values()) {
        broken.ack(broken.level, {}, (request) => tree.send(request));
      }
    });
  }

  /** smbd has ended the connection, which the report must explain in the end. */
  #hungUp(): void {
    this.world.report.hangUps += 1;
    this.isLeaving = true;
    this.isCut = true;
    this.#how = 'drop';
    for (const handle of this.opens.keys()) {
      if (handle.state === 'connected') this.goAway(handle);
    }
  }

  async comeBack(): Promise<void> {
    this.isCut = false;
    await this.#return(this.#smb?.session.id);
    this.world.report.note(this.id, 'is back after the server hung up');
  }

  /** Ends the connection, with whatever is under way. */
  async leave(how: Departure, underWay?: Promise<void>): Promise<void> {
    const smb = this.#smb;
    if (!smb) return;
    const { report } = this.world;
    report.note(this.id, `leaves: ${how}`);
    this.isLeaving = true;
    this.#how = how;
    const leaving = [...this.opens.keys()].filter((handle) => handle.state === 'connected');
    // cut off, it still has its handles, until the server learns of it
    const atMs = how === 'partition' ? Number.POSITIVE_INFINITY : performance.now();
    for (const handle of leaving) this.goAway(handle, atMs);
    const sessionId = smb.session.id;
    if (how === 'kill') {
      report.kills += 1;
      const pid = childOf(this.world.smbdPid, smb.connection.transport.localPort ?? 0);
      if (pid === undefined) this.error('no smbd child serves it');
      else process.kill(pid, 'SIGKILL');
      await smb.closed;
    } else if (how === 'logoff') {
      await smb.session
        .logoff()
        .code()
        .catch(() => undefined);
      await smb.drop();
    } else if (how === 'partition') {
      smb.partition();
    } else {
      await smb.drop();
    }
    report.drops += 1;
    if (how === 'partition') await elapse(this.random.int(400));
    else await underWay;
    await elapse(this.#absenceMs());
    for (const handle of this.away) {
      if (how === 'partition' && leaving.includes(handle)) this.goAway(handle);
    }
    // without it the server has to find out by itself, and what was under way holds that up
    const isForgetful =
      how === 'logoff' || (how === 'drop' && !underWay && this.random.chance(0.3));
    await this.#return(isForgetful ? undefined : sessionId);
    if (how === 'partition') await smb.drop();
    report.note(this.id, 'is back');
  }

  #absenceMs(): number {
    const { random } = this;
    const length = random.weighted({ short: 5, longer: 3, long: 2 });
    return { short: random.int(50), longer: random.int(500), long: 500 + random.int(3_500) }[
      length
    ];
  }

  /** With the connection. */
  goAway(handle: Handle, atMs = performance.now()): void {
    const { disturbances } = this.world.model;
    handle.awayFromMs = atMs;
    handle.wasKilled = this.#how === 'kill';
    if (handle.hasWritten) disturbances.end(disturbances.begin('write', handle), SETTLE_MS);
    if (handle.kind === 'volatile' && atMs !== Number.POSITIVE_INFINITY) this.over(handle);
    else handle.state = 'away';
    if (this.#how === 'kill') this.changeLeaseKey(handle.file);
  }

  /** For good: some handles are closed, the others left behind. */
  async end(): Promise<void> {
    for (const handle of this.connected) {
      if (this.random.chance(0.5))
        await this.request(`CLOSE ${name(handle)}`, this.open(handle).close());
    }
    this.isLeaving = true;
    await this.#smb?.drop();
  }

  over(handle: Handle): void {
    handle.state = 'over';
    handle.overFromMs = performance.now();
    this.opens.delete(handle);
  }

  async #return(previousSessionId?: bigint): Promise<void> {
    try {
      await this.connect(previousSessionId);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (HUNG_UP.test(why)) this.world.report.hangUps += 1;
      else this.error(`cannot connect: ${why}`);
      await elapse(1_000);
      await this.connect(previousSessionId);
    }
    for (const handle of this.away) {
      if (!this.random.chance(0.08)) await this.resume(handle);
    }
  }

  async resume(handle: Handle): Promise<void> {
    const { model, report } = this.world;
    const open = this.open(handle);
    const giveUpMs = performance.now() + OUTAGE_PATIENCE_MS;
    for (;;) {
      const startMs = performance.now();
      const strangers = model.strangers(handle);
      const tree = this.trees.get(handle.shareName);
      if (!tree) throw new Error(`no tree ${handle.shareName}`);
      const reply = await this.request(`RESUME ${name(handle)}`, tree.reconnect(open));
      if (reply === null) return;
      if (reply.value !== undefined) {
        this.#resumed(handle, reply.value, startMs);
        this.checkLevel(handle, strangers);
        return;
      }
      const excuse = model.excuse(handle);
      const isOutage = model.outages.touches(handle.awayFromMs);
      const mayCome = excuse === null || model.isUnprotected(handle);
      if (mayCome && performance.now() < giveUpMs) {
        report.refusedBy(`persistd ${isOutage ? 'away' : 'slow'}, tried again`);
        await elapse(250);
        continue;
      }
      this.changeLeaseKey(handle.file);
      if (excuse !== null) report.refusedBy(excuse);
      else this.error(`lost ${name(handle)}: ${reply.code}${isOutage ? ' after an outage' : ''}`);
      this.over(handle);
      return;
    }
  }

  #resumed(handle: Handle, open: Open, startMs: number): void {
    const { model, report } = this.world;
    const rule = model.mustBeOver(handle, startMs);
    if (rule !== null) this.error(`${name(handle)} came back, though it ended by: ${rule}`);
    report.resumes += 1;
    handle.resumes += 1;
    handle.state = 'connected';
    handle.doubt = null;
    handle.endedBy = null;
    handle.isBusy = false;
    this.opens.set(handle, open);
    this.takeLevel(handle, open);
  }

  takeLevel(handle: Handle, open: Open): void {
    const { lease } = open.granted;
    handle.level = lease ? lease.state : levelOf(open.oplock);
    if (lease === undefined) return;
    for (const other of this.opens.keys()) {
      if (other.leaseKey === handle.leaseKey) other.level = lease.state;
    }
  }

  /** `strangers`: who had the file open before the request. */
  checkLevel(handle: Handle, strangers: readonly Handle[]): void {
    if ((handle.level & LeaseState.W) === 0) return;
    const still = new Set(this.world.model.strangers(handle));
    for (const other of strangers.filter((one) => still.has(one))) {
      this.error(`${name(handle)} may cache writes while ${name(other)} has the file open`);
    }
  }
}

export function levelOf(oplock: number): number {
  if (oplock === Oplock.BATCH) return LeaseState.RWH;
  if (oplock === Oplock.EXCLUSIVE) return LeaseState.RW;
  return oplock === Oplock.LEVEL_II ? LeaseState.R : LeaseState.NONE;
}
