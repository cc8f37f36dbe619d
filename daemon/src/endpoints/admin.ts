// SPDX-License-Identifier: GPL-3.0-or-later
// admin.sock: persistctl's requests.

import { z } from 'zod';
import { AdminError } from '../core/admin.js';
import {
  type AdminReplies,
  type AdminRequest,
  type AdminRequestType,
  adminRequests,
} from '../shared/admin.js';
import type { Body, Message } from '../shared/message.js';
import { WireError } from '../wire/codec.js';
import { type Reply, RouterEndpoint } from './router.js';

export type AdminService = {
  /** May throw or reject with AdminError. */
  [T in AdminRequestType]: (
    body: Extract<AdminRequest, { type: T }>['body'],
  ) => AdminReplies[T] | Promise<AdminReplies[T]>;
};

export function adminEndpoint(
  service: AdminService,
  bad: (endpoint: 'admin', why: string) => void,
): RouterEndpoint {
  return new RouterEndpoint({
    request: (message, reply) => {
      const request = parse(message);
      void answer(service, request, reply);
    },
    bad: (why) => bad('admin', why),
  });
}

function parse({ type, body }: Message): AdminRequest {
  if (!Object.hasOwn(adminRequests, type)) throw new WireError(`unknown request ${type}`);
  const result = adminRequests[type as AdminRequestType].safeParse(body);
  if (!result.success) throw new WireError(`${type}: ${z.prettifyError(result.error)}`);
  return { type, body: result.data } as AdminRequest;
}

async function answer(service: AdminService, request: AdminRequest, reply: Reply): Promise<void> {
  try {
    reply('ok', (await dispatch(service, request)) as unknown as Body);
  } catch (error) {
    const code = error instanceof AdminError ? error.code : 'failure';
    reply('error', { code, message: error instanceof Error ? error.message : String(error) });
  }
}

function dispatch(
  service: AdminService,
  request: AdminRequest,
): AdminReplies[AdminRequestType] | Promise<AdminReplies[AdminRequestType]> {
  const handler = service[request.type] as (
    body: AdminRequest['body'],
  ) => ReturnType<typeof dispatch>;
  return handler(request.body);
}
