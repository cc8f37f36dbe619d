// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * Who has what open and locked, as far as the clients know, and which of the
 * rules of docs/outcomes.md explains what they are told. Requests are under way
 * at the same time, so that a rule is broken only if no order of them keeps it.
 */
import {
  type Handle,
  type HeldLock,
  hasHandleCaching,
  isProtected,
  type Mode,
  modesConflict,
  name,
  type Range,
  rangesConflict,
} from './handle.js';
import { OwnRecord } from './records.js';
import { type Disturbance, Disturbances, Outages } from './times.js';

/** From a drop until smbd has done with it, on a busy machine. */
export const SETTLE_MS = 2_000;
/** smbd sets a file's time up to 2 s after the write, and persistd compares it. */
const LATE_TIMES_MS = 3_000;
/** A deadline counts from when smbd saw the drop. */
const DEADLINE_SLACK_MS = 1_000;

export class Model {
  readonly disturbances = new Disturbances();
  readonly outages = new Outages();
  readonly handles = new Set<Handle>();
  /** Writes that may reach the file later than their client knows, until when. */
  readonly stray = new Map<number, number>();
  readonly #own = new Map<string, OwnRecord>();
  #serial = 0;

  nextSerial(): number {
    this.#serial += 1;
    return this.#serial;
  }

  own(file: number, client: number, record: number): OwnRecord {
    const key = `${file}:${client}:${record}`;
    const known = this.#own.get(key) ?? new OwnRecord();
    this.#own.set(key, known);
    return known;
  }

  /** Its share mode and its locks are in force: connected, or kept and protected. */
  isInForce(handle: Handle, nowMs = performance.now()): boolean {
    if (handle.doubt !== null || handle.endedBy !== null) return false;
    if (handle.state === 'connected') return true;
    return (
      handle.state === 'away' &&
      !this.isUnprotected(handle) &&
      isProtected(handle) &&
      nowMs < handle.awayFromMs + handle.timeoutMs
    );
  }

  /** Also those of a durable handle that is away, until somebody else opens the file. */
  #isLockInForce(handle: Handle): boolean {
    if (this.isInForce(handle)) return true;
    if (handle.state !== 'away' || handle.kind !== 'durable') return false;
    return handle.doubt === null && handle.endedBy === null && this.excuse(handle) === null;
  }

  conflictingOpens(file: number, mode: Mode): Handle[] {
    return [...this.handles].filter(
      (h) => h.file === file && this.isInForce(h) && modesConflict(h, mode),
    );
  }

  conflictingLocks(by: Handle, range: Range): HeldLock[] {
    const others = [...this.handles].filter((h) => h.file === by.file && h !== by);
    return others
      .filter((h) => this.#isLockInForce(h))
      .flatMap((h) => h.locks.filter((lock) => lock.isSure && rangesConflict(lock, range)));
  }

  holderOf(lock: HeldLock): string {
    const holder = [...this.handles].find((h) => h.locks.includes(lock));
    return holder ? name(holder) : 'a handle that is over';
  }

  isLockHeld(lock: HeldLock): boolean {
    return [...this.handles].some(
      (h) => h.locks.includes(lock) && lock.isSure && this.#isLockInForce(h),
    );
  }

  /** Others that have the file open for its data, and with another lease. */
  strangers(to: Handle): Handle[] {
    return [...this.handles].filter(
      (h) =>
        h !== to &&
        h.file === to.file &&
        !h.isStat &&
        this.isInForce(h) &&
        (h.leaseKey === null || h.leaseKey !== to.leaseKey),
    );
  }

  /** Whether anything known explains that a file cannot be opened so. */
  explainsViolation(file: number, mode: Mode, sinceMs: number): boolean {
    return [...this.handles].some(
      (h) => h.file === file && modesConflict(h, mode) && this.#mayHinder(h, sinceMs),
    );
  }

  #mayHinder(handle: Handle, sinceMs: number): boolean {
    if (handle.state === 'connected') return true;
    if (handle.state === 'over' && sinceMs < handle.overFromMs + SETTLE_MS) return true;
    // one that was given up may be protected still
    if (handle.state === 'over' && !this.isUnprotected(handle)) return false;
    if (sinceMs < handle.awayFromMs + SETTLE_MS) return true;
    return (
      isProtected(handle) && sinceMs < handle.awayFromMs + handle.timeoutMs + DEADLINE_SLACK_MS
    );
  }

  explainsLockRefusal(by: Handle, range: Range, sinceMs: number): boolean {
    return [...this.handles].some(
      (h) =>
        h !== by &&
        h.file === by.file &&
        (h.state === 'connected' || this.#mayLinger(h, sinceMs)) &&
        h.locks.some((lock) => rangesConflict(lock, range)),
    );
  }

  /** docs/limits.md: locks of an ended durable handle stay while another one is away. */
  #mayLinger(handle: Handle, sinceMs: number): boolean {
    const endMs = Math.max(handle.awayFromMs + handle.timeoutMs, handle.overFromMs);
    return sinceMs < endMs + SETTLE_MS + DEADLINE_SLACK_MS;
  }

  /** Why a handle that is away may rightly be refused; null: it must be given back. */
  excuse(handle: Handle, nowMs = performance.now()): string | null {
    if (handle.endedBy !== null) return handle.endedBy;
    if (handle.doubt !== null) return handle.doubt;
    if (handle.kind === 'volatile') return 'not durable';
    if (this.isUnprotected(handle)) return 'killed while persistd was away';
    if (nowMs > handle.awayFromMs + handle.timeoutMs) return 'deadline';
    return handle.kind === 'durable' ? this.#durableExcuse(handle) : null;
  }

  /** smbd's records of it are put right when persistd is back, if nobody came before. */
  isUnprotected({ wasKilled, awayFromMs }: Handle): boolean {
    return wasKilled && this.outages.touches(awayFromMs);
  }

  #durableExcuse(handle: Handle): string | null {
    if (!hasHandleCaching(handle)) return 'no handle caching';
    const { awayFromMs } = handle;
    const others = this.disturbances.of(handle, awayFromMs - LATE_TIMES_MS);
    if (others.some(({ what }) => what === 'write')) return 'written by another';
    if (others.some(breaks)) return 'opened by another';
    const untilMs = awayFromMs + SETTLE_MS;
    const locked = others.some(({ what, startMs }) => what === 'lock' && startMs < untilMs);
    return locked ? 'locked by another at the drop' : null;
  }

  /** A handle for which the rule has come true for certain must not come back. */
  mustBeOver(handle: Handle, nowMs: number): string | null {
    const { endedBy, awayFromMs, timeoutMs } = handle;
    if (endedBy !== null) return endedBy;
    const lateMs = nowMs - awayFromMs - timeoutMs;
    return lateMs > SETTLE_MS + DEADLINE_SLACK_MS ? 'deadline' : null;
  }

  /** What is long over explains nothing any more. */
  forget(): void {
    const nowMs = performance.now();
    for (const handle of this.handles) {
      if (handle.state === 'over' && !this.#mayLinger(handle, nowMs - 5_000)) {
        this.handles.delete(handle);
      }
    }
    this.disturbances.forget(nowMs - 180_000);
  }
}

/** smbd 4.17 closes a durable handle that is away when anybody opens the file for its data. */
function breaks(open: Disturbance): boolean {
  return open.what === 'open' && !open.by.isStat;
}
