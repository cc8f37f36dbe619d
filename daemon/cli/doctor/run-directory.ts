// SPDX-License-Identifier: GPL-3.0-or-later

import { lstat } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import { type Finding, fail, ok } from './finding.js';

const CHECK = 'run directory';

/** The directory's mode is what keeps other users away from the ZeroMQ sockets. */
export async function checkRunDirectory(runDir: string): Promise<Finding> {
  let status: Awaited<ReturnType<typeof lstat>>;
  try {
    status = await lstat(runDir);
  } catch (error) {
    return fail(
      CHECK,
      `${runDir} cannot be examined (${errnoOf(error)})`,
      'Start persistd, which makes it, or name the right directory with --run-dir.',
    );
  }
  if (!status.isDirectory()) {
    return fail(CHECK, `${runDir} is not a directory`, 'Move it away and start persistd again.');
  }
  const mode = (status.mode & 0o7777).toString(8).padStart(4, '0');
  if (status.uid !== 0) {
    return fail(
      CHECK,
      `${runDir} belongs to uid ${status.uid}, who can replace the sockets in it`,
      `chown root ${runDir}`,
    );
  }
  if (mode !== '0700') {
    return fail(
      CHECK,
      `${runDir} has mode ${mode}, so users other than root may reach the sockets in it`,
      `chmod 0700 ${runDir}`,
    );
  }
  return ok(CHECK, `${runDir}, owner root, mode 0700`);
}
