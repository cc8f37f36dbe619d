// SPDX-License-Identifier: GPL-3.0-or-later
/** One handle of the owner, and what he knows of it by the answers that he got. */
import type { Open } from '../lib/smb2/index.js';
import { answerOf } from './bench.js';
import { RECORD_BYTES, record } from './records.js';

/** Each handle of a file has ranges of its own: to write, and to lock. */
const REGION_BYTES = 65_536;
const LOCKS_AT = 2 ** 20;
const LOCK_STEP = 32;
const LOCK_BYTES = 10;

export interface Range {
  offset: number;
  length: number;
}

export interface Lock extends Range {
  isShared: boolean;
  /** By the lock sequence (MS-SMB2 2.2.26), where it has one. */
  sequence?: { index: number; number: number };
  /** Unanswered: nobody can know whether it is there. */
  state: 'held' | 'free' | 'unsure';
}

export type End = 'closed' | 'perhaps closed';

export type Kind = 'durable' | 'resilient' | 'persistent';

export class Held {
  open: Open;
  readonly path: string;
  readonly writer: string;
  readonly region: number;
  kind: Kind;
  /** What its client has done to it. */
  end: End | null = null;
  readonly locks: Lock[] = [];
  readonly written = { answered: 0, perhaps: false };
  /** Its client asked for it while persistd or the keeper was away. */
  isTooEarly = false;
  /** Bits of what the client may cache. */
  level: number;

  constructor(open: Open, path: string, region: number, kind: Kind) {
    this.open = open;
    this.path = path;
    this.region = region;
    this.kind = kind;
    this.writer = `${open.path}/${region}`;
    this.level = open.granted.lease?.state ?? open.oplock;
  }

  get recordsAt(): number {
    return this.region * REGION_BYTES;
  }

  async write(): Promise<void> {
    const number = this.written.answered;
    const at = this.recordsAt + number * RECORD_BYTES;
    this.written.perhaps = true;
    const reply = await answerOf(this.open.write(at, record(this.writer, number)));
    if (reply === undefined) return;
    reply.ok();
    this.written.answered += 1;
    this.written.perhaps = false;
  }

  /** The next range of its own; `isNumbered`: with a lock sequence. */
  async lock(isShared: boolean, isNumbered = false): Promise<Lock> {
    const index = this.locks.length;
    const lock: Lock = {
      offset: LOCKS_AT + this.region * REGION_BYTES + index * LOCK_STEP,
      length: LOCK_BYTES,
      isShared,
      state: 'unsure',
      ...(isNumbered ? { sequence: { index: index + 1, number: 1 } } : {}),
    };
    this.locks.push(lock);
    const reply = await answerOf(this.sendLock(lock));
    if (reply === undefined) return lock;
    reply.ok();
    lock.state = 'held';
    return lock;
  }

  sendLock({ isShared, sequence, offset, length }: Lock) {
    return this.open.lock({ offset, length }, { shared: isShared, ...(sequence && { sequence }) });
  }

  async unlock(lock: Lock): Promise<void> {
    lock.state = 'unsure';
    delete lock.sequence;
    const { offset, length } = lock;
    const reply = await answerOf(this.open.unlock({ offset, length }));
    if (reply === undefined) return;
    reply.ok();
    lock.state = 'free';
  }

  async close(): Promise<void> {
    this.end = 'perhaps closed';
    const reply = await answerOf(this.open.close());
    if (reply === undefined) return;
    reply.ok();
    this.end = 'closed';
  }

  async makeResilient(timeoutMs: number): Promise<string> {
    const reply = await answerOf(this.open.requestResiliency(timeoutMs));
    if (reply?.code === 'SUCCESS' && this.kind === 'durable') this.kind = 'resilient';
    return reply?.code ?? 'no answer';
  }
}
