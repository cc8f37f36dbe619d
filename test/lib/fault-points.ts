// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * Holds or kills processes of ours at named points (vfs_module/fault.h) of an instance
 * that was started with `DevSamba.up('--faults')`.
 *
 *     const faults = new Faults(samba);
 *     const held = faults.hold('disconnect.locked');
 *     ... // something that makes a process come to that point
 *     await held.arrived;
 *     ... // while it stands there
 *     await held.release();
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { DevSamba } from './dev-samba.js';

const BOUND_MS = 20_000;

/** persistd's classes, and the step that each of these methods of theirs is. */
export const PERSISTD_PARTS = {
  /** What is decided, by the message that asks for it. */
  Core: {
    events: 'events',
    claim: 'claim',
    arrive: 'arrive',
    contend: 'contend',
    import: 'import',
    takeover: 'takeover',
    administer: 'administer',
    tick: 'tick',
    restore: 'restore',
    keeperListStarted: 'list-started',
    keeperEntry: 'entry',
    keeperListEnd: 'list-end',
    keeperGone: 'gone',
    keeperLost: 'keeper-lost',
    described: 'described',
    remade: 'remade',
    watched: 'watched',
    touched: 'touched',
  },
  LmdbStore: { load: 'load', write: 'commit', flushed: 'flush' },
  /** Each command to the keeper. */
  KeeperClient: {
    drop: 'drop',
    watch: 'watch',
    describe: 'describe',
    remake: 'remake',
    settled: 'settled',
    info: 'info',
    upgrade: 'upgrade',
  },
  Outbox: { send: 'answer' },
  Servers: { hello: 'hello' },
} as const;

/** All there are: of module and keeper by what their test build was made of. */
export function faultPoints(): string[] {
  const built = readFileSync('build/test-build/fault-points', 'utf8').trim().split('\n');
  const steps = Object.values(PERSISTD_PARTS).flatMap((part) => Object.values(part));
  const persistd = steps.flatMap((step) => [`persistd.before-${step}`, `persistd.after-${step}`]);
  return [...built, ...persistd];
}

let serial = 0;

export class Held {
  readonly point: string;
  /** Resolves when a process stands at the point. */
  readonly arrived: Promise<void>;
  readonly #name: string;
  /** Another link to the FIFO: the process removes its name. */
  readonly #own: string;
  readonly #writer: Promise<FileHandle>;

  constructor(dir: string, point: string) {
    this.point = point;
    this.#name = join(dir, point);
    this.#own = `${this.#name}.held.${++serial}`;
    execFileSync('mkfifo', ['--mode=0666', this.#own]);
    linkSync(this.#own, this.#name);
    // the kernel lets this open go on when somebody opens it for reading
    this.#writer = open(this.#own, 'w');
    this.arrived = this.#arrive();
    this.arrived.catch(() => undefined);
  }

  /** Lets the process go on; without one that arrived, there will be none held. */
  async release(): Promise<void> {
    rmSync(this.#name, { force: true });
    const reader = openSync(this.#own, constants.O_RDONLY | constants.O_NONBLOCK);
    await (await this.#writer).close();
    closeSync(reader);
    rmSync(this.#own, { force: true });
  }

  async #arrive(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`nobody came to ${this.point} within ${BOUND_MS} ms`)),
        BOUND_MS,
      );
    });
    try {
      await Promise.race([this.#writer, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

export class Faults {
  readonly #dir: string;

  constructor({ dir }: DevSamba) {
    this.#dir = join(dir, 'faults');
  }

  /** The next process that comes to the point waits there. */
  hold(point: string): Held {
    return new Held(this.#dir, point);
  }

  /** The next process that comes to the point dies there. */
  kill(point: string): void {
    writeFileSync(this.#nameOfKill(point), '');
  }

  /** Whether nobody came there and died since then. */
  isArmed(point: string): boolean {
    return existsSync(this.#nameOfKill(point));
  }

  /** Nobody dies there any more; whether somebody did. */
  disarm(point: string): boolean {
    const isArmed = this.isArmed(point);
    rmSync(this.#nameOfKill(point), { force: true });
    return !isArmed;
  }

  #nameOfKill(point: string): string {
    return join(this.#dir, `${point}.kill`);
  }
}
