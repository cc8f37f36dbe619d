// SPDX-License-Identifier: GPL-3.0-or-later

import type { Argv } from 'yargs';
import { HANDLE_KINDS, HANDLE_STATES, type HandleView } from '../../src/shared/handle-view.js';
import { type GlobalOptions, withConnection } from '../connection.js';
import { relativeText } from '../durations.js';
import { explained } from '../explain.js';
import { digitsNeeded } from '../ids.js';
import { note, print, printJson } from '../output.js';
import { protectionText } from '../protection.js';
import { type Column, renderTable } from '../table.js';

export function addList(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command(
    'list',
    'List the handles that wait for their client',
    (command) =>
      command.options({
        all: { type: 'boolean', default: false, describe: 'In every state, not only disconnected' },
        share: { type: 'string', requiresArg: true, describe: 'Only of this share' },
        user: { type: 'string', requiresArg: true, describe: 'Only of this user' },
        client: { type: 'string', requiresArg: true, describe: 'Only of this address or name' },
        kind: { choices: HANDLE_KINDS, requiresArg: true, describe: 'Only of this kind' },
        state: { choices: HANDLE_STATES, requiresArg: true, describe: 'Only in this state' },
        path: { type: 'string', requiresArg: true, describe: 'Only of this file or below it' },
        json: { type: 'boolean', default: false, describe: 'Print one JSON object' },
        header: { type: 'boolean', default: true, describe: 'Column titles; --no-header: none' },
        wide: { type: 'boolean', default: false, describe: 'Shorten nothing to fit 80 columns' },
      }),
    async (args) => {
      const { all, share, user, client, kind, path } = args;
      const state = args.state ?? (all ? undefined : 'disconnected');
      const filters = { all, share, user, client, kind, state, path };
      const { handles } = await withConnection(args, (connection) =>
        explained('list the handles', connection.request('list', filters)),
      );
      if (args.json) {
        printJson({ handles });
      } else if (handles.length === 0) {
        note(state === 'disconnected' ? 'No handle waits for its client.' : 'No such handle.');
      } else {
        const columns = columnsFor(handles, args.wide, state !== 'disconnected');
        print(renderTable(columns, handles, args));
      }
    },
  );
}

/** For a table; `withState`: it shows more than what waits for its client. */
export function columnsFor(
  handles: readonly HandleView[],
  wide: boolean,
  withState: boolean,
): Column<HandleView>[] {
  const digits = wide ? undefined : digitsNeeded(handles.map((handle) => handle.id));
  const columns: (Column<HandleView> | false)[] = [
    { title: 'ID', cell: (handle) => handle.id.slice(0, digits) },
    withState && { title: 'STATE', cell: (handle) => handle.state },
    (wide || !withState) && { title: 'KIND', cell: (handle) => handle.kind },
    { title: 'SHARE', cell: (handle) => handle.share, minColumns: 6 },
    { title: 'USER', cell: (handle) => handle.username, minColumns: 6 },
    { title: 'CLIENT', cell: (handle) => handle.remote_machine, minColumns: withState ? 11 : 15 },
    { title: 'EXPIRES', cell: expiryText },
    wide && { title: 'PROTECTS', cell: protectionText },
    wide && { title: 'REFUSED', cell: (handle) => String(handle.refused_others) },
    {
      title: 'FILE',
      cell: (handle) => (wide ? handle.path : handle.filename),
      minColumns: withState ? 12 : 9,
    },
  ];
  return columns.filter((column) => column !== false);
}

function expiryText(handle: HandleView): string {
  return handle.expires_in_ms === null ? '-' : relativeText(handle.expires_in_ms, 0);
}
