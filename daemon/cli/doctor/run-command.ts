// SPDX-License-Identifier: GPL-3.0-or-later

import { execFile } from 'node:child_process';

const TIMEOUT_MS = 15_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

export type CommandResult =
  | { kind: 'ran'; exitCode: number; stdout: string; stderr: string }
  | { kind: 'missing' };

/** Runs one of Samba's own tools, without a shell and with C messages. */
export function runCommand(file: string, args: readonly string[]): Promise<CommandResult> {
  const options = {
    timeout: TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT_BYTES,
    // smbd lies in /usr/sbin, which an ordinary user's PATH often lacks.
    env: { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
  };
  return new Promise((resolve) => {
    execFile(file, args, options, (error, stdout, stderr) => {
      if (error?.code === 'ENOENT') {
        resolve({ kind: 'missing' });
      } else {
        const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ kind: 'ran', exitCode, stdout, stderr });
      }
    });
  });
}
