// SPDX-License-Identifier: GPL-3.0-or-later
/** The long random stress (scripts/soak): many clients on few files of a private Samba. */
import { createWriteStream } from 'node:fs';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { DevSamba } from '../lib/dev-samba.js';
import { soak } from './driver.js';

const options = yargs(hideBin(process.argv))
  .scriptName('soak')
  .usage('$0 [options]\n\nLets many clients work, fail and come back on few files.')
  .option('seed', { type: 'number', describe: 'Of the random numbers; printed when left out' })
  .option('minutes', { type: 'number', default: 10, describe: 'How long' })
  .option('clients', { type: 'number', default: 12, describe: 'How many clients' })
  .option('files', { type: 'number', default: 4, describe: 'How many files' })
  .option('errors', { type: 'number', default: 5, describe: 'How many errors end the run' })
  .option('keep', { type: 'boolean', default: false, describe: 'Leave the logs after errors' })
  .option('trace', { type: 'string', describe: 'A file for all that every client does' })
  .option('log-level', { type: 'number', default: 1, describe: "Of smbd's log" })
  .strict()
  .parseSync();

const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
const { minutes, clients, files } = options;
console.log(`seed ${seed}, ${minutes} minutes, ${clients} clients, ${files} files`);
const trace = options.trace === undefined ? undefined : createWriteStream(options.trace);
const samba = await DevSamba.up('--log-level', String(options.logLevel));
let failed = true;
try {
  const report = await soak(samba, {
    ...{ seed, minutes, clients, files },
    maxErrors: options.errors,
    outageEveryMs: 10_000,
    onProgress: (line) => process.stderr.write(`soak: ${line}\n`),
    onTrace: (line) => trace?.write(line),
  });
  console.log(report.summary());
  failed = report.errors.length > 0;
} finally {
  if (failed && options.keep) console.log(`the logs are in ${samba.dir}/log`);
  if (failed && options.keep) await samba.verb('down');
  else await samba.down();
}
process.exitCode = failed ? 1 : 0;
