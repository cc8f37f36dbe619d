#!/usr/bin/env node
// SPDX-License-Identifier: GPL-3.0-or-later

import type { Server } from 'node:net';
import pino from 'pino';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { Daemon } from './daemon.js';
import { lockRunDirectory, openRunDirectory } from './run-directory.js';
import { VERSION } from './shared/version.js';
import { StartError } from './start-error.js';
import { makeStoreDirectory } from './store/lmdb-store.js';
import { StoreError } from './store/store.js';
import { lockStore } from './store/store-lock.js';

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

function readOptions() {
  return yargs(hideBin(process.argv))
    .scriptName('persistd')
    .usage('$0 [options]\n\nOwns the table of SMB handles that outlive their connection.')
    .option('run-dir', {
      describe: 'directory of the sockets, mode 0700',
      type: 'string',
      default: '/run/persistd',
    })
    .option('store', {
      describe: 'directory of the table on disk',
      type: 'string',
      default: '/var/lib/persistd',
    })
    .option('log-level', { choices: LOG_LEVELS, default: 'info' as const })
    .version(VERSION)
    .strict()
    .parseSync();
}

async function openStore(directory: string): Promise<Server> {
  makeStoreDirectory(directory);
  const lock = await lockStore(directory);
  if (lock !== null) return lock;
  throw new StoreError(`the store in ${directory} is in use by another persistd or persistctl`);
}

async function main(): Promise<void> {
  const options = readOptions();
  process.umask(0o077);
  openRunDirectory(options.runDir);
  const lock = await lockRunDirectory(options.runDir);
  const log = pino(
    { name: 'persistd', level: options.logLevel },
    pino.destination({ dest: 2, sync: true }),
  );
  const storeLock = await openStore(options.store);
  const daemon = new Daemon({ runDirectory: options.runDir, storeDirectory: options.store, log });
  await daemon.start();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log.info({ signal }, 'stopping');
      void daemon.stop().then((isClosed) => {
        lock.close();
        storeLock.close();
        // LMDB's thread waits for the disk, and the end of the process would wait for it
        if (!isClosed) process.kill(process.pid, 'SIGKILL');
      });
    });
  }
  log.info({ runDir: options.runDir, store: options.store, version: VERSION }, 'ready');
  process.stdout.write('persistd: ready\n');
  await daemon.serve();
}

main().catch((error: unknown) => {
  const isExpected = error instanceof StartError || error instanceof StoreError;
  const text = error instanceof Error ? (isExpected ? error.message : error.stack) : String(error);
  process.stderr.write(`persistd: ${text}\n`);
  process.exit(1);
});
