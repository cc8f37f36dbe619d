// SPDX-License-Identifier: GPL-3.0-or-later

/** Why persistd cannot start, in a sentence for the admin. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
