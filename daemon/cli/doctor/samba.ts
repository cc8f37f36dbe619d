// SPDX-License-Identifier: GPL-3.0-or-later

import { access } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import { type Finding, ok, warn } from './finding.js';
import { runCommand } from './run-command.js';

/** The installed Samba, and whether the module lies where its smbd looks for modules. */
export async function checkSamba(): Promise<Finding[]> {
  const release = await runCommand('smbd', ['--version']);
  const build = await runCommand('smbd', ['-b']);
  if (release.kind === 'missing' || build.kind === 'missing') {
    return [
      warn('Samba', 'smbd is not in PATH', "Install samba, or add smbd's directory to PATH."),
    ];
  }
  const modulesDir = /^\s*MODULESDIR:\s+(.*)$/m.exec(build.stdout)?.[1];
  const findings = [ok('Samba', `smbd, ${release.stdout.trim()}`)];
  if (modulesDir !== undefined) {
    findings.push(await checkModule(`${modulesDir}/vfs/persistent.so`));
  }
  return findings;
}

async function checkModule(path: string): Promise<Finding> {
  try {
    await access(path);
    return ok('module', path);
  } catch (error) {
    // No failure: an smbd of its own, such as that of scripts/dev-samba, may look elsewhere.
    return warn(
      'module',
      `${path} is not there (${errnoOf(error)}): no share of this smbd can load the module`,
      'In the source directory, run: make install',
    );
  }
}
