// SPDX-License-Identifier: GPL-3.0-or-later
/** Kills smbd children, fdkeeper and persistd at each named point (scripts/faults). */
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { faultPoints } from '../lib/fault-points.js';
import { Bench } from './bench.js';
import { runFaults } from './driver.js';

const options = yargs(hideBin(process.argv))
  .scriptName('faults')
  .usage('$0 [options]\n\nKills who comes to a named point, and looks what becomes of the handles.')
  .option('iterations', { type: 'number', default: 1000, describe: 'How many, over all points' })
  .option('minutes', { type: 'number', default: 60, describe: 'How long at most' })
  .option('points', { type: 'string', describe: 'Only points whose name holds this text' })
  .option('seed', { type: 'number', describe: 'Of the random numbers; printed when left out' })
  .option('exact', {
    type: 'boolean',
    default: false,
    describe: 'Each iteration with this seed: repeats one that failed',
  })
  .option('json', { type: 'boolean', default: false, describe: 'The result as JSON' })
  .option('keep', { type: 'boolean', default: false, describe: 'Leave the logs after losses' })
  .strict()
  .parseSync();

const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
const points = faultPoints().filter((point) => point.includes(options.points ?? ''));
if (points.length === 0) throw new Error(`no point has ${options.points} in its name`);
process.stderr.write(`faults: seed ${seed}, ${points.length} points\n`);
const bench = await Bench.up();
let isGood = false;
try {
  const report = await runFaults(bench, {
    ...{ seed, points, iterations: options.iterations, minutes: options.minutes },
    isExact: options.exact,
    onProgress: (line) => process.stderr.write(`faults: ${line}\n`),
  });
  console.log(options.json ? JSON.stringify(report.json(), null, 2) : report.table());
  isGood = report.isGood;
} finally {
  if (!isGood && options.keep) process.stderr.write(`faults: logs in ${bench.samba.dir}/log\n`);
  if (!isGood && options.keep) await bench.samba.verb('down');
  else await bench.samba.down();
}
process.exitCode = isGood ? 0 : 1;
