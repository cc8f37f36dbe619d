// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * A private smbd with keeper and persistd (scripts/dev-samba) for one test file.
 *
 *     const samba = await DevSamba.up();
 *     const a = await samba.connect('durable');
 *     ...
 *     await samba.down(); // checks that nothing was left behind and smbd never panicked
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { HandleView } from '../../daemon/src/shared/handle-view.js';
import { type ClientOptions, newGuid, type Open, Smb2Client, SmbError } from './smb2/index.js';

const run = promisify(execFile);
const TOP = process.cwd();

export type Part = 'smbd' | 'persistd' | 'keeper';

export interface Status {
  dir: string;
  port: number;
  smbConf: string;
  runDir: string;
  user: string;
  password: string;
  user2: string;
  password2: string;
  shares: Record<string, { path: string }>;
  pids: Record<Part, number | null>;
  clientPids: number[];
}

/** In which smbd notices the death of a child. */
const BURIAL_MS = 2_000;

/** Stock: the smbd child of the old session is dead and not buried (docs/limits.md). */
const isUnburied = (error: unknown): boolean =>
  error instanceof SmbError &&
  error.command === 'SESSION_SETUP' &&
  error.code === 'OBJECT_NAME_NOT_FOUND';

export class DevSamba {
  readonly dir: string;
  #login: Status | undefined;
  #clients = new Set<Smb2Client>();

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async up(...options: string[]): Promise<DevSamba> {
    const samba = new DevSamba(mkdtempSync(join(tmpdir(), 'ds.')));
    await samba.verb('up', ...options);
    return samba;
  }

  /** Runs a verb of scripts/dev-samba; throws with its words if it fails. */
  async verb(verb: string, ...args: string[]): Promise<string> {
    const { stdout } = await run(
      join(TOP, 'scripts/dev-samba'),
      [verb, '--dir', this.dir, ...args],
      { maxBuffer: 64 * 1024 * 1024 },
    );
    return stdout;
  }

  status(): Status {
    const out = execFileSync(join(TOP, 'scripts/dev-samba'), [
      'status',
      '--dir',
      this.dir,
      '--json',
    ]);
    return JSON.parse(String(out));
  }

  pid(part: Part): number {
    const pid = this.status().pids[part];
    if (pid === null) throw new Error(`${part} does not run`);
    return pid;
  }

