// SPDX-License-Identifier: GPL-3.0-or-later

import type { InfoView } from '../../src/shared/admin.js';
import { type Finding, fail, ok, warn } from './finding.js';

const NEARLY_FULL = 0.8;

/** What a running persistd says about itself and its keeper. */
export function checkDaemon(info: InfoView, cliVersion: string): Finding[] {
  return [
    ok(
      'persistd',
      `answers, pid ${info.pid}, since ${info.startedAt}, ${info.smbds} smbd children`,
    ),
    checkVersions(info.version, cliVersion),
    ...checkKeeper(info.keeper),
  ];
}

function checkVersions(daemonVersion: string, cliVersion: string): Finding {
  return daemonVersion === cliVersion
    ? ok('versions', `persistd and persistctl ${cliVersion}`)
    : warn(
        'versions',
        `persistd is ${daemonVersion}, persistctl ${cliVersion}`,
        'Restart persistd to run the installed version; clients do not notice.',
      );
}

function checkLocalAccess(facility: 'none' | 'fanotify' | 'inotify'): Finding {
  const remedy = 'Run fdkeeper as root with CAP_SYS_ADMIN, and without --watch.';
  switch (facility) {
    case 'fanotify':
      return ok('local access', 'seen by fanotify');
    case 'inotify':
      return warn(
        'local access',
        'seen by inotify: not by whom, and not before something is written',
        remedy,
      );
    case 'none':
      return warn(
        'local access',
        'not seen: a handle whose file was changed ends when its client comes back',
        remedy,
      );
  }
}

function checkKeeper(keeper: InfoView['keeper']): Finding[] {
  if (keeper === null) {
    return [
      fail(
        'keeper',
        'persistd has no connection to fdkeeper: no descriptor can be kept or handed back',
        'Start fdkeeper for this run directory; persistd finds it by itself.',
      ),
    ];
  }
  const use = `${keeper.used} of ${keeper.limit} descriptors used`;
  const more = "Raise the keeper's limit of open files (LimitNOFILE) and restart it.";
  const findings = [
    ok('keeper', `answers, pid ${keeper.pid}`),
    keeper.used > NEARLY_FULL * keeper.limit
      ? warn('descriptors', `${use}: further handles will soon be stock durable ones`, more)
      : ok('descriptors', use),
    checkLocalAccess(keeper.localAccess),
  ];
  if (keeper.refused > 0) {
    findings.push(
      warn('deposits', `the keeper refused ${keeper.refused} deposits since it started`, more),
    );
  }
  if (keeper.protocolErrors > 0) {
    findings.push(
      warn(
        'protocol',
        `the keeper dropped ${keeper.protocolErrors} malformed packets since it started`,
        "Install module, persistd and keeper of one version; look into the keeper's log.",
      ),
    );
  }
  return findings;
}
