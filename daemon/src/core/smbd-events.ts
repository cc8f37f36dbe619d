// SPDX-License-Identifier: GPL-3.0-or-later
// What smbd children report, applied to the table.

import type { HandleRecord, ServerId } from '../wire/records.js';
import type { EventBody, SmbdEvent } from '../wire/smbd.js';
import type { Contention } from './contention.js';
import type { Context } from './context.js';
import { count } from './counters.js';
import { deadlineAfter, type Handle } from './handle.js';
import { imported, importFailed } from './imports.js';
import type { KeeperView } from './keeper-view.js';
import { renamed, unlinked } from './names.js';
import type { Remaking } from './remaking.js';
import { APP_INSTANCE } from './takeover.js';
import { writeTimeSet } from './write-times.js';

export class SmbdEvents {
  readonly #context: Context;
  readonly #keeper: KeeperView;
  readonly #contention: Contention;
  readonly #remaking: Remaking;

  constructor(context: Context, keeper: KeeperView, contention: Contention, remaking: Remaking) {
    this.#remaking = remaking;
    this.#context = context;
    this.#keeper = keeper;
    this.#contention = contention;
  }

  apply(server: ServerId, event: SmbdEvent): void {
    this.#context.counters.events++;
    switch (event.type) {
      case 'grant':
        return this.#grant(server, event.body);
      case 'resumed':
        return this.#resumed(server, event.body);
      case 'rename':
        return renamed(this.#context, event.body);
      case 'conflict':
        return this.#contention.conflict(event.body);
      case 'writeTime':
        return writeTimeSet(this.#context, event.body);
      case 'unsafe':
        return this.#contention.unsafe(event.body);
      case 'unlink':
        return unlinked(this.#context, event.body);
      case 'sync':
        return this.#sync(server, event.body);
      default:
        return this.#onHandle(server, event);
    }
  }

  #onHandle(
    server: ServerId,
    event: Extract<
      SmbdEvent,
      {
        type:
          | 'lock'
          | 'unlock'
          | 'disconnect'
          | 'resumeFailed'
          | 'imported'
          | 'importFailed'
          | 'close';
      }
    >,
  ): void {
    const handle = this.#context.table.live(event.body.cookie);
    if (handle === undefined) {
      this.#context.counters.unknownCookies++;
      if (event.type === 'close') this.#keeper.expectGone(event.body.cookie);
      return;
    }
    switch (event.type) {
      case 'lock':
        return this.#lock(handle, event.body);
      case 'unlock':
        return this.#unlock(handle, event.body);
      case 'disconnect':
        return this.#disconnect(server, handle, event.body);
      case 'resumeFailed':
        return this.#resumeFailed(server, handle, event.body);
      case 'imported':
        return imported(this.#context, handle, server, event.body);
      case 'importFailed':
        return importFailed(this.#context, handle, event.body);
      case 'close':
        return this.#close(server, handle, event.body);
    }
  }

  /**
   * Also what a connected handle has become: a durable one is made resilient.
   * A grant that comes when the descriptor is parked is older than that, and
   * than the loss of a level since.
   */
  #grant(server: ServerId, record: HandleRecord): void {
    const known = this.#context.table.live(record.cookie);
    if (known === undefined) {
      if (this.#addConnected(record, 'grant') !== null) this.#context.counters.grants++;
      return;
    }
    const before = known.record;
    if (!this.#context.change(known, { step: 'grant', server })) return;
    this.#context.table.replaceRecord(known, record);
    known.importedIn = record.recordsEpoch;
    this.#remaking.want(known, before);
    if (!this.#keeper.isParked(known.id)) known.levelLost = false;
    if (before.kind !== record.kind) {
      this.#context.publish('grant', known, `${before.kind} to ${record.kind}`);
    }
    this.#keeper.confirm(known);
  }

  #resumed(server: ServerId, record: HandleRecord): void {
    const known = this.#context.table.live(record.cookie);
    const before = known?.record ?? null;
    const handle = known ?? this.#addConnected(record, 'resumed');
    if (handle === null) return;
    if (known !== undefined) {
      if (!this.#context.change(known, { step: 'resumed', server })) return;
      this.#context.table.replaceRecord(known, record);
    }
    handle.levelLost = false;
    handle.importedIn = record.recordsEpoch;
    this.#remaking.want(handle, before);
    handle.resumes++;
    this.#context.counters.resumes++;
    this.#context.publish('resume', handle);
    this.#keeper.confirm(handle);
  }

  /** Null if the handle has ended: what ended stays so. */
  #addConnected(record: HandleRecord, step: 'grant' | 'resumed'): Handle | null {
    const ended = this.#context.table.ended(record.cookie);
    if (ended !== undefined) {
      this.#context.illegal(ended.id, ended.state.name, step);
      return null;
    }
    const retained = this.#keeper.has(record.cookie);
    const handle = this.#context.add(record, { name: 'connected' }, retained);
    if (step === 'grant') {
      this.#remaking.want(handle, null);
      this.#context.publish('grant', handle);
      this.#keeper.confirm(handle);
    }
    return handle;
  }

  #lock(handle: Handle, { start, count, exclusive, note }: EventBody<'lock'>): void {
    handle.locks.push({ start, count, exclusive });
    handle.note = note ?? handle.note;
    this.#context.put(handle);
    this.#context.publish('lock', handle);
  }

  #unlock(handle: Handle, { start, count, note }: EventBody<'unlock'>): void {
    handle.note = note ?? handle.note;
    const index = handle.locks.findIndex((lock) => lock.start === start && lock.count === count);
    if (index < 0) return;
    handle.locks.splice(index, 1);
    this.#context.put(handle);
    this.#context.publish('unlock', handle);
  }

  #disconnect(server: ServerId, handle: Handle, body: EventBody<'disconnect'>): void {
    const wasConnected = handle.state.name === 'connected';
    const { stat, path, monotonicNs, realtimeNs } = body;
    const disconnect = {
      stat,
      since: { monotonicNs, realtimeNs },
      deadlineNs: deadlineAfter(monotonicNs, handle.record.timeoutMs),
      orphan: false,
    };
    if (!this.#context.change(handle, { step: 'disconnect', server, disconnect })) return;
    handle.record = { ...handle.record, path };
    // its smbd child has still to write that into its records, and may die before
    handle.importedIn = null;
    this.#remaking.away(handle);
    if (wasConnected) {
      this.#context.counters.disconnects++;
      this.#context.publish('disconnect', handle);
    }
  }

  #resumeFailed(server: ServerId, handle: Handle, body: EventBody<'resumeFailed'>): void {
    if (body.final) {
      this.#context.end(handle, 'failed', body.reason, { server, drop: true });
    } else if (this.#context.change(handle, { step: 'refused', server })) {
      count(this.#context.counters.refusals, body.reason);
      this.#context.publish('refuse', handle, body.reason);
    }
  }

  #close(server: ServerId, handle: Handle, { reason }: EventBody<'close'>): void {
    const isSuperseded = reason === 'superseded' || reason === APP_INSTANCE;
    const name = isSuperseded ? 'superseded' : 'closed';
    if (!this.#context.end(handle, name, reason, { server, drop: false })) return;
    this.#keeper.expectGone(handle.id);
  }

  #sync(server: ServerId, { cookies }: EventBody<'sync'>): void {
    const held = new Set(cookies);
    for (const handle of this.#context.table.ofServer(server)) {
      if (handle.state.name === 'connected' && !held.has(handle.id)) this.#keeper.resolve(handle);
    }
  }
}
