// SPDX-License-Identifier: GPL-3.0-or-later
// An application of a cluster has moved to another node, which opens a file with
// the application's AppInstanceId: its opens by other clients are closed,
// connected or not (MS-SMB2 3.3.5.9.13).

import type { AppInstance, ServerId } from '../wire/records.js';
import type { TakeoverAnswer, TakeoverBody } from '../wire/smbd.js';
import type { Context } from './context.js';
import { type Handle, NS_PER_MS } from './handle.js';
import type { KeeperView } from './keeper-view.js';

/** Also said by the smbd child that closes a connected one. */
export const APP_INSTANCE = 'app instance';

export interface Takeover extends TakeoverBody {
  /** Names the asker to the shell that will carry the answer. */
  readonly ticket: number;
}

interface Waiting {
  readonly takeover: Takeover;
  /** Persistent ids of those that ended meanwhile. */
  readonly ended: bigint[];
}

export class Takeovers {
  readonly #context: Context;
  readonly #keeper: KeeperView;
  readonly #waiting = new Set<Waiting>();

  constructor(context: Context, keeper: KeeperView) {
    this.#context = context;
    this.#keeper = keeper;
  }

  /** With `waitMs`, the answer waits for those who hold such opens to close them. */
  takeover(takeover: Takeover): void {
    const waiting: Waiting = { takeover, ended: [] };
    if (this.#answer(waiting, takeover.waitMs === 0)) return;
    this.#waiting.add(waiting);
    const { deadlines, now } = this.#context;
    deadlines.at(now.monotonicNs + BigInt(takeover.waitMs) * NS_PER_MS, () => {
      if (this.#waiting.delete(waiting)) this.#answer(waiting, true);
    });
  }

  /** A handle's state changed: perhaps to what is being waited for. */
  retry(): void {
    for (const waiting of this.#waiting) {
      if (this.#answer(waiting, false)) this.#waiting.delete(waiting);
    }
  }

  /** False: some are still held. */
  #answer({ takeover, ended }: Waiting, evenIfHeld: boolean): boolean {
    const opens = this.#opens(takeover);
    const refused = opens.some(({ record }) => isNewer(record.appInstance, takeover.appInstance));
    const holders: TakeoverAnswer['holders'] = [];
    if (!refused && takeover.mayClose) {
      for (const handle of opens) {
        const holder = this.#holder(handle);
        if (holder !== null) holders.push({ cookie: handle.id, serverId: holder });
        else if (this.#end(handle)) ended.push(handle.record.persistentId);
      }
    }
    if (holders.length > 0 && !evenIfHeld) return false;
    const { ticket } = takeover;
    const answer = { refused, ended: [...ended], holders };
    this.#context.effects.push({ effect: 'takenOver', ticket, answer });
    return true;
  }

  /** The application's opens by other clients than the one that comes. */
  #opens({ dev, ino, share, clientGuid, appInstance }: Takeover): Handle[] {
    return [...this.#context.table.onFile(dev, ino)].filter(
      ({ record }) =>
        record.appInstance?.id === appInstance.id &&
        record.share === share &&
        record.clientGuid !== clientGuid,
    );
  }

  /** The smbd child that has it, or is about to; null: it is away. */
  #holder({ id, state, record }: Handle): ServerId | null {
    if (state.name === 'claimed') return state.by;
    return state.name === 'connected' && !this.#keeper.isParked(id) ? record.serverId : null;
  }

  #end(handle: Handle): boolean {
    return this.#context.end(handle, 'superseded', APP_INSTANCE, { server: null, drop: true });
  }
}

/** Whether the version of an open forbids that the one that comes takes it. */
function isNewer(open: AppInstance | null, comes: AppInstance): boolean {
  if (open === null || open.version === null) return false;
  if (comes.version === null) return true;
  const { high, low } = open.version;
  return high > comes.version.high || (high === comes.version.high && low >= comes.version.low);
}
