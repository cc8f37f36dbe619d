// SPDX-License-Identifier: GPL-3.0-or-later
/** Many requests in flight over one transport, matched by message id. */
import { Command, type CommandName, HeaderFlag } from './constants.js';
import { Credits, chargeFor } from './credits.js';
import { HEADER_LENGTH, type ResponseHeader, readHeader, writeHeader } from './header.js';
import { Call, Reply } from './reply.js';
import type { Signer } from './signing.js';
import { isSuccess, NtStatus } from './status.js';
import { Transport } from './transport.js';

const PREFIX_LENGTH = 4;
const DEFAULT_TIMEOUT_MS = 20_000;
const PENDING_STATUS: number = NtStatus.PENDING;
const WITH_DATA: readonly number[] = [NtStatus.BUFFER_OVERFLOW, NtStatus.MORE_PROCESSING_REQUIRED];

export interface CallOptions {
  timeoutMs?: number;
  /** Marks the request as sent again after a failure (SMB2_FLAGS_REPLAY_OPERATION). */
  replay?: boolean;
  channelSequence?: number;
}

export interface Request extends CallOptions {
  command: CommandName;
  /** The parts of the message after its header. */
  body: readonly Buffer[];
  /** The larger of what is sent and what is expected; decides the credit charge. */
  payloadSizeBytes?: number;
  sessionId?: bigint;
  treeId?: number;
  signer?: Signer | undefined;
}

export interface Message extends ResponseHeader {
  /** The whole message; offsets inside an SMB2 body count from here. */
  bytes: Buffer;
  body: Buffer;
  /** The request as it was sent; empty for a notification. */
  request: Buffer;
}

interface Exchange {
  request: Request;
  charge: number;
  messageId?: number;
  asyncId?: bigint;
  bytes: Buffer;
  settle(outcome: Message | Error): void;
  wentAsync(): void;
}

export interface ConnectionOptions {
  host?: string;
  port: number;
  timeoutMs?: number;
}

export class Connection {
  /** Told by NEGOTIATE: requests above 64 KiB cost more than one credit. */
  largeMtu = false;
  /** Sent with every request of a 3.x dialect that does not name its own. */
  channelSequence = 0;
  /** Called for each message that the server sends unasked. */
  onNotification: (message: Message) => void = () => undefined;
  readonly credits = new Credits();
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly #inFlight = new Map<number, Exchange>();
  #waiting: Exchange[] = [];
  #transport: Transport | undefined;

