// SPDX-License-Identifier: GPL-3.0-or-later

import { NoStoreError } from '../../src/store/inspect.js';
import { StoreError } from '../../src/store/store.js';
import { CliError, EXIT, errnoOf } from '../errors.js';

const UNCHANGED = 'Nothing was changed.';

/** Runs `work` on a store; what goes wrong comes out as an error for people. */
export async function onStore<T>(
  task: string,
  directory: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CliError) throw error;
    if (error instanceof NoStoreError) {
      throw new CliError(
        EXIT.failure,
        `cannot ${task}: ${error.message}`,
        'persistd makes its store when it starts for the first time.',
        'Name the directory with --store.',
      );
    }
    if (error instanceof StoreError) {
      throw new CliError(
        EXIT.failure,
        `cannot ${task}: ${error.message}`,
        `${UNCHANGED} While such a store is in place, persistd does not start; fdkeeper goes on holding descriptors.`,
        'docs/store.md says what to do with each. "persistctl store verify" lists what is wrong.',
      );
    }
    const code = errnoOf(error);
    if (code === 'EACCES' || code === 'EPERM') {
      throw new CliError(
        EXIT.permission,
        `you may not use the store in ${directory}`,
        "Only root and persistd's own user may.",
        'Run persistctl as root.',
      );
    }
    throw new CliError(
      EXIT.failure,
      `cannot ${task}: ${error instanceof Error ? error.message : String(error)}`,
      UNCHANGED,
      `Look at ${directory}: its file system, its rights, its free space.`,
    );
  }
}
