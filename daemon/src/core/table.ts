// SPDX-License-Identifier: GPL-3.0-or-later
// The handles, and how to find them: by id, by file, by the smbd child that
// holds them. The live ones, and the last of those that ended.

import type { ServerId } from '../wire/records.js';
import type { Handle } from './handle.js';

export type Found =
  | { readonly found: 'one'; readonly handle: Handle }
  | { readonly found: 'none' | 'several' };

export class Table {
  readonly #live = new Map<string, Handle>();
  readonly #byFile = new Map<string, Set<Handle>>();
  readonly #byServer = new Map<string, Set<Handle>>();
  readonly #ended = new Map<string, Handle>();
  readonly #endedKept: number;

  constructor(endedKept: number) {
    this.#endedKept = endedKept;
  }

  live(id: string): Handle | undefined {
    return this.#live.get(id);
  }

  ended(id: string): Handle | undefined {
    return this.#ended.get(id);
  }

  allLive(): IterableIterator<Handle> {
    return this.#live.values();
  }

  allEnded(): IterableIterator<Handle> {
    return this.#ended.values();
  }

  onFile(dev: bigint, ino: bigint): Iterable<Handle> {
    return this.#byFile.get(fileKey(dev, ino)) ?? [];
  }

  /** Whose record names this smbd child, connected or not. */
  ofServer(server: ServerId): Handle[] {
    return [...(this.#byServer.get(serverKey(server)) ?? [])];
  }

  add(handle: Handle): void {
    this.#live.set(handle.id, handle);
    this.#index(handle);
  }

  /** A new record: another smbd child may hold it. */
  replaceRecord(handle: Handle, record: Handle['record']): void {
    this.#unindex(handle);
    handle.record = record;
    this.#index(handle);
  }

  /** From the live ones to the ended ones. */
  retire(handle: Handle): void {
    this.#live.delete(handle.id);
    this.#unindex(handle);
    this.addEnded(handle);
  }

  addEnded(handle: Handle): void {
    this.#ended.set(handle.id, handle);
    if (this.#ended.size <= this.#endedKept) return;
    for (const oldest of this.#ended.keys()) {
      this.#ended.delete(oldest);
      break;
    }
  }

  /** By a prefix of the id. */
  find(prefix: string): Found {
    const exact = this.#live.get(prefix) ?? this.#ended.get(prefix);
    if (exact !== undefined) return { found: 'one', handle: exact };
    let match: Handle | null = null;
    for (const handles of [this.#live.values(), this.#ended.values()]) {
      for (const handle of handles) {
        if (!handle.id.startsWith(prefix)) continue;
        if (match !== null) return { found: 'several' };
        match = handle;
      }
    }
    return match === null ? { found: 'none' } : { found: 'one', handle: match };
  }

  #index(handle: Handle): void {
    const { record } = handle;
    addTo(this.#byFile, fileKey(record.dev, record.ino), handle);
    addTo(this.#byServer, serverKey(record.serverId), handle);
  }

  #unindex(handle: Handle): void {
    const { record } = handle;
    removeFrom(this.#byFile, fileKey(record.dev, record.ino), handle);
    removeFrom(this.#byServer, serverKey(record.serverId), handle);
  }
}

export function fileKey(dev: bigint, ino: bigint): string {
  return `${dev}:${ino}`;
}

function serverKey({ pid, taskId, vnn, uniqueId }: ServerId): string {
  return `${pid}.${taskId}.${vnn}.${uniqueId}`;
}

function addTo(index: Map<string, Set<Handle>>, key: string, handle: Handle): void {
  const handles = index.get(key);
  if (handles === undefined) index.set(key, new Set([handle]));
  else handles.add(handle);
}

function removeFrom(index: Map<string, Set<Handle>>, key: string, handle: Handle): void {
  const handles = index.get(key);
  if (handles === undefined) return;
  handles.delete(handle);
  if (handles.size === 0) index.delete(key);
}
