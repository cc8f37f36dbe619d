// SPDX-License-Identifier: GPL-3.0-or-later
// Modification times that smbd sets itself: when an open that wrote is closed,
// or because a client asks for it. Neither changes the data, so a handle of the
// same file that is away does not mind.

import type { EventBody } from '../wire/smbd.js';
import type { Context } from './context.js';
import type { Content } from './handle.js';
import { fileKey } from './table.js';

const TIMES_KEPT = 16;
const FILES_KEPT = 1024;

export class WriteTimes {
  /** The times of a file, each set by smbd on top of the one before. */
  readonly #byFile = new Map<string, bigint[]>();

  set({ dev, ino, fromNs, toNs }: EventBody<'writeTime'>): void {
    const key = fileKey(dev, ino);
    const known = this.#byFile.get(key) ?? [];
    const times = known.at(-1) === fromNs ? known : [fromNs];
    this.#byFile.delete(key);
    this.#byFile.set(key, [...times, toNs].slice(-TIMES_KEPT));
    const [oldest] = this.#byFile.keys();
    if (this.#byFile.size > FILES_KEPT && oldest !== undefined) this.#byFile.delete(oldest);
  }

  /** Only what changes the data counts: reading, chmod, rename and unlink do not. */
  isModified(file: { dev: bigint; ino: bigint }, now: Content, then: Content): boolean {
    if (now.sizeBytes !== then.sizeBytes) return true;
    if (now.mtimeNs === then.mtimeNs) return false;
    const times = this.#byFile.get(fileKey(file.dev, file.ino)) ?? [];
    return !times.includes(now.mtimeNs) || !times.includes(then.mtimeNs);
  }
}

/** smbd is about to set it: for a moment the file may have either. */
export function writeTimeSet(context: Context, event: EventBody<'writeTime'>): void {
  context.writeTimes.set(event);
  for (const handle of context.table.onFile(event.dev, event.ino)) {
    const { state } = handle;
    if (state.name === 'disconnected' && state.disconnect.stat?.mtimeNs === event.fromNs) {
      context.change(handle, { step: 'writeTime', mtimeNs: event.toNs });
    }
  }
}
