// SPDX-License-Identifier: GPL-3.0-or-later

import type { Argv } from 'yargs';
import type { HandleView } from '../../src/shared/handle-view.js';
import { type AdminConnection, type GlobalOptions, withConnection } from '../connection.js';
import { parseDurationMs } from '../durations.js';
import { UsageError } from '../errors.js';
import { explained } from '../explain.js';
import { parseId, shortId } from '../ids.js';
import { note, print, printJson } from '../output.js';
import { safeText } from '../text.js';

const CLIENT_AFTER_END =
  'A client that comes back cannot resume what was ended; it has to open the file anew.';

export function addClose(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command(
    'close <ids..>',
    'Close disconnected handles: no client can resume them',
    (command) =>
      command
        .positional('ids', {
          type: 'string',
          array: true,
          demandOption: true,
          describe: 'Ids of handles, or as much of each as is unique',
          coerce: (ids: string[]) => ids.map(parseId),
        })
        .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' }),
    async (args) => {
      const { handles } = await withConnection(args, (connection) =>
        explained(`close ${args.ids.join(', ')}`, connection.request('close', { ids: args.ids })),
      );
      report('closed', handles, args.json);
    },
  );
}

export function addExpire(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command(
    'expire [ids..]',
    'Let disconnected handles expire before their time',
    (command) =>
      command
        .positional('ids', {
          type: 'string',
          array: true,
          default: [] as string[],
          describe: 'Ids of handles, or as much of each as is unique',
          coerce: (ids: string[]) => ids.map(parseId),
        })
        .options({
          'older-than': {
            type: 'string',
            requiresArg: true,
            describe: 'All that have been disconnected for longer, such as 5m',
            coerce: (text: string | undefined) =>
              text === undefined ? undefined : parseDurationMs(text),
          },
          all: { type: 'boolean', default: false, describe: 'All disconnected handles' },
          yes: { type: 'boolean', default: false, describe: 'Needed with --all' },
          json: { type: 'boolean', default: false, describe: 'Print one JSON object' },
        })
        .check((args) => {
          const ways = [args.ids.length > 0, args.olderThan !== undefined, args.all];
          if (ways.filter(Boolean).length !== 1) {
            throw new UsageError('Name ids, or --older-than, or --all: one of the three.');
          }
          if (args.all && !args.yes) {
            throw new UsageError('--all ends every disconnected handle: confirm it with --yes.');
          }
          return true;
        }),
    async (args) => {
      const handles = await withConnection(args, (connection) =>
        expire(connection, args.ids, args.olderThan),
      );
      report('expired', handles, args.json);
    },
  );
}

async function expire(
  connection: AdminConnection,
  ids: string[],
  olderThanMs: number | undefined,
): Promise<HandleView[]> {
  const task = ids.length > 0 ? `expire ${ids.join(', ')}` : 'expire handles';
  const work =
    ids.length > 0
      ? connection.request('expire', { ids })
      : connection.request(
          'expireWhere',
          olderThanMs === undefined ? { all: true } : { olderThanMs },
        );
  return (await explained(task, work)).handles;
}

function report(done: string, handles: readonly HandleView[], json: boolean): void {
  if (json) {
    printJson({ handles });
    return;
  }
  for (const handle of handles) {
    print(`${done} ${shortId(handle.id)} ${safeText(`${handle.path} (${handle.username})`)}`);
  }
  note(handles.length === 0 ? 'No handle was ended.' : CLIENT_AFTER_END);
}
