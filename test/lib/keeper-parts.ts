// SPDX-License-Identifier: GPL-3.0-or-later
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { Control } from './keeper-control.js';
import { Mailbox } from './mailbox.js';

export const FDKEEPER = resolve(process.env.FDKEEPER ?? 'build/fdkeeper');
const KEEPER_CLIENT = resolve('build/test-tools/keeper_client');
const FDTOOL = resolve('build/test-tools/fdtool');

function lines(stream: Readable | null, what: string): Mailbox<string> {
  const mailbox = new Mailbox<string>(what);
  if (stream !== null) {
    createInterface(stream).on('line', (line) => mailbox.put(line));
  }
  return mailbox;
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) {
    throw new Error(`${child.spawnfile} did not start`);
  }
  return child.pid;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal);
    await once(child, 'exit');
  }
  return child.exitCode;
}

export function isRunning(pid: number): boolean {
  try {
    return !/ [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\)/, ''));
  } catch {
    return false;
  }
}

/** A process that is no child of ours. */
async function endStranger(pid: number): Promise<void> {
  process.kill(pid, 'SIGTERM');
  while (isRunning(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
}

export const newCookie = (): string => randomBytes(16).toString('hex');

/** fdtool's first line; its exit status is told by what it says. */
export function fdtool(...words: (string | number | bigint)[]): string {
  try {
    return execFileSync(FDTOOL, words.map(String), { encoding: 'utf8' }).trim();
  } catch (error) {
    return String((error as { stdout?: string }).stdout ?? error).trim();
  }
}

/** A keeper in a directory of its own, which goes with it. */
export class Keeper {
  readonly directory = mkdtempSync(join(tmpdir(), 'keeper-'));
  readonly runDir = join(this.directory, 'run');
  readonly child: ChildProcess;
  readonly log: Mailbox<string>;
  #clients: Client[] = [];
  #stdout: Mailbox<string>;

  /** The one that has taken over. */
  #successor: number | undefined;

  private constructor(options: string[], wrapper: string[], fdkeeper: string) {
    const [program, ...words] = [...wrapper, fdkeeper, '--run-dir', this.runDir, ...options];
    this.child = spawn(program ?? fdkeeper, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.log = lines(this.child.stderr, 'log of fdkeeper');
    this.#stdout = lines(this.child.stdout, 'stdout of fdkeeper');
  }

  static async start(
    options: string[] = [],
    wrapper: string[] = [],
    program = FDKEEPER,
  ): Promise<Keeper> {
    const keeper = new Keeper(options, wrapper, program);
    await keeper.#stdout.take((line) => line === 'fdkeeper: ready');
    return keeper;
  }

  get pid(): number {
    return this.#successor ?? pidOf(this.child);
  }

  /** After an upgrade. */
  succeededBy(pid: number): void {
    this.#successor = pid;
  }

  /** Its surrogate host; the first keeper of a run directory is the parent of it. */
  get hostPid(): number {
    return Number(readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8'));
  }

  path(name: string): string {
    return join(this.runDir, name);
  }

  async client(wrapper: string[] = []): Promise<Client> {
    const client = await Client.connect(this.path('keeper.sock'), wrapper);
    this.#clients.push(client);
    return client;
  }

  control(): Promise<Control> {
    return Control.connect(this.path('control.sock'));
  }

  descriptorCount(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  indexSlot(slot: number): number {
    return readFileSync(this.path('keeper.index')).readUInt32LE(slot * 4);
  }

  /** Its exit status; that of the first one if another has taken over. */
  async stop(): Promise<number | null> {
    const status = await end(this.child, 'SIGTERM');
    if (this.#successor !== undefined) await endStranger(this.#successor);
    await Promise.all(this.#clients.map((client) => client.end()));
    rmSync(this.directory, { recursive: true });
    return status;
  }
}

/** Start a keeper that is expected to refuse: its exit status and its words. */
export async function refusedStart(...words: string[]): Promise<[number | null, string]> {
  const child = spawn(FDKEEPER, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => {
    said += data;
  });
  await once(child, 'close');
  return [child.exitCode, said];
}

export type Answer = Record<string, number | string | boolean | string[] | null>;

/** keeper_client: an smbd child. */
export class Client {
  readonly #child: ChildProcess;
  readonly #answers: Mailbox<string>;

  private constructor(socket: string, wrapper: string[]) {
    const [program, ...words] = [...wrapper, KEEPER_CLIENT, socket];
    this.#child = spawn(program ?? KEEPER_CLIENT, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#answers = lines(this.#child.stdout, 'answer of keeper_client');
  }

  static async connect(socket: string, wrapper: string[]): Promise<Client> {
    const client = new Client(socket, wrapper);
    const hello: Answer = JSON.parse(await client.#answers.take());
    if (hello.connected !== true) {
      throw new Error(`connect: errno ${hello.errno}`);
    }
    return client;
  }

  get pid(): number {
    return pidOf(this.#child);
  }

  async run(...words: (string | number | bigint)[]): Promise<Answer> {
    this.#child.stdin?.write(`${words.join(' ')}\n`);
    return JSON.parse(await this.#answers.take());
  }

  async end(): Promise<void> {
    await end(this.#child, 'SIGKILL');
  }
}
