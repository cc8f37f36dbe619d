// SPDX-License-Identifier: GPL-3.0-or-later
// What an admin may ask of the table.

import type { AdminErrorCode, ListRequest } from '../shared/admin.js';
import type { Context } from './context.js';
import { type Handle, isEnded, NS_PER_MS } from './handle.js';
import { pathText } from './text.js';

/** smbd's scavenger cannot count further (vfs_module/timeouts.h). */
const LONGEST_NS = 70n * 60_000n * NS_PER_MS;

/** For the admin endpoint to answer; never leaves its loop. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
  constructor(
    readonly code: AdminErrorCode,
    message: string,
  ) {
    super(message);
  }
}

export class Admin {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  list(request: ListRequest): Handle[] {
    const { table } = this.#context;
    const wantsEnded = request.all || request.state !== undefined;
    const handles = [...table.allLive(), ...(wantsEnded ? table.allEnded() : [])];
    return handles.filter((handle) => matches(handle, request));
  }

  /** Throws AdminError, as all of these do. */
  one(prefix: string): Handle {
    const found = this.#context.table.find(prefix);
    if (found.found === 'one') return found.handle;
    throw found.found === 'none'
      ? new AdminError('no-such-handle', `no handle has an id that begins with ${prefix}`)
      : new AdminError('ambiguous', `several handles have ids that begin with ${prefix}`);
  }

  /** All of them or, when one may not be ended, none. */
  end(prefixes: readonly string[], name: 'closed' | 'expired'): Handle[] {
    const handles = [...new Set(prefixes.map((prefix) => this.#disconnected(prefix)))];
    this.#end(handles, name);
    return handles;
  }

  expireWhere(where: { olderThanMs: number } | { all: true }): Handle[] {
    const leastNs = 'all' in where ? 0n : BigInt(where.olderThanMs) * NS_PER_MS;
    const nowNs = this.#context.now.monotonicNs;
    const handles = [...this.#context.table.allLive()].filter(
      ({ state }) =>
        state.name === 'disconnected' && nowNs - state.disconnect.since.monotonicNs >= leastNs,
    );
    this.#end(handles, 'expired');
    return handles;
  }

  extend(prefix: string, byMs: number): Handle {
    const handle = this.#disconnected(prefix);
    if (handle.state.name === 'disconnected') {
      const { deadlineNs: oldNs, since } = handle.state.disconnect;
      const deadlineNs = oldNs + BigInt(byMs) * NS_PER_MS;
      if (deadlineNs - since.monotonicNs > LONGEST_NS) {
        throw new AdminError(
          'refused',
          `${handle.id} can be kept for 70 minutes at most: smbd's own records end then`,
        );
      }
      this.#context.change(handle, { step: 'extend', deadlineNs });
      this.#context.publish('extend', handle);
    }
    return handle;
  }

  #end(handles: readonly Handle[], name: 'closed' | 'expired'): void {
    for (const handle of handles) {
      this.#context.end(handle, name, 'admin', { server: null, drop: true });
    }
  }

  #disconnected(prefix: string): Handle {
    const handle = this.one(prefix);
    const { id, state, record } = handle;
    if (state.name === 'disconnected') return handle;
    if (isEnded(state)) {
      throw new AdminError('refused', `${id} has ended already: ${state.name} (${state.reason})`);
    }
    const { clientName, clientAddress, share } = record;
    const pid = state.name === 'claimed' ? state.by.pid : record.serverId.pid;
    const what = state.name === 'claimed' ? 'is being resumed' : 'is in use';
    throw new AdminError(
      'refused',
      `${id} ${what} by client ${clientName} (${clientAddress}) through smbd ${pid}; to end it, ` +
        `run 'smbcontrol ${pid} close-share ${share}' or disconnect the client`,
    );
  }
}

function matches({ record, state }: Handle, request: ListRequest): boolean {
  const { share, user, client, kind, path } = request;
  return (
    (request.state === undefined || request.state === state.name) &&
    (share === undefined || share.toLowerCase() === record.share.toLowerCase()) &&
    (user === undefined || user === record.user) &&
    (client === undefined || client === record.clientAddress || client === record.clientName) &&
    (kind === undefined || kind === record.kind) &&
    (path === undefined || isAtOrBelow(pathText(record.path), path))
  );
}

function isAtOrBelow(path: string, top: string): boolean {
  return path === top || path.startsWith(top.endsWith('/') ? top : `${top}/`);
}
