// SPDX-License-Identifier: GPL-3.0-or-later

import { resolve } from 'node:path';
import type { Argv } from 'yargs';
import { now, readBootId } from '../../src/clock.js';
import { handleView } from '../../src/core/view.js';
import { type Compaction, compactStore } from '../../src/store/compact.js';
import { type Inspection, inspectStore, type Problem } from '../../src/store/inspect.js';
import { restoredHandle } from '../../src/store/record.js';
import { lockStore } from '../../src/store/store-lock.js';
import type { GlobalOptions } from '../connection.js';
import { CliError, EXIT } from '../errors.js';
import { note, print, printJson } from '../output.js';
import { onStore } from '../store/explain.js';
import { recordView } from '../store/record-view.js';
import { renderTable } from '../table.js';
import { safeText } from '../text.js';
import { columnsFor } from './list.js';

export const STORE_OPTION = {
  type: 'string',
  requiresArg: true,
  default: '/var/lib/persistd',
  describe: "persistd's --store",
  coerce: (path: string) => resolve(path),
} as const;

const JSON_OPTION = {
  type: 'boolean',
  default: false,
  describe: 'Print one JSON object',
} as const;

type StoreOptions = GlobalOptions & { store: string; json: boolean };

export function addStore(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command('store', "Examine persistd's table on disk", (command) => {
    const withOptions = command.options({ store: STORE_OPTION, json: JSON_OPTION });
    return addCompact(addVerify(addDump(withOptions))).demandCommand(1, 'Name a command.');
  });
}

function addDump(argv: Argv<StoreOptions>): Argv<StoreOptions> {
  return argv.command(
    'dump',
    'Show every record, also while persistd runs',
    (command) =>
      command.options({
        header: { type: 'boolean', default: true, describe: 'Column titles; --no-header: none' },
        wide: { type: 'boolean', default: false, describe: 'Shorten nothing to fit 80 columns' },
      }),
    async (args) => {
      const { store } = args;
      const inspection = await onStore('read the store', store, () => inspectStore(store));
      const { schemaVersion, records, problems } = inspection;
      if (args.json) {
        const views = [...records].map(([key, stored]) => recordView(key, stored));
        printJson({ store, storeSchemaVersion: schemaVersion, records: views, problems });
      } else {
        printTable(inspection, args);
        for (const problem of problems) note(`persistctl: ${problemText(problem)}`);
      }
      process.exitCode = problems.length === 0 ? EXIT.ok : EXIT.failure;
    },
  );
}

function printTable({ records }: Inspection, options: { header: boolean; wide: boolean }): void {
  if (records.size === 0) {
    note('The store has no records.');
    return;
  }
  const [moment, bootId] = [now(), readBootId()];
  const handles = [...records.values()].map((stored) =>
    handleView(restoredHandle(stored, bootId, moment).handle, moment),
  );
  print(renderTable(columnsFor(handles, options.wide, true), handles, options));
}

function addVerify(argv: Argv<StoreOptions>): Argv<StoreOptions> {
  return argv.command(
    'verify',
    'Read all records, list what is wrong',
    (command) => command,
    async ({ store, json }) => {
      const { records, problems, schemaVersion } = await onStore('verify the store', store, () =>
        inspectStore(store),
      );
      const ok = problems.length === 0;
      if (json) {
        const counts = { records: records.size, problems };
        printJson({ store, ok, storeSchemaVersion: schemaVersion, ...counts });
      } else {
        for (const problem of problems) print(problemText(problem));
        print(`${records.size} records can be read, ${problems.length} problems`);
      }
      process.exitCode = ok ? EXIT.ok : EXIT.failure;
    },
  );
}

function problemText({ key, reason }: Problem): string {
  return safeText(key === null ? reason : `record ${key}: ${reason}`);
}

function addCompact(argv: Argv<StoreOptions>): Argv<StoreOptions> {
  return argv.command(
    'compact',
    'Make the file smaller, without persistd',
    (command) => command,
    async ({ store, json }) => {
      const compaction = await onStore('compact the store', store, () => compact(store));
      if (json) printJson({ store, ...compaction });
      else print(compactionText(compaction));
    },
  );
}

async function compact(directory: string): Promise<Compaction> {
  await inspectStore(directory);
  const lock = await lockStore(directory);
  if (lock === null) throw inUse(directory);
  try {
    return await compactStore(directory);
  } finally {
    lock.close();
  }
}

function inUse(directory: string): CliError {
  return new CliError(
    EXIT.refused,
    `cannot compact the store: ${directory} is in use by a persistd that runs`,
    'Nothing was changed: persistd would go on writing into the old file.',
    'Stop persistd, compact, start it again; clients do not notice if it is done within their time.',
  );
}

function compactionText({ records, bytesBefore, bytesAfter }: Compaction): string {
  return `${records} records: ${kib(bytesBefore)} before, ${kib(bytesAfter)} after`;
}

function kib(bytes: number): string {
  return `${Math.ceil(bytes / 1024)} KiB`;
}
