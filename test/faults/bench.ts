// SPDX-License-Identifier: GPL-3.0-or-later
/** The instance that all iterations use, and quick ways to look at it. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AdminConnection, withConnection } from '../../daemon/cli/connection.js';
import { CliError } from '../../daemon/cli/errors.js';
import type { HandleView } from '../../daemon/src/shared/handle-view.js';
import { DevSamba, type Part } from '../lib/dev-samba.js';
import { Faults } from '../lib/fault-points.js';
import type { Reply, Smb2Client } from '../lib/smb2/index.js';
import { childOf } from '../soak/processes.js';

/** Of all that should happen at once. */
export const SOON_MS = 10_000;
const ADMIN_TIMEOUT_MS = 1_000;
/** In which a new persistd finds a keeper that runs. */
const FIND_MS = 200;

/** By their options: whether byte-range locks are the kernel's, too, and what survives. */
export const SHARES = ['durable', 'posix', 'host', 'host-posix'] as const;
export type ShareName = (typeof SHARES)[number] | 'strong' | 'strong-posix';
/** The same directory as `durable`, without the module. */
export const BARE = 'bare';

export const isPosix = (share: ShareName): boolean => share.endsWith('posix');
export const isHost = (share: ShareName): boolean => /^(host|strong)/.test(share);

/** Undefined: there was no answer, as somebody died. */
export async function answerOf<T>(call: PromiseLike<Reply<T>>): Promise<Reply<T> | undefined> {
  try {
    return await call;
  } catch {
    return undefined;
  }
}

export interface Pids {
  keeper: number | null;
  persistd: number | null;
}

/** Stock: the smbd child of the old session was killed with the news in its hands (docs/limits.md). */
const isUnheard = (error: unknown): boolean =>
  error instanceof Error && /^SESSION_SETUP .*no answer within/.test(error.message);

export class Bench {
  readonly samba: DevSamba;
  readonly faults: Faults;
  #clients = new Set<Smb2Client>();
  #logSeen = 0;

  private constructor(samba: DevSamba) {
    this.samba = samba;
    this.faults = new Faults(samba);
  }

  static async up(): Promise<Bench> {
    const samba = await DevSamba.up('--faults');
    const module = 'vfs objects = persistent';
    const host = 'persistent:durability = host';
    await samba.addShare('host', module, host, 'posix locking = no');
    await samba.addShare('host-posix', module, host, 'posix locking = yes');
    const strength = 'persistent:strength = yes';
    await samba.addShare('strong-posix', module, strength, 'posix locking = yes');
    await samba.addShare(BARE, `path = ${samba.sharePath('durable')}`, 'posix locking = no');
    return new Bench(samba);
  }

  async connect(share: string): Promise<Smb2Client> {
    return this.#known(await this.samba.connect(share));
  }

  /** The same client machine, with PreviousSessionId. */
  async back(old: Smb2Client): Promise<Smb2Client> {
    const again = () => this.samba.back(old, old.tree.share);
    const client = await again().catch((error) => {
      if (!isUnheard(error)) throw error;
      return again();
    });
    return this.#known(client);
  }

  #known(client: Smb2Client): Smb2Client {
    this.#clients.add(client);
    return client;
  }

  async dropAll(): Promise<void> {
    await Promise.all([...this.#clients].map((client) => client.drop()));
    this.#clients.clear();
  }

  /** Null: it does not run. */
  pid(part: Part): number | null {
    const name = join(this.samba.dir, 'pids', part);
    if (!existsSync(name)) return null;
    const pid = Number.parseInt(readFileSync(name, 'utf8'), 10);
    return isAlive(pid) ? pid : null;
  }

  childOf({ connection }: Smb2Client): number | undefined {
    const port = connection.transport.localPort;
    const smbd = this.pid('smbd');
    return port === undefined || smbd === null ? undefined : childOf(smbd, port);
  }

  pids(): Pids {
    return { keeper: this.pid('keeper'), persistd: this.pid('persistd') };
  }

  /** It was served by this smbd child, which ends by SIGKILL. */
  async killChild(client: Smb2Client): Promise<void> {
    const pid = this.childOf(client);
    if (pid === undefined) return;
    process.kill(pid, 'SIGKILL');
    await client.closed;
  }

  /** SIGKILL, if it runs. */
  async kill(part: 'persistd' | 'keeper'): Promise<void> {
    const pid = this.pid(part);
    if (pid === null) return;
    process.kill(pid, 'SIGKILL');
    await this.samba.until(`the end of ${part}`, () => !isAlive(pid));
  }

  admin<T>(use: (connection: AdminConnection) => Promise<T>): Promise<T> {
    const runDir = join(this.samba.dir, 'run');
    return withConnection({ runDir, timeout: ADMIN_TIMEOUT_MS }, use);
  }

  /** All that persistd knows of a file. */
  async handlesOf(path: string): Promise<HandleView[]> {
    const { handles } = await this.admin((admin) => admin.request('list', { all: true, path }));
    return handles.filter((handle) => handle.path === path);
  }

  /** Polls a question to persistd. */
  async until<T>(
    what: string,
    ask: () => Promise<T | false | undefined>,
    boundMs = SOON_MS,
  ): Promise<T> {
    const endMs = performance.now() + boundMs;
    for (;;) {
      const found = await ask().catch((error) => {
        if (error instanceof CliError) return undefined;
        throw error;
      });
      if (found !== false && found !== undefined) return found;
      if (performance.now() > endMs) throw new Error(`${what}: not within ${boundMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** persistd has heard of the keeper that runs all that it has. */
  async isListed(): Promise<boolean> {
    const { keeper } = await this.admin((admin) => admin.request('info', {}));
    return keeper !== null && keeper.pid === this.pid('keeper');
  }

  /** Starts what has ended, again if it dies at its start. */
  async startAll(): Promise<void> {
    await this.#start('persistd');
    if (this.pid('keeper') === null) await this.#findKeeper();
    await this.#start('keeper');
  }

  async #start(part: Part): Promise<void> {
    for (let tries = 0; this.pid(part) === null; tries += 1) {
      if (tries === 3) throw new Error(`${part} does not stay`);
      await this.samba.verb('restart', part).catch(() => undefined);
    }
  }

  /** One that took over while nobody was there to tell scripts/dev-samba. */
  async #findKeeper(): Promise<void> {
    const endMs = performance.now() + FIND_MS;
    while (performance.now() < endMs) {
      const info = this.admin((admin) => admin.request('info', {}));
      // persistd may be about to die of what it has just heard
      const { keeper } = await info.catch(() => ({ keeper: null }));
      const stat =
        keeper && isAlive(keeper.pid) && readFileSync(`/proc/${keeper.pid}/stat`, 'utf8');
      if (stat) {
        const started = stat.replace(/.*\) /, '').split(' ')[19];
        return writeFileSync(join(this.samba.dir, 'pids', 'keeper'), `${keeper.pid} ${started}\n`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** What smbd has logged of panics since the last time. */
  panics(): string[] {
    const log = this.samba.smbdLog();
    const news = log.slice(this.#logSeen);
    this.#logSeen = log.length;
    return news.match(/.*(PANIC|INTERNAL ERROR|smb_panic).*/g) ?? [];
  }
}

export function isAlive(pid: number): boolean {
  try {
    return !/ [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\)/, ''));
  } catch {
    return false;
  }
}
