// SPDX-License-Identifier: GPL-3.0-or-later
/** What can befall the disk on which persistd's store lies. */
import { appendFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import type { Persistd, Surroundings } from '../fixtures/persistd.js';
import { unshareMounts } from './mounts.js';

const { EIO, ENOSPC } = constants.errno;

export interface StoreFault {
  name: string;
  /** What persistd says of it. */
  reason: RegExp;
  remedy: RegExp;
  /** For a persistd that can be struck by it. */
  surroundings(persistd: Persistd): Surroundings;
  begin(persistd: Persistd): void;
  end(persistd: Persistd): void;
}

/** By test/tools/preload/storefault.c. */
function failing(
  name: string,
  how: string,
  [reason, remedy]: [RegExp, RegExp] = [/Input\/output error/, /dmesg/],
): StoreFault {
  const order = ({ directory }: Persistd) => join(directory, 'storefault');
  return {
    name,
    reason,
    remedy,
    surroundings: (persistd) => ({
      env: {
        LD_PRELOAD: resolve('build/test-tools/storefault.so'),
        STOREFAULT: order(persistd),
      },
    }),
    begin: (persistd) => writeFileSync(order(persistd), how),
    end: (persistd) => rmSync(order(persistd)),
  };
}

/** A store on a tmpfs of its own, in a mount namespace that ends with its persistd. */
export function onTmpfs({ storeDir }: Persistd, options: string): Surroundings {
  const script = `mkdir -p "$0" && mount -t tmpfs -o ${options} tmpfs "$0" && exec "$@"`;
  return { wrapper: [...unshareMounts(), 'sh', '-c', script, storeDir] };
}

/** The store as the persistd that runs sees it. */
export function storeOf({ pid, storeDir }: Persistd): string {
  return join(`/proc/${pid}/root`, storeDir);
}

export function fill(directory: string): void {
  const block = Buffer.alloc(4096);
  for (;;) {
    try {
      appendFileSync(join(directory, 'filler'), block);
    } catch {
      return;
    }
  }
}

const diskFull: StoreFault = {
  name: 'its disk is full',
  reason: /No space left on device/,
  remedy: /Make room/,
  surroundings: (persistd) => onTmpfs(persistd, 'size=1m'),
  begin: (persistd) => fill(storeOf(persistd)),
  end: (persistd) => rmSync(join(storeOf(persistd), 'filler')),
};

export const STORE_FAULTS: StoreFault[] = [
  diskFull,
  failing('its disk takes no write', `write ${EIO}`),
  failing('its disk does not flush', `sync ${EIO}`),
  failing('the first pages cannot be written', `meta ${EIO}`),
  failing('there is no room for the first pages', `meta ${ENOSPC}`, [
    /No space left on device/,
    /Make room/,
  ]),
  failing('its disk was remounted read-only', `write ${constants.errno.EROFS}`, [
    /Read-only file system/,
    /read-write again/,
  ]),
  failing('its disk hangs', 'hang 0', [/no answer from the disk/, /dmesg/]),
];
