// SPDX-License-Identifier: GPL-3.0-or-later

import type { AdminErrorCode } from '../src/shared/admin.js';
import { AdminError } from './connection.js';
import { CliError, EXIT, type ExitCode } from './errors.js';

const EXPLANATIONS: Record<AdminErrorCode, { exit: ExitCode; meaning: string; advice: string }> = {
  'no-such-handle': {
    exit: EXIT.noSuchHandle,
    meaning:
      'Nothing was changed. A handle that expired or was closed is forgotten; its client, if it comes back, has to open the file anew.',
    advice: 'Run "persistctl list --all" to see the handles there are.',
  },
  ambiguous: {
    exit: EXIT.noSuchHandle,
    meaning: 'Nothing was changed: the prefix fits several handles.',
    advice: 'Write more digits of the id; "persistctl list --all --wide" shows them all.',
  },
  refused: {
    exit: EXIT.refused,
    meaning: "Nothing was changed: the client's handle is as it was.",
    advice: 'Run "persistctl show ID" to see the state the handle is in.',
  },
  'bad-request': {
    exit: EXIT.usage,
    meaning: 'Nothing was changed: persistd did not accept the request.',
    advice: 'Run "persistctl doctor" to see whether persistctl and persistd are of one version.',
  },
  failure: {
    exit: EXIT.failure,
    meaning: 'persistd could not do it; clients go on as before.',
    advice: `Look into persistd's log, and run "persistctl doctor".`,
  },
};

/** Runs `work`; persistd's "no" comes out as an error for people, naming the `task`. */
export async function explained<T>(task: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof AdminError)) {
      throw error;
    }
    // Of a later persistd a code may be unknown here, whatever the types say.
    const { exit, meaning, advice } = EXPLANATIONS[error.code] ?? EXPLANATIONS.failure;
    throw new CliError(exit, `cannot ${task}: ${error.message}`, meaning, advice);
  }
}
