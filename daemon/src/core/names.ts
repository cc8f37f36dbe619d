// SPDX-License-Identifier: GPL-3.0-or-later
// Handles follow what smbd renames and unlinks.

import type { EventBody } from '../wire/smbd.js';
import type { Context } from './context.js';
import type { Handle } from './handle.js';

export function renamed(context: Context, event: EventBody<'rename'>): void {
  const { dev, ino, isDirectory, from, to } = event;
  for (const handle of context.table.onFile(dev, ino)) {
    handle.record = { ...handle.record, knownAs: null };
    move(context, handle, to);
  }
  if (!isDirectory) return;
  const above = `${from}/`;
  for (const handle of context.table.allLive()) {
    const { path } = handle.record;
    if (path.startsWith(above)) move(context, handle, to + path.slice(from.length));
  }
}

function move(context: Context, handle: Handle, path: string): void {
  handle.record = { ...handle.record, path };
  context.put(handle);
  context.publish('rename', handle);
}

/** Another hard link of the same file does not concern a handle. */
export function unlinked(context: Context, { dev, ino, path }: EventBody<'unlink'>): void {
  for (const handle of context.table.onFile(dev, ino)) {
    if (handle.record.path !== path) continue;
    handle.unlinked = true;
    context.put(handle);
    context.publish('unlink', handle);
  }
}
