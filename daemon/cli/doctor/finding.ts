// SPDX-License-Identifier: GPL-3.0-or-later

export type Status = 'ok' | 'warn' | 'fail';

/** What one check found; a remedy says what to do about a warning or a failure. */
export type Finding = {
  check: string;
  status: Status;
  message: string;
  remedy: string | null;
};

export function ok(check: string, message: string): Finding {
  return { check, status: 'ok', message, remedy: null };
}

export function warn(check: string, message: string, remedy: string): Finding {
  return { check, status: 'warn', message, remedy };
}

export function fail(check: string, message: string, remedy: string): Finding {
  return { check, status: 'fail', message, remedy };
}
