// SPDX-License-Identifier: GPL-3.0-or-later
// A store is one persistd's, or one persistctl's that changes its files.

import type { Server } from 'node:net';
import { join } from 'node:path';
import { takeLock } from '../lock.js';
import { storeFault } from './fault.js';
import { StoreError } from './store.js';

/** Takes the store until the returned server closes; null: another process has it. */
export async function lockStore(directory: string): Promise<Server | null> {
  try {
    return await takeLock(join(directory, 'store.lock.sock'));
  } catch (error) {
    const { message, remedy } = storeFault(error);
    throw new StoreError(`the store in ${directory} cannot be locked: ${message}. ${remedy}`);
  }
}
