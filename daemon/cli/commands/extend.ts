// SPDX-License-Identifier: GPL-3.0-or-later

import type { Argv } from 'yargs';
import { type GlobalOptions, withConnection } from '../connection.js';
import { parseDurationMs, relativeText } from '../durations.js';
import { UsageError } from '../errors.js';
import { explained } from '../explain.js';
import { parseId, shortId } from '../ids.js';
import { print, printJson } from '../output.js';

export function addExtend(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command(
    'extend <id>',
    'Give the client of a disconnected handle more time',
    (command) =>
      command
        .positional('id', {
          type: 'string',
          demandOption: true,
          describe: "The handle's id, or as much of it as is unique",
          coerce: parseId,
        })
        .options({
          by: {
            type: 'string',
            demandOption: true,
            requiresArg: true,
            describe: 'How much longer, such as 5m or 1h30m',
            coerce: parsePositiveMs,
          },
          json: { type: 'boolean', default: false, describe: 'Print one JSON object' },
        }),
    async (args) => {
      const { handle } = await withConnection(args, (connection) =>
        explained(
          `extend ${args.id}`,
          connection.request('extend', { id: args.id, byMs: args.by }),
        ),
      );
      if (args.json) {
        printJson({ handle });
      } else {
        print(`${shortId(handle.id)} now expires ${relativeText(handle.expires_in_ms ?? 0, 0)}`);
      }
    },
  );
}

function parsePositiveMs(text: string): number {
  const durationMs = parseDurationMs(text);
  if (durationMs === 0) {
    throw new UsageError('--by has to be longer than nothing');
  }
  return durationMs;
}
