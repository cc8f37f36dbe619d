// SPDX-License-Identifier: GPL-3.0-or-later
// Whose descriptors a keeper has: its own, or also those of the one before it.

import { statSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A keeper that starts makes keeper.index anew, one that takes over keeps that of the one
 * before it. null: there is none to be seen.
 */
export function keeperLineage(runDirectory: string): string | null {
  try {
    const { dev, ino, birthtimeNs } = statSync(join(runDirectory, 'keeper.index'), {
      bigint: true,
    });
    return `${dev}:${ino}:${birthtimeNs}`;
  } catch {
    return null;
  }
}
