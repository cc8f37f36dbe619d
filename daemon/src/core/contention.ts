// SPDX-License-Identifier: GPL-3.0-or-later
// Another client has opened a file of which handles are away. smbd has removed
// from its records those that were in the way (MS-SMB2 3.3.4.6: a durable open
// whose break cannot be delivered is closed).

import type { ContendBody } from '../wire/smbd.js';
import type { Context } from './context.js';
import type { Handle } from './handle.js';
import type { KeeperView } from './keeper-view.js';

/** Ends the handles that lost. */
export function contended(context: Context, keeper: KeeperView, body: ContendBody): void {
  const alive = new Set(body.alive);
  const lost = [...context.table.onFile(body.dev, body.ino)].filter(
    (handle) => isAway(handle, keeper) && !alive.has(handle.record.persistentId),
  );
  for (const handle of lost) {
    const reason = `opened by ${body.clientAddress}`;
    context.end(handle, 'superseded', reason, { server: null, drop: true });
  }
}

/** The keeper may know of a disconnect before its event comes. */
function isAway({ id, state }: Handle, keeper: KeeperView): boolean {
  return state.name === 'disconnected' || (state.name === 'connected' && keeper.isParked(id));
}