  /** persistctl's standard output, exit status and standard error. */
  ctl(...args: string[]): { stdout: string; stderr: string; status: number | null } {
    return spawnSync(
      process.execPath,
      [join(TOP, 'build/daemon/cli/main.js'), '--run-dir', join(this.dir, 'run'), ...args],
      { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
    );
  }

  handles(...filters: string[]): HandleView[] {
    const { stdout, stderr, status } = this.ctl('list', '--json', ...filters);
    if (status !== 0) throw new Error(`persistctl list: ${stderr}`);
    return JSON.parse(stdout).handles;
  }

  stats(): Record<string, unknown> {
    return JSON.parse(this.ctl('stats', '--json').stdout);
  }

  /** The disconnected handles whose path ends so. */
  away(pathEnd: string): HandleView[] {
    return this.handles().filter((h) => h.path.endsWith(pathEnd));
  }

  /** The one handle whose path ends so, in whatever state. */
  handle(pathEnd: string): HandleView {
    const found = this.handles('--all').filter((h) => h.path.endsWith(pathEnd));
    if (found.length !== 1) throw new Error(`${found.length} handles end in ${pathEnd}`);
    return found[0] as HandleView;
  }

  sharePath(share: string, ...names: string[]): string {
    return join(this.dir, 'shares', share, ...names);
  }

  /** One more share, with these lines in smb.conf; smbd is restarted for it. */
  async addShare(name: string, ...lines: string[]): Promise<void> {
    mkdirSync(this.sharePath(name), { recursive: true });
    chmodSync(this.sharePath(name), 0o777);
    const settings = [`path = ${this.sharePath(name)}`, 'read only = no', ...lines];
    const section = [`\n[${name}]`, ...settings.map((line) => `\t${line}`), ''];
    appendFileSync(this.status().smbConf, section.join('\n'));
    await this.verb('restart', 'smbd');
  }

  async connect(share: string, options: Partial<ClientOptions> = {}): Promise<Smb2Client> {
    this.#login ??= this.status();
    const { port, user, password } = this.#login;
    const client = await Smb2Client.connect({ port, user, password, share, ...options });
    this.#clients.add(client);
    return client;
  }

  /** The same client machine comes back, as Windows does it: with PreviousSessionId. */
  async back(
    old: Smb2Client,
    share: string,
    options: Partial<ClientOptions> = {},
  ): Promise<Smb2Client> {
    const again = { clientGuid: old.clientGuid, previousSessionId: old.session.id, ...options };
    const endMs = performance.now() + BURIAL_MS;
    for (;;) {
      try {
        return await this.connect(share, again);
      } catch (error) {
        if (!isUnburied(error) || performance.now() > endMs) throw error;
      }
    }
  }

  /** Waits for a condition that other processes bring about. */
  async until<T>(what: string, probe: () => T | undefined | false, boundMs = 10_000): Promise<T> {
    const end = Date.now() + boundMs;
    for (;;) {
      const value = probe();
      if (value !== undefined && value !== false) return value;
      if (Date.now() > end) throw new Error(`${what}: not within ${boundMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Until persistd knows the client to be gone. */
  disconnected(pathEnd: string): Promise<HandleView> {
    return this.until(`the disconnect of ${pathEnd}`, () => {
      return this.handles().find((h) => h.path.endsWith(pathEnd));
    });
  }

  smbcontrol(...args: (string | number)[]): void {
    const conf = join(this.dir, 'smb.conf');
    execFileSync('smbcontrol', [`--configfile=${conf}`, ...args.map(String)]);
  }

  /** What smbd itself says of its files, those without the module too. */
  smbstatus(...args: string[]): string {
    const conf = join(this.dir, 'smb.conf');
    return String(execFileSync('smbstatus', [`--configfile=${conf}`, ...args]));
  }

  smbdLog(): string {
    return readFileSync(join(this.dir, 'log/smbd.log'), 'utf8');
  }

  /** Nothing may be left: no descriptor, no living record, no panic. */
  async nothingLeft(): Promise<void> {
    for (const client of this.#clients) await client.drop();
    this.#clients.clear();
    this.ctl('expire', '--all', '--yes');
    await this.until('an empty table and an empty keeper', () => {
      const alive = this.handles('--all').filter((h) =>
        ['connected', 'disconnected', 'claimed'].includes(h.state),
      );
      if (alive.length > 0) this.ctl('expire', '--all', '--yes');
      return alive.length === 0 && this.kept() === 0;
    });
    const panics = this.smbdLog().match(/.*(PANIC|INTERNAL ERROR|smb_panic).*/g);
    if (panics) throw new Error(`smbd panicked: ${panics.join('\n')}`);
  }

  /** How many descriptors of files below the shares the keeper has open. */
  kept(): number {
    const shares = join(this.dir, 'shares');
    return descriptorsBelow(this.pid('keeper'), shares);
  }

  async down(): Promise<void> {
    for (const client of this.#clients) await client.drop();
    await this.verb('down', '--purge');
  }
}

function descriptorsBelow(pid: number, dir: string): number {
  const out = execFileSync('find', [`/proc/${pid}/fd`, '-lname', `${dir}/*`, '-printf', 'x']);
  return out.length;
}

const tool = (name: string, ...args: (string | number)[]): string =>
  spawnSync(join(TOP, 'build/test-tools', name), args.map(String), {
    encoding: 'utf8',
  }).stdout.trim();

/** Whether two processes have the same file description of an inode: kcmp(2). */
export function sameDescription(pid1: number, pid2: number, dev: number, ino: number): boolean {
  return tool('fdtool', 'same-description', pid1, pid2, dev, ino).startsWith('same ');
}

/** Whether a process of its own gets an OFD lock on a range: locked, or busy. */
export function tryLock(path: string, start: number, length: number, kind: 'r' | 'w' = 'w') {
  return tool('fdtool', 'ofd-lock', path, start, length, kind);
}

export const DURABLE_KINDS = {
  'v1, batch oplock': { version: 1, lease: 0 },
  'v1, lease v1': { version: 1, lease: 1 },
  'v2, batch oplock': { version: 2, lease: 0 },
  'v2, lease v2': { version: 2, lease: 2 },
} as const;

export type { Open };
export { newGuid };
