// SPDX-License-Identifier: GPL-3.0-or-later

import { connect } from 'node:net';
import { join } from 'node:path';
import { Dealer } from 'zeromq';
import type {
  AdminErrorBody,
  AdminErrorCode,
  AdminReplies,
  AdminRequest,
  AdminRequestType,
} from '../src/shared/admin.js';
import { decodeMessage, encodeMessage, MAX_REQUEST_BYTES } from '../src/shared/message.js';
import { CliError, EXIT, errnoOf, UsageError } from './errors.js';

export const DEFAULT_RUN_DIR = '/run/persistd';

/** The options every command has, as they are written and as a command reads them. */
export type GlobalOptions = { 'run-dir': string; timeout: number };
export type GlobalArgs = { runDir: string; timeout: number };

type RequestBody<T extends AdminRequestType> = Extract<AdminRequest, { type: T }>['body'];

/** persistd's own "no", by its code. */
export class AdminError extends Error {
  readonly code: AdminErrorCode;

  constructor(body: AdminErrorBody) {
    super(body.message);
    this.name = 'AdminError';
    this.code = body.code;
  }
}

/** One request at a time to the persistd of a run directory. */
export class AdminConnection {
  private readonly socket: Dealer;
  private readonly args: GlobalArgs;
  private lastSeq = 0;

  private constructor(args: GlobalArgs) {
    this.args = args;
    this.socket = new Dealer({ linger: 0, immediate: true, sendTimeout: args.timeout });
    this.socket.connect(`ipc://${join(args.runDir, 'admin.sock')}`);
  }

  static async open(args: GlobalArgs): Promise<AdminConnection> {
    await probeSocket(args.runDir, 'admin.sock');
    return new AdminConnection(args);
  }

  async request<T extends AdminRequestType>(
    type: T,
    body: RequestBody<T>,
  ): Promise<AdminReplies[T]> {
    this.lastSeq += 1;
    const frame = encodeMessage(type, this.lastSeq, body);
    if (frame.length > MAX_REQUEST_BYTES) {
      throw new UsageError('too many ids for one command: name fewer at a time');
    }
    const deadlineMs = performance.now() + this.args.timeout;
    try {
      await this.socket.send(frame);
      for (;;) {
        this.socket.receiveTimeout = Math.max(1, Math.ceil(deadlineMs - performance.now()));
        const [bytes] = await this.socket.receive();
        const reply = decodeMessage(bytes ?? Buffer.alloc(0));
        if (reply.seq === this.lastSeq && reply.type === 'error') {
          throw new AdminError(reply.body as unknown as AdminErrorBody);
        }
        if (reply.seq === this.lastSeq) {
          // persistd is of the same release; `doctor` tells when it is not.
          return reply.body as unknown as AdminReplies[T];
        }
      }
    } catch (error) {
      throw errnoOf(error) === 'EAGAIN' ? silent(this.args) : error;
    }
  }

  close(): void {
    this.socket.close();
  }
}

/** Opens the connection for as long as `use` runs. */
export async function withConnection<T>(
  args: GlobalArgs,
  use: (connection: AdminConnection) => Promise<T>,
): Promise<T> {
  const connection = await AdminConnection.open(args);
  try {
    return await use(connection);
  } finally {
    connection.close();
  }
}

/**
 * ZeroMQ connects in the background and says nothing when nobody listens, so one plain connection
 * first asks the kernel whether somebody does, and whether we may.
 */
export async function probeSocket(runDir: string, name: string): Promise<void> {
  const path = join(runDir, name);
  try {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(path, () => {
        socket.destroy();
        resolve();
      });
      socket.once('error', reject);
    });
  } catch (error) {
    throw connectError(error, path, runDir);
  }
}

function connectError(error: unknown, path: string, runDir: string): Error {
  switch (errnoOf(error)) {
    case 'EACCES':
    case 'EPERM':
      return new CliError(
        EXIT.permission,
        `you may not open ${path}`,
        "Only root and persistd's own user may look at handles or end them.",
        'Run persistctl as root.',
      );
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return new CliError(
        EXIT.notRunning,
        `persistd is not running (nobody listens on ${path})`,
        'Clients work as on a share without the module; handles that wait for their client keep their descriptors in the keeper.',
        `Start persistd, or name its run directory with --run-dir (now ${runDir}).`,
      );
    default:
      return new CliError(
        EXIT.failure,
        `cannot open ${path}: ${error instanceof Error ? error.message : String(error)}`,
        'Nothing was changed.',
        'Run "persistctl doctor" to find out more.',
      );
  }
}

function silent(args: GlobalArgs): CliError {
  return new CliError(
    EXIT.notRunning,
    `persistd does not answer (waited ${args.timeout} ms)`,
    'It may be hung or very busy; clients work as on a share without the module. A request to end or extend a handle may still be carried out when it goes on.',
    "Look into persistd's log, wait longer with --timeout, or restart persistd.",
  );
}
