// SPDX-License-Identifier: GPL-3.0-or-later
// smbd.sock: what smbd children report and ask.

import type { Handle } from '../core/handle.js';
import type { Body, Message } from '../shared/message.js';
import type { ServerId } from '../wire/records.js';
import {
  type ArriveBody,
  type ClaimBody,
  type ContendBody,
  decodeRequest,
  encodeTakeoverAnswer,
  encodeVerdict,
  type ImportBody,
  type Imports,
  imports,
  type SmbdEvent,
  type TakeoverAnswer,
  type TakeoverBody,
  type Verdict,
} from '../wire/smbd.js';
import { type Reply, RouterEndpoint } from './router.js';

export interface SmbdService {
  /** 16 bytes, new at each start. */
  readonly epoch: Buffer;
  hello(server: ServerId, versions: { moduleVersion: string; sambaVersion: string }): void;
  /**
   * Resolves when the events are committed, to whether handles among them that are to
   * outlive the host do; null: there are none. isFlushing is called if that takes long.
   */
  events(server: ServerId, events: SmbdEvent[], isFlushing: () => void): Promise<boolean | null>;
  claim(claim: ClaimBody, answer: (verdict: Verdict) => void): void;
  /** Resolve to the handles that ended, when their descriptors are closed. */
  arrive(arrival: ArriveBody): Promise<readonly Handle[]>;
  contend(contention: ContendBody): Promise<readonly Handle[]>;
  /** Resolves when all that the keeper reported before is taken in; null: it is away. */
  import(wanted: ImportBody): Promise<Imports | null>;
  takeover(takeover: TakeoverBody, answer: (answer: TakeoverAnswer) => void): void;
  bad(endpoint: 'smbd', why: string): void;
}

export function smbdEndpoint(service: SmbdService): RouterEndpoint {
  return new RouterEndpoint({
    request: (message, reply) => serve(service, message, reply),
    bad: (why) => service.bad('smbd', why),
  });
}

function serve(service: SmbdService, message: Message, reply: Reply): void {
  const request = decodeRequest(message.type, message.body);
  switch (request.type) {
    case 'hello':
      service.hello(request.body.serverId, request.body);
      return reply('welcome', { epoch: service.epoch });
    case 'events':
      void service
        .events(request.body.serverId, request.body.events, () => reply('flushing', {}))
        .then((flushed) => reply('ack', flushed === null ? {} : { flushed }));
      return;
    case 'contend':
      void service
        .contend(request.body)
        .then((ended) => reply('contended', { ended: ended.length }));
      return;
    case 'arrive':
      void service.arrive(request.body).then((ended) => {
        reply('arrived', { ended: ended.map(({ record }) => record.persistentId) });
      });
      return;
    case 'import':
      void service.import(request.body).then((answer) => {
        if (answer !== null) reply('imports', imports.encode(answer) as Body);
        else reply('error', { code: 'failure', message: 'fdkeeper does not answer' });
      });
      return;
    case 'takeover':
      return service.takeover(request.body, (answer) =>
        reply('takenOver', encodeTakeoverAnswer(answer)),
      );
    case 'claim':
      return service.claim(request.body, (verdict) => reply('verdict', encodeVerdict(verdict)));
  }
}
