// SPDX-License-Identifier: GPL-3.0-or-later

import { runCommand } from './run-command.js';

export type Settings = ReadonlyMap<string, string>;

/** smb.conf as Samba itself reads it: includes, copies and synonyms are resolved by testparm. */
export type SmbConf = { global: Settings; shares: ReadonlyMap<string, Settings> };

export type SmbConfResult =
  | { kind: 'read'; conf: SmbConf; lockDirectory: string }
  | { kind: 'no-testparm' }
  | { kind: 'invalid'; reason: string };

export async function readSmbConf(file: string | undefined): Promise<SmbConfResult> {
  const fileArgs = file === undefined ? [] : [file];
  const dump = await runCommand('testparm', ['-s', '--suppress-prompt', ...fileArgs]);
  if (dump.kind === 'missing') {
    return { kind: 'no-testparm' };
  }
  if (dump.exitCode !== 0 && dump.stdout === '') {
    return { kind: 'invalid', reason: `${file ?? 'the default file'}: ${lastLine(dump.stderr)}` };
  }
  const lockArgs = ['-s', '--suppress-prompt', '--parameter-name=lock directory', ...fileArgs];
  const lock = await runCommand('testparm', lockArgs);
  return {
    kind: 'read',
    conf: parseDump(dump.stdout),
    lockDirectory: lock.kind === 'ran' ? lastLine(lock.stdout) : '',
  };
}

/** Parses what `testparm -s` prints: canonical names, one parameter a line, defaults left out. */
export function parseDump(text: string): SmbConf {
  const global = new Map<string, string>();
  const shares = new Map<string, Map<string, string>>();
  let section = global;
  for (const line of text.split('\n')) {
    const name = /^\[(.*)\]$/.exec(line)?.[1];
    if (name !== undefined) {
      section = name.toLowerCase() === 'global' ? global : new Map();
      if (section !== global) {
        shares.set(name, section);
      }
      continue;
    }
    const [, key, value] = /^\t([^=]+?) = ?(.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) {
      section.set(key.toLowerCase(), value);
    }
  }
  return { global, shares };
}

/** A share's parameter; [global] is where a share without its own takes it from. */
export function setting(conf: SmbConf, share: Settings, name: string, preset: string): string {
  return share.get(name) ?? conf.global.get(name) ?? preset;
}

export function isYes(value: string): boolean {
  return ['yes', 'true', 'on', '1'].includes(value.toLowerCase());
}

export function isYesOrNo(value: string): boolean {
  return isYes(value) || ['no', 'false', 'off', '0'].includes(value.toLowerCase());
}

/** The modules of a share, outermost first; "name:instance" is a module too. */
export function vfsObjects(conf: SmbConf, share: Settings): string[] {
  return setting(conf, share, 'vfs objects', '')
    .split(/[\s,]+/)
    .map((word) => word.split(':')[0] ?? '')
    .filter((word) => word !== '');
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
