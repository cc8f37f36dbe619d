// SPDX-License-Identifier: GPL-3.0-or-later

import type { InfoView } from '../../src/shared/admin.js';
import { VERSION } from '../../src/shared/version.js';
import { checkAppArmor } from './app-armor.js';
import { checkClocks } from './clock.js';
import { checkDaemon } from './daemon.js';
import { type Finding, fail, warn } from './finding.js';
import { checkLockDirectory } from './lock-directory.js';
import { checkRunDirectory } from './run-directory.js';
import { checkSamba } from './samba.js';
import { checkShares } from './shares.js';
import { readSmbConf } from './smb-conf.js';
import { checkStoppedStore, checkStore } from './store.js';

export type Subject = {
  runDir: string;
  smbConf: string | undefined;
  /** Where the store is if persistd does not say. */
  store: string;
  /** What persistd says about itself, or why it says nothing. */
  persistd: { info: InfoView } | { failure: { message: string; advice: string } };
};

/** Every check there is, in the order in which a person would follow them up. */
export async function examine(subject: Subject): Promise<Finding[]> {
  const { persistd, runDir } = subject;
  const info = 'info' in persistd ? persistd.info : null;
  return [
    await checkRunDirectory(runDir),
    ...('info' in persistd
      ? checkDaemon(persistd.info, VERSION)
      : [fail('persistd', persistd.failure.message, persistd.failure.advice)]),
    info === null ? await checkStoppedStore(subject.store) : await checkStore(info),
    await checkClocks(info === null ? null : Date.parse(info.startedAt), Date.now()),
    ...(await checkSamba()),
    ...(await checkSmbConf(subject.smbConf, runDir)),
    await checkAppArmor(runDir),
  ];
}

async function checkSmbConf(file: string | undefined, runDir: string): Promise<Finding[]> {
  const result = await readSmbConf(file);
  switch (result.kind) {
    case 'no-testparm':
      return [
        warn(
          'smb.conf',
          'testparm is not there, so smb.conf was not examined',
          'apt-get install samba-common-bin',
        ),
      ];
    case 'invalid':
      return [
        fail(
          'smb.conf',
          `testparm cannot read it: ${result.reason}`,
          'Correct smb.conf, or name another with --smb-conf.',
        ),
      ];
    case 'read':
      return [
        await checkLockDirectory(result.lockDirectory),
        ...(await checkShares(result.conf, runDir)),
      ];
  }
}
