// SPDX-License-Identifier: GPL-3.0-or-later

import { readFile } from 'node:fs/promises';
import { type Finding, ok, warn } from './finding.js';

/** An enforced profile of smbd that does not name the run directory cuts the module off. */
export async function checkAppArmor(
  runDir: string,
  securityDir = '/sys/kernel/security/apparmor',
  localProfile = '/etc/apparmor.d/local/usr.sbin.smbd',
): Promise<Finding> {
  const check = 'AppArmor';
  const profiles = await readFile(`${securityDir}/profiles`, 'utf8').catch(() => '');
  if (!/^(smbd|\/usr\/sbin\/smbd) \(enforce\)$/m.test(profiles)) {
    return ok(check, 'no profile of smbd is enforced');
  }
  const local = await readFile(localProfile, 'utf8').catch(() => '');
  if (local.includes(runDir)) {
    return ok(check, `the enforced profile of smbd names ${runDir}`);
  }
  return warn(
    check,
    `a profile of smbd is enforced and ${localProfile} does not name ${runDir}`,
    `Add "${runDir}/** rw," there, then run: apparmor_parser -r /etc/apparmor.d/usr.sbin.smbd`,
  );
}
