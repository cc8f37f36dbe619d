// SPDX-License-Identifier: GPL-3.0-or-later

import type { Argv } from 'yargs';
import { AdminError, type GlobalOptions, withConnection } from '../connection.js';
import { CliError, EXIT } from '../errors.js';
import { explained } from '../explain.js';
import { print, printJson } from '../output.js';

/** fdkeeper gives up on a program after 5 s, and 2 s more. */
const UPGRADE_MS = 10_000;

export function addKeeper(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command(
    'keeper <action>',
    'Upgrade fdkeeper in place; no handle is lost',
    (command) =>
      command
        .positional('action', {
          choices: ['upgrade'] as const,
          demandOption: true,
          describe: 'upgrade: to the program that is installed now',
        })
        .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' }),
    async (args) => {
      const patient = { ...args, timeout: Math.max(args.timeout, UPGRADE_MS) };
      const upgrade = await withConnection(patient, (connection) =>
        explained('upgrade fdkeeper', connection.request('keeperUpgrade', {}).catch(notUpgraded)),
      );
      if (args.json) {
        printJson(upgrade);
      } else {
        const { pid, previousPid, descriptors } = upgrade;
        print(
          `fdkeeper (pid ${pid}) has taken over ${descriptors} descriptors from ${previousPid}`,
        );
      }
    },
  );
}

function notUpgraded(error: unknown): never {
  if (!(error instanceof AdminError) || error.code !== 'failure') throw error;
  throw new CliError(
    EXIT.failure,
    `fdkeeper was not upgraded: ${error.message}`,
    'A fdkeeper that runs goes on with all that it keeps; no client notices anything.',
    "Look into fdkeeper's log, and at the program that is installed in its place.",
  );
}
