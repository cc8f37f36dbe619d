// SPDX-License-Identifier: GPL-3.0-or-later

import type { Argv } from 'yargs';
import { type GlobalOptions, withConnection } from '../connection.js';
import { explained } from '../explain.js';
import { print, printJson } from '../output.js';
import { padTo, safeText, shortenMiddle } from '../text.js';

const LABEL_COLUMNS = 40;

export function addStats(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command(
    'stats',
    'Show counters since persistd started',
    (command) =>
      command.option('json', {
        type: 'boolean',
        default: false,
        describe: 'Print one JSON object',
      }),
    async (args) => {
      const stats = await withConnection(args, (connection) =>
        explained('read the counters', connection.request('stats', {})),
      );
      if (args.json) {
        printJson(stats);
      } else {
        const { schemaVersion: _, handles, ...counters } = stats;
        print(['Handles now', ...lines(handles, 1)].join('\n'));
        print(['', 'Since persistd started', ...lines(counters, 1)].join('\n'));
      }
    },
  );
}

/** Counters by name, a nested map indented below its own name. */
function lines(counters: object, depth: number): string[] {
  return Object.entries(counters).flatMap(([name, value]) => {
    const label = `${'  '.repeat(depth)}${safeText(name.replaceAll('_', ' '))}`;
    if (typeof value === 'object' && value !== null) {
      return Object.keys(value).length === 0 ? [] : [label, ...lines(value, depth + 1)];
    }
    const shortened = shortenMiddle(label, LABEL_COLUMNS - 1);
    return [`${padTo(shortened, LABEL_COLUMNS)}${String(value).padStart(10)}`];
  });
}
