#!/usr/bin/env node
// SPDX-License-Identifier: GPL-3.0-or-later
// persistctl: an admin's view of the handles that persistd keeps (docs/persistctl.md).

import { resolve } from 'node:path';
import yargs, { type Argv } from 'yargs';
import { hideBin } from 'yargs/helpers';
import { VERSION } from '../src/shared/version.js';
import { addDoctor } from './commands/doctor.js';
import { addClose, addExpire } from './commands/end.js';
import { addExtend } from './commands/extend.js';
import { addKeeper } from './commands/keeper.js';
import { addList } from './commands/list.js';
import { addShow } from './commands/show.js';
import { addStats } from './commands/stats.js';
import { addStore } from './commands/store.js';
import { addWatch } from './commands/watch.js';
import { DEFAULT_RUN_DIR, type GlobalOptions } from './connection.js';
import { parseDurationMs } from './durations.js';
import { CliError, EXIT, errnoOf, UsageError } from './errors.js';
import { note, printError } from './output.js';
import { PAGE_COLUMNS, safeText } from './text.js';

const EPILOGUE = `Exit codes:
  0  done
  1  failure, or doctor or store found one
  2  wrong usage
  3  persistd is not running, or does not answer in time
  4  no such handle, or the prefix of an id fits several
  5  persistd refused: the handle's state does not allow it; store compact:
     persistd runs
  6  permission denied

PERSISTD_RUN_DIR names the run directory where --run-dir does not.`;

async function main(): Promise<void> {
  const base = yargs(hideBin(process.argv))
    .scriptName('persistctl')
    .usage('$0 COMMAND\n\nLooks after the handles that wait for their SMB client.')
    .options({
      'run-dir': {
        type: 'string',
        requiresArg: true,
        default: process.env.PERSISTD_RUN_DIR || DEFAULT_RUN_DIR,
        describe: 'Where persistd has its sockets',
        coerce: (path: string) => resolve(path),
      },
      timeout: {
        type: 'string',
        requiresArg: true,
        default: '5s',
        describe: 'How long to wait for persistd',
        coerce: parseDurationMs,
      },
    })
    .parserConfiguration({ 'duplicate-arguments-array': false });
  const handles = [addList, addShow, addClose, addExpire, addExtend];
  const commands = [...handles, addWatch, addStats, addKeeper, addStore];
  const withCommands = commands.reduce<Argv<GlobalOptions>>((argv, add) => add(argv), base);
  await addDoctor(withCommands)
    .strict()
    .recommendCommands()
    .demandCommand(1, 'Name a command.')
    .version(VERSION)
    .alias('h', 'help')
    .epilogue(EPILOGUE)
    .wrap(PAGE_COLUMNS)
    .exitProcess(false)
    .fail((message, error, argv) => {
      // A command's own error is not a matter of usage; yargs names its errors YError.
      if (error && !(error instanceof UsageError) && error.name !== 'YError') {
        throw error;
      }
      argv.showHelp('error');
      throw new UsageError(error?.message ?? message);
    })
    .parseAsync();
}

function report(error: unknown): void {
  if (error instanceof CliError) {
    printError(error);
    process.exitCode = error.exitCode;
  } else if (error instanceof UsageError) {
    note(`\npersistctl: ${error.message.split('\n').map(safeText).join('\n')}`);
    process.exitCode = EXIT.usage;
  } else {
    note(`persistctl: ${safeText(error instanceof Error ? error.message : String(error))}`);
    process.exitCode = EXIT.failure;
  }
}

// "persistctl list | head -1": the reader has what it wanted.
process.stdout.on('error', (error) => {
  process.exit(errnoOf(error) === 'EPIPE' ? EXIT.ok : EXIT.failure);
});

await main().catch(report);
