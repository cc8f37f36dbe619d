// SPDX-License-Identifier: GPL-3.0-or-later

import { VIEW_SCHEMA_VERSION } from '../src/shared/handle-view.js';
import type { CliError } from './errors.js';
import { safeText, wrapIndented } from './text.js';

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(content: object): void {
  print(JSON.stringify({ schemaVersion: VIEW_SCHEMA_VERSION, ...content }, null, 2));
}

/** For the person, not for the pipe: what is not part of the answer goes to stderr. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function printError(error: CliError): void {
  note(`persistctl: ${safeText(error.message)}`);
  note(wrapIndented(safeText(error.meaning), 2));
  note(wrapIndented(safeText(error.advice), 2));
}
