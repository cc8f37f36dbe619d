// SPDX-License-Identifier: GPL-3.0-or-later

import type { Argv } from 'yargs';
import { type GlobalArgs, type GlobalOptions, withConnection } from '../connection.js';
import { examine, type Subject } from '../doctor/examine.js';
import type { Finding } from '../doctor/finding.js';
import { CliError, EXIT, type ExitCode } from '../errors.js';
import { explained } from '../explain.js';
import { print, printJson } from '../output.js';
import { padTo, safeText, wrapIndented } from '../text.js';
import { STORE_OPTION } from './store.js';

const STATUS_COLUMNS = 6;

export function addDoctor(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command(
    'doctor',
    'Check that handles can be kept, and say what to do where they cannot',
    (command) =>
      command.options({
        'smb-conf': {
          type: 'string',
          requiresArg: true,
          describe: "The smb.conf to check; Samba's own unless given",
        },
        store: STORE_OPTION,
        json: { type: 'boolean', default: false, describe: 'Print one JSON object' },
      }),
    async (args) => {
      const { persistd, exitCode } = await ask(args);
      const { runDir, smbConf, store } = args;
      const findings = await examine({ runDir, smbConf, store, persistd });
      const failed = findings.some((finding) => finding.status === 'fail');
      if (args.json) {
        printJson({ ok: !failed, checks: findings });
      } else {
        print(findings.map(findingText).join('\n'));
      }
      process.exitCode = exitCode ?? (failed ? EXIT.failure : EXIT.ok);
    },
  );
}

/** The other checks are worth making even when persistd is silent: they may tell why. */
async function ask(
  args: GlobalArgs,
): Promise<{ persistd: Subject['persistd']; exitCode: ExitCode | null }> {
  try {
    const info = await withConnection(args, (connection) =>
      explained('examine persistd', connection.request('info', {})),
    );
    return { persistd: { info }, exitCode: null };
  } catch (error) {
    if (!(error instanceof CliError)) {
      throw error;
    }
    return { persistd: { failure: error }, exitCode: error.exitCode };
  }
}

function findingText(finding: Finding): string {
  const text = wrapIndented(safeText(`${finding.check}: ${finding.message}`), STATUS_COLUMNS);
  const first = padTo(finding.status, STATUS_COLUMNS) + text.slice(STATUS_COLUMNS);
  return finding.remedy === null
    ? first
    : `${first}\n${wrapIndented(safeText(finding.remedy), STATUS_COLUMNS + 2)}`;
}