  private constructor(options: ConnectionOptions) {
    this.host = options.host ?? '127.0.0.1';
    this.port = options.port;
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  static async open(options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(options);
    const { host, port, timeoutMs } = connection;
    const onMessage = (message: Buffer) => connection.#receive(message);
    const transport = await Transport.open(host, port, onMessage, timeoutMs);
    connection.#transport = transport;
    void transport.closed.then(() => connection.#failAll());
    return connection;
  }

  get transport(): Transport {
    if (!this.#transport) throw new Error('the connection is not open yet');
    return this.#transport;
  }

  get inFlight(): number {
    return this.#inFlight.size + this.#waiting.length;
  }

  send(request: Request): Call<Message> {
    let noteAsync: (wentAsync: boolean) => void = () => undefined;
    const pending = new Promise<boolean>((resolve) => {
      noteAsync = resolve;
    });
    const exchange: Exchange = {
      request,
      charge: this.largeMtu ? chargeFor(request.payloadSizeBytes ?? 0) : 1,
      bytes: Buffer.alloc(0),
      settle: () => undefined,
      wentAsync: () => noteAsync(true),
    };
    const reply = new Promise<Reply<Message>>((resolve, reject) => {
      const timeoutMs = request.timeoutMs ?? this.timeoutMs;
      const timer = setTimeout(() => {
        this.#forget(exchange);
        exchange.settle(this.#error(request, `no answer within ${timeoutMs} ms`));
      }, timeoutMs);
      exchange.settle = (outcome) => {
        clearTimeout(timer);
        noteAsync(false);
        if (outcome instanceof Error) reject(outcome);
        else resolve(toReply(request.command, outcome));
      };
    });
    if (this.transport.isClosed) exchange.settle(this.#closedError(request));
    else {
      this.#waiting.push(exchange);
      this.#sendWaiting();
    }
    return new Call(reply, { pending, cancel: () => this.#cancel(exchange) });
  }

  #sendWaiting(): void {
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      const messageId = this.credits.take(next.charge);
      if (messageId === undefined) return;
      this.#waiting.shift();
      next.messageId = messageId;
      this.#inFlight.set(messageId, next);
      next.bytes = this.#transmit(next, messageId);
    }
  }

  #transmit({ request, charge }: Exchange, messageId: number): Buffer {
    const frame = Buffer.concat([Buffer.alloc(PREFIX_LENGTH + HEADER_LENGTH), ...request.body]);
    const message = frame.subarray(PREFIX_LENGTH);
    writeHeader(message, {
      command: Command[request.command],
      creditCharge: charge,
      creditRequest: this.credits.wish(charge),
      flags: request.replay ? HeaderFlag.REPLAY : 0,
      channelSequence: request.channelSequence ?? this.channelSequence,
      messageId,
      treeId: request.treeId ?? 0,
      sessionId: request.sessionId ?? 0n,
    });
    request.signer?.sign(message);
    this.transport.send(frame);
    return message;
  }

  /** CANCEL takes no message id of its own and gets no answer (MS-SMB2 3.2.4.24). */
  #cancel(exchange: Exchange): void {
    const { request, messageId, asyncId } = exchange;
    if (messageId === undefined) {
      this.#forget(exchange);
      exchange.settle(this.#error(request, 'cancelled before it was sent'));
      return;
    }
    if (!this.#inFlight.has(messageId)) return;
    const frame = Buffer.alloc(PREFIX_LENGTH + HEADER_LENGTH + 4);
    frame.writeUInt16LE(4, PREFIX_LENGTH + HEADER_LENGTH);
    const message = frame.subarray(PREFIX_LENGTH);
    writeHeader(message, {
      command: Command.CANCEL,
      creditCharge: 0,
      creditRequest: 0,
      flags: asyncId === undefined ? 0 : HeaderFlag.ASYNC,
      channelSequence: 0,
      messageId,
      ...(asyncId === undefined ? {} : { asyncId }),
      treeId: request.treeId ?? 0,
      sessionId: request.sessionId ?? 0n,
    });
    request.signer?.sign(message);
    this.transport.send(frame);
  }

  #receive(bytes: Buffer): void {
    const header = readHeader(bytes);
    this.credits.grant(header.credits);
    const message = { ...header, bytes, body: bytes.subarray(HEADER_LENGTH) };
    if (header.unsolicited) {
      this.onNotification({ ...message, request: Buffer.alloc(0) });
      return;
    }
    const exchange = this.#inFlight.get(header.messageId);
    if (exchange) this.#answer(exchange, { ...message, request: exchange.bytes });
    this.#sendWaiting();
  }

  #answer(exchange: Exchange, message: Message): void {
    if (message.status === PENDING_STATUS && (message.flags & HeaderFlag.ASYNC) !== 0) {
      exchange.asyncId = message.asyncId;
      exchange.wentAsync();
      return;
    }
    const { request } = exchange;
    this.#inFlight.delete(message.messageId);
    const isSigned = (message.flags & HeaderFlag.SIGNED) !== 0;
    if (isSigned && request.signer && !request.signer.verify(message.bytes)) {
      exchange.settle(this.#error(request, "the answer's signature is wrong"));
    } else exchange.settle(message);
  }

  #forget(exchange: Exchange): void {
    this.#waiting = this.#waiting.filter((other) => other !== exchange);
    if (exchange.messageId !== undefined) this.#inFlight.delete(exchange.messageId);
  }

  #failAll(): void {
    const exchanges = [...this.#inFlight.values(), ...this.#waiting];
    this.#inFlight.clear();
    this.#waiting = [];
    for (const exchange of exchanges) exchange.settle(this.#closedError(exchange.request));
  }

  #closedError(request: Request): Error {
    return this.#error(request, `the connection ended (${this.transport.reason})`);
  }

  #error(request: Request, what: string): Error {
    return new Error(`${request.command} to ${this.host}:${this.port}: ${what}`);
  }
}

function toReply(command: CommandName, message: Message): Reply<Message> {
  const hasData = isSuccess(message.status) || WITH_DATA.includes(message.status);
  return new Reply(command, message.status, hasData ? message : undefined);
}
