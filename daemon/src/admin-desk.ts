// SPDX-License-Identifier: GPL-3.0-or-later
// Answers an admin's requests out of the core and the shells.

import { now } from './clock.js';
import type { Complaints } from './complaints.js';
import { type Admin, AdminError } from './core/admin.js';
import type { Core } from './core/core.js';
import type { Handle } from './core/handle.js';
import { timeText } from './core/text.js';
import { handleView } from './core/view.js';
import type { AdminService } from './endpoints/admin.js';
import type { KeeperClient } from './keeper/client.js';
import type { Performance, Performer } from './performer.js';
import type { Servers } from './servers.js';
import type { InfoView } from './shared/admin.js';
import type { HandleView } from './shared/handle-view.js';
import { VERSION } from './shared/version.js';
import type { SteadyStore } from './store/steady-store.js';

export interface AdminDeskParts {
  readonly core: Core;
  readonly performer: Performer;
  readonly keeper: KeeperClient;
  readonly servers: Servers;
  readonly complaints: Complaints;
  readonly store: SteadyStore;
  readonly storePath: string;
}

const ENOENT = -2;

export class AdminDesk implements AdminService {
  readonly #parts: AdminDeskParts;
  readonly #startedAt = timeText(now().realtimeNs);

  constructor(parts: AdminDeskParts) {
    this.#parts = parts;
  }

  list: AdminService['list'] = (request) => ({
    handles: views(this.#administer((admin) => admin.list(request)).value),
  });

  show: AdminService['show'] = ({ id }) => ({
    handle: view(this.#administer((admin) => admin.one(id)).value),
  });

  close: AdminService['close'] = ({ ids }) => this.#end((admin) => admin.end(ids, 'closed'));

  expire: AdminService['expire'] = ({ ids }) => this.#end((admin) => admin.end(ids, 'expired'));

  expireWhere: AdminService['expireWhere'] = (where) =>
    this.#end((admin) => admin.expireWhere(where));

  extend: AdminService['extend'] = async ({ id, byMs }) => {
    const { value, performance } = this.#administer((admin) => admin.extend(id, byMs));
    await performance.committed;
    return { handle: view(value) };
  };

  stats: AdminService['stats'] = () => ({
    schemaVersion: 1,
    ...this.#parts.core.stats(),
    bad_messages: { ...this.#parts.complaints.tally },
    keeper_reconnects: this.#parts.keeper.reconnects,
    store_faults: this.#parts.store.faults,
    store_unwritten: this.#parts.store.unwritten,
  });

  info: AdminService['info'] = async () => ({
    version: VERSION,
    pid: process.pid,
    startedAt: this.#startedAt,
    storePath: this.#parts.storePath,
    storeFault: this.#storeFault(),
    keeper: await this.#parts.keeper.info(),
    smbds: this.#parts.servers.countAlive(),
  });

  keeperUpgrade: AdminService['keeperUpgrade'] = async () => {
    const { keeper } = this.#parts;
    const before = await keeper.info();
    if (before === null) throw new AdminError('failure', 'fdkeeper does not run');
    const upgrade = await keeper.upgrade();
    if (upgrade === null) {
      throw new AdminError('failure', 'fdkeeper ended, or is of a version that knows no upgrade');
    }
    if (upgrade.refusal !== null) throw new AdminError('failure', upgrade.refusal);
    return { pid: upgrade.pid, previousPid: before.pid, descriptors: before.used };
  };

  #storeFault(): InfoView['storeFault'] {
    const { fault, unwritten } = this.#parts.store;
    return fault && { reason: fault.message, remedy: fault.remedy, unwritten };
  }

  #administer<T>(request: (admin: Admin) => T): { value: T; performance: Performance } {
    const { outcome, effects } = this.#parts.core.administer(now(), request);
    const performance = this.#parts.performer.perform(effects);
    if (!outcome.ok) throw outcome.error;
    return { value: outcome.value, performance };
  }

  /** Without a keeper there is no descriptor, or it is dropped when the keeper is back. */
  async #end(request: (admin: Admin) => Handle[]): Promise<{ handles: HandleView[] }> {
    const { value, performance } = this.#administer(request);
    await performance.committed;
    for (const { id } of value) {
      const status = await performance.drops.get(id);
      if (status !== undefined && status !== null && status !== 0 && status !== ENOENT) {
        throw new AdminError(
          'failure',
          `${id} has ended, but the keeper answered errno ${-status}`,
        );
      }
    }
    return { handles: views(value) };
  }
}

function view(handle: Handle): HandleView {
  return handleView(handle, now());
}

function views(handles: readonly Handle[]): HandleView[] {
  const moment = now();
  return handles.map((handle) => handleView(handle, moment));
}
