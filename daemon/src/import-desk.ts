// SPDX-License-Identifier: GPL-3.0-or-later
// Answers an smbd child that asks which handles it is to take into smbd's records
// (docs/protocol.md 1.1, `import`), when all that may have died has been heard of.

import { setTimeout as sleep } from 'node:timers/promises';
import { now } from './clock.js';
import type { Core } from './core/core.js';
import type { Effect } from './core/effects.js';
import { type Handle, NS_PER_MS } from './core/handle.js';
import type { KeeperClient } from './keeper/client.js';
import { isAlive } from './servers.js';
import type { ImportBody, Imports } from './wire/smbd.js';

/** Less than the 100 ms of the module's shortest wait for an answer. */
const WAIT_NS = 80n * NS_PER_MS;
const PAUSE_MS = 10;

export interface ImportParts {
  readonly core: Core;
  readonly keeper: Pick<KeeperClient, 'info'>;
  /** Resolves when the effects are committed. */
  perform(effects: readonly Effect[]): Promise<void>;
}

export class ImportDesk {
  readonly #parts: ImportParts;

  constructor(parts: ImportParts) {
    this.#parts = parts;
  }

  /** null: what the keeper has is not known. */
  async answer(body: ImportBody): Promise<Imports | null> {
    const { core } = this.#parts;
    const endNs = now().monotonicNs + WAIT_NS;
    const allSeen = core.importGoesOn(now(), body) || (await this.#deathsSeen(body, endNs));
    if (!core.keeperListed) return null;
    const imports = await this.#imports(body, endNs);
    return allSeen ? imports : { ...imports, more: true };
  }

  /**
   * Until the keeper has told of every smbd child that is dead, and has all that
   * can be made again, or a bounded while has passed. False: there is more to come.
   */
  async #deathsSeen(body: ImportBody, endNs: bigint): Promise<boolean> {
    const { core, keeper } = this.#parts;
    let isRemaking = true;
    do {
      // its answer comes behind every report of what happened before
      await keeper.info();
      const living = new Living();
      const idle = this.#concerned(body).filter((handle) => !living.use(handle));
      for (const handle of idle) this.#tellDeath(handle);
      isRemaking = idle.some((handle) => core.isBeingRemade(handle));
      const isReported = !idle.some((handle) => this.#isMissing(handle));
      if (core.keeperListed && !isRemaking && isReported) return true;
      await sleep(PAUSE_MS);
    } while (now().monotonicNs < endNs);
    return !isRemaking;
  }

  /** Where other smbd children are at all that is left, they are waited for. */
  async #imports(body: ImportBody, endNs: bigint): Promise<Imports> {
    const { core } = this.#parts;
    for (;;) {
      for (const server of core.importers(now())) {
        if (!isAlive(server.pid)) core.importerDied(server);
      }
      const { imports, effects } = core.import(now(), body);
      await this.#parts.perform(effects);
      if (imports.handles.length > 0 || !imports.more || now().monotonicNs >= endNs) {
        return imports;
      }
      await sleep(PAUSE_MS);
    }
  }

  /** Without those that are away and cannot be made again: nothing is to happen to them. */
  #concerned({ share, dev, ino }: ImportBody): Handle[] {
    const { table } = this.#parts.core;
    const concerned: Handle[] = [];
    for (const handle of share === null ? table.onFile(dev, ino) : table.allLive()) {
      if (handle.state.name !== 'connected' && handle.reopening === null) continue;
      if (share === null || handle.record.share === share) concerned.push(handle);
    }
    return concerned;
  }

  /** Of a handle that the keeper does not have: only this process sees it. */
  #tellDeath(handle: Handle): void {
    const { state, retained, reopening, record } = handle;
    if (state.name !== 'connected' || retained || reopening === null) return;
    void this.#parts.perform(this.#parts.core.serverDied(now(), record.serverId));
  }

  /** Whether the death of its smbd child is still to be reported by the keeper. */
  #isMissing(handle: Handle): boolean {
    const isHeld = handle.state.name === 'connected' && handle.retained;
    return isHeld && !this.#parts.core.isParked(handle.id);
  }
}

/** Looks at each process once. */
class Living {
  readonly #pids = new Map<bigint, boolean>();

  /** Whether the handle is in use by one of them. */
  use({ state, record }: Handle): boolean {
    return state.name === 'connected' && this.#isAlive(record.serverId.pid);
  }

  #isAlive(pid: bigint): boolean {
    const known = this.#pids.get(pid) ?? isAlive(pid);
    this.#pids.set(pid, known);
    return known;
  }
}
