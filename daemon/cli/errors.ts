// SPDX-License-Identifier: GPL-3.0-or-later

/** What the shell sees. Documented in docs/persistctl.md and in --help. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  notRunning: 3,
  noSuchHandle: 4,
  refused: 5,
  permission: 6,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An error for the person at the keyboard: what failed, what it means, what to do. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly meaning: string;
  readonly advice: string;

  constructor(exitCode: ExitCode, message: string, meaning: string, advice: string) {
    super(message);
    this.name = 'CliError';
    this.exitCode = exitCode;
    this.meaning = meaning;
    this.advice = advice;
  }
}

/** A wrong command line; the command's usage is printed with it. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** The code of a system error ("ENOENT"), or an empty string. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : '';
}
