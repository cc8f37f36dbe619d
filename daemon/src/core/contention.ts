// SPDX-License-Identifier: GPL-3.0-or-later
// Somebody has come for a file of which handles are away.

import type { ArriveBody, ContendBody, EventBody } from '../wire/smbd.js';
import type { Context } from './context.js';
import { type Handle, hasLevel } from './handle.js';
import type { KeeperView } from './keeper-view.js';
import { timeText } from './text.js';

const NO_GUID = '0'.repeat(32);

/**
 * FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, READ_CONTROL and SYNCHRONIZE:
 * smbd's stat opens, which break no oplock or lease.
 */
const ATTRIBUTES_ONLY = 0x0080 | 0x0100 | 0x0002_0000 | 0x0010_0000;

export class Contention {
  readonly #context: Context;
  readonly #keeper: KeeperView;

  constructor(context: Context, keeper: KeeperView) {
    this.#context = context;
    this.#keeper = keeper;
  }

  /** A client that opens anew has forgotten its handle: returns those that ended. */
  arrive({ dev, ino, ...opener }: ArriveBody): Handle[] {
    const orphans = this.#away(dev, ino).filter((handle) => isOwn(handle, opener));
    return this.#supersede(orphans, 'own orphan');
  }

  /**
   * Another client has opened the file. smbd has removed from its records the
   * durable opens that were in the way (MS-SMB2 3.3.4.6: one whose break cannot
   * be delivered is closed); returns those, ended. Other kinds stay, without
   * their oplock or lease.
   */
  contend({ dev, ino, accessMask, alive, clientAddress }: ContendBody): Handle[] {
    const still = new Set(alive);
    const away = this.#away(dev, ino);
    const opener = `opened by ${clientAddress}`;
    if ((accessMask & ~ATTRIBUTES_ONLY) !== 0) this.#breakLevels(dev, ino, opener);
    const lost = away.filter(
      ({ record }) => record.kind === 'durable' && !still.has(record.persistentId),
    );
    return this.#supersede(lost, opener);
  }

  /** A client was refused what it wanted of the file. */
  conflict({ dev, ino, clientAddress, status }: EventBody<'conflict'>): void {
    const at = timeText(this.#context.now.realtimeNs);
    for (const handle of this.#absent(dev, ino)) {
      handle.refusedOthers++;
      handle.lastRefused = `${clientAddress} (${status}) at ${at}`;
      this.#context.put(handle);
      this.#context.publish('conflict', handle, `${status} for ${clientAddress}`);
    }
  }

  /** While persistd was away: opens of files of which nobody knew whose they were. */
  unsafe({ dev, ino, clientAddress, allowed, refused }: EventBody<'unsafe'>): void {
    const { unsafeOpens } = this.#context.counters;
    unsafeOpens.allowed += Number(allowed);
    unsafeOpens.refused += Number(refused);
    const reason = `${allowed} opens allowed, ${refused} refused, the last by ${clientAddress}`;
    const [handle = null] = this.#context.table.onFile(dev, ino);
    this.#context.publish('unsafe', handle, reason);
  }

  #breakLevels(dev: bigint, ino: bigint, reason: string): void {
    for (const handle of this.#absent(dev, ino)) {
      const { record, levelLost } = handle;
      if (record.kind === 'durable' || levelLost || !hasLevel(record)) continue;
      handle.levelLost = true;
      this.#context.put(handle);
      this.#context.publish('level-lost', handle, reason);
    }
  }

  #supersede(handles: readonly Handle[], reason: string): Handle[] {
    return handles.filter((handle) =>
      this.#context.end(handle, 'superseded', reason, { server: null, drop: true }),
    );
  }

  /** Nobody has the handle. The keeper may know of a disconnect before its event comes. */
  #away(dev: bigint, ino: bigint): Handle[] {
    return [...this.#context.table.onFile(dev, ino)].filter(
      ({ id, state }) =>
        state.name === 'disconnected' || (state.name === 'connected' && this.#keeper.isParked(id)),
    );
  }

  /** Also those that are just being resumed: the claim may come to nothing. */
  #absent(dev: bigint, ino: bigint): Handle[] {
    const claimed = [...this.#context.table.onFile(dev, ino)].filter(
      ({ state }) => state.name === 'claimed',
    );
    return [...this.#away(dev, ino), ...claimed];
  }
}

/** A lease ties all opens of a client on a file; without one, the create GUID names the open. */
function isOwn(
  { record }: Handle,
  opener: Pick<ArriveBody, 'clientGuid' | 'leaseKey' | 'createGuid'>,
) {
  if (record.clientGuid !== opener.clientGuid) return false;
  const { leaseKey, createGuid } = record;
  return (
    (leaseKey !== null && leaseKey === opener.leaseKey) ||
    (createGuid !== NO_GUID && createGuid === opener.createGuid)
  );
}
