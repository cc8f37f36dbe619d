// SPDX-License-Identifier: GPL-3.0-or-later
/** Events into persistd, from a DEALER that plays an smbd child. */
import { randomBytes } from 'node:crypto';
import { Dealer } from 'zeromq';
import { type Body, decodeMessage, encodeMessage } from '../../daemon/src/shared/message.js';
import { encodeRequest, type SmbdEvent } from '../../daemon/src/wire/smbd.js';
import { record, server } from '../fixtures/handle.js';

const BATCHES_IN_FLIGHT = 4;

/** A handle's life, as most are: granted, locked, unlocked, closed. */
function life(): SmbdEvent[] {
  const cookie = randomBytes(16).toString('hex');
  const serverId = server(process.pid);
  return [
    { type: 'grant', body: record({ cookie, serverId }) },
    { type: 'lock', body: { cookie, start: 0n, count: 100n, exclusive: true, note: null } },
    { type: 'unlock', body: { cookie, start: 0n, count: 100n, note: null } },
    { type: 'close', body: { cookie, reason: 'close' } },
  ];
}

export class EventSource {
  readonly #socket = new Dealer({ linger: 0, receiveTimeout: 10_000 });
  #seq = 0;

  static async connect(runDir: string): Promise<EventSource> {
    const source = new EventSource();
    source.#socket.connect(`ipc://${runDir}/smbd.sock`);
    const body = {
      serverId: server(process.pid),
      moduleVersion: '0.1.0',
      sambaVersion: 'none, a benchmark',
    };
    await source.#send('hello', encodeRequest({ type: 'hello', body }));
    await source.#receive();
    return source;
  }

  /** Events per second, each acknowledged, which is when it is committed to the store. */
  async rate(lives: number, livesPerBatch: number): Promise<number> {
    const batches: Body[] = [];
    for (let made = 0; made < lives; made += livesPerBatch) {
      const events = Array.from({ length: livesPerBatch }, life).flat();
      const body = { serverId: server(process.pid), events };
      batches.push(encodeRequest({ type: 'events', body }));
    }
    const start = performance.now();
    let unanswered = 0;
    for (const batch of batches) {
      if (unanswered === BATCHES_IN_FLIGHT) {
        await this.#receive();
        unanswered -= 1;
      }
      await this.#send('events', batch);
      unanswered += 1;
    }
    for (; unanswered > 0; unanswered -= 1) await this.#receive();
    const took = (performance.now() - start) / 1000;
    return (batches.length * livesPerBatch * 4) / took;
  }

  close(): void {
    this.#socket.close();
  }

  async #send(type: string, body: Body): Promise<void> {
    this.#seq += 1;
    await this.#socket.send(encodeMessage(type, this.#seq, body));
  }

  async #receive(): Promise<void> {
    const [frame] = await this.#socket.receive();
    if (frame === undefined) throw new Error('an empty message from persistd');
    const { type } = decodeMessage(frame);
    if (type !== 'ack' && type !== 'welcome') throw new Error(`persistd answered ${type}`);
  }
}
