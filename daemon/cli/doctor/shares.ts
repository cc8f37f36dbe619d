// SPDX-License-Identifier: GPL-3.0-or-later

import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { DEFAULT_RUN_DIR } from '../connection.js';
import { type Finding, fail, ok, warn } from './finding.js';
import { isYes, isYesOrNo, type Settings, type SmbConf, setting, vfsObjects } from './smb-conf.js';

const MODULE = 'persistent';

/** Settings with which stock Samba's own vfs_default_durable_cookie grants no durable handle. */
const CLASHES = [
  { name: 'kernel oplocks', preset: 'no', bad: true, remedy: 'kernel oplocks = no' },
  { name: 'kernel share modes', preset: 'no', bad: true, remedy: 'kernel share modes = no' },
  { name: 'durable handles', preset: 'yes', bad: false, remedy: 'durable handles = yes' },
  { name: 'oplocks', preset: 'yes', bad: false, remedy: 'oplocks = yes' },
] as const;

const KNOWN_OPTIONS: readonly string[] = [
  'socket directory',
  'durable timeout',
  'durable timeout max',
  'resilient timeout',
  'resilient timeout max',
  'persistent timeout',
  'persistent timeout max',
  'local access',
  'durable local access',
  'resilient local access',
  'persistent local access',
  'unsafe',
  'durability',
  'durable durability',
  'resilient durability',
  'persistent durability',
  'strength',
];

/** Modules whose files live elsewhere: the open has no kernel descriptor that could be kept. */
const WITHOUT_DESCRIPTOR: ReadonlySet<string> = new Set(['ceph', 'ceph_new', 'glusterfs']);

/** How each share that loads the module would fare, and who else exports its directory. */
export async function checkShares(conf: SmbConf, runDir: string): Promise<Finding[]> {
  const withModule = [...conf.shares].filter(([, share]) =>
    vfsObjects(conf, share).includes(MODULE),
  );
  if (withModule.length === 0) {
    return [
      warn(
        'shares',
        `no share loads the module`,
        `Add "vfs objects = ${MODULE}" to the shares whose handles shall be kept.`,
      ),
    ];
  }
  const findings: Finding[] = [];
  for (const [name, share] of withModule) {
    const found = [
      ...clashes(conf, name, share),
      ...leases(conf, name),
      ...moduleOrder(conf, name, share),
      ...options(conf, name, share),
      ...socketDirectory(conf, name, share, runDir),
      ...(await twins(conf, name, share)),
    ];
    findings.push(
      ...(found.length > 0
        ? found
        : [ok(`share ${name}`, 'nothing stands in the way of a handle')]),
    );
  }
  return findings;
}

function clashes(conf: SmbConf, name: string, share: Settings): Finding[] {
  return CLASHES.filter(
    (clash) => isYes(setting(conf, share, clash.name, clash.preset)) === clash.bad,
  ).map((clash) =>
    fail(
      `share ${name}`,
      `"${clash.name} = ${clash.bad ? 'yes' : 'no'}": Samba grants no durable handle on this share`,
      `Set "${clash.remedy}" for the share.`,
    ),
  );
}

// smb2_negprot.c offers leases only if these three global settings agree.
function leases(conf: SmbConf, name: string): Finding[] {
  const offered =
    isYes(conf.global.get('smb2 leases') ?? 'yes') &&
    isYes(conf.global.get('oplocks') ?? 'yes') &&
    !isYes(conf.global.get('kernel oplocks') ?? 'no');
  return offered
    ? []
    : [
        warn(
          `share ${name}`,
          'Samba offers no leases: only opens with a batch oplock get a durable handle',
          'In [global], set "smb2 leases = yes", "oplocks = yes" and "kernel oplocks = no".',
        ),
      ];
}

function moduleOrder(conf: SmbConf, name: string, share: Settings): Finding[] {
  const modules = vfsObjects(conf, share);
  return modules
    .filter((module) => WITHOUT_DESCRIPTOR.has(module))
    .map((module) =>
      fail(
        `share ${name}`,
        `"vfs objects" also has "${module}", whose files have no kernel descriptor to keep`,
        `Take "${MODULE}" out of "vfs objects" for this share.`,
      ),
    );
}

function options(conf: SmbConf, name: string, share: Settings): Finding[] {
  const findings: Finding[] = [];
  for (const [key, value] of new Map([...conf.global, ...share])) {
    const option = key.startsWith(`${MODULE}:`) ? key.slice(MODULE.length + 1).trim() : undefined;
    if (option === undefined) {
      continue;
    }
    if (!KNOWN_OPTIONS.includes(option)) {
      findings.push(
        warn(
          `share ${name}`,
          `"${key}" is no option of the module and has no effect`,
          `The options are: ${KNOWN_OPTIONS.map((known) => `"${MODULE}:${known}"`).join(', ')}.`,
        ),
      );
    } else if (/ timeout( max)?$/.test(option) && !/^\d+$/.test(value)) {
      findings.push(
        warn(`share ${name}`, `"${key} = ${value}" is not a number`, 'Give whole seconds.'),
      );
    } else if (option.endsWith('local access') && !/^(yield|keep)$/i.test(value)) {
      findings.push(
        warn(
          `share ${name}`,
          `"${key} = ${value}" is neither "yield" nor "keep" and has no effect`,
          'Write "yield": local access ends a handle that is away, or "keep".',
        ),
      );
    } else if (option === 'unsafe' && !/^(allow|refuse)$/i.test(value)) {
      findings.push(
        warn(
          `share ${name}`,
          `"${key} = ${value}" is neither "allow" nor "refuse", "allow" is taken`,
          'Write "refuse": nobody opens a file that may be promised while persistd is away.',
        ),
      );
    } else if (option.endsWith('durability') && !/^(process|host)$/i.test(value)) {
      findings.push(
        warn(
          `share ${name}`,
          `"${key} = ${value}" is neither "process" nor "host" and has no effect`,
          'Write "host" for handles that outlive a reset of the host, or "process".',
        ),
      );
    } else if (option === 'strength' && !isYesOrNo(value)) {
      findings.push(
        warn(
          `share ${name}`,
          `"${key} = ${value}" is neither "yes" nor "no", "no" is taken`,
          'Write "yes": durable v2 handles are protected while their client is away.',
        ),
      );
    }
  }
  return findings;
}

// The module reads it once per smbd child, so it counts in [global] only.
function socketDirectory(conf: SmbConf, name: string, share: Settings, runDir: string): Finding[] {
  const key = `${MODULE}:socket directory`;
  const value = conf.global.get(key) ?? DEFAULT_RUN_DIR;
  const findings: Finding[] = [];
  if (share.has(key)) {
    findings.push(
      warn(`share ${name}`, `"${key}" has no effect in a share`, 'Move it to [global].'),
    );
  }
  if (resolve(value) !== runDir) {
    findings.push(
      warn(
        `share ${name}`,
        `its module talks to the persistd of ${value}, but this check is about ${runDir}`,
        `Run "persistctl --run-dir ${value} doctor", or correct "${key}" in [global].`,
      ),
    );
  }
  return findings;
}

// Through such a share a file is opened, renamed or deleted without the module seeing it.
async function twins(conf: SmbConf, name: string, share: Settings): Promise<Finding[]> {
  const own = await directoryOf(share);
  const findings: Finding[] = [];
  for (const [otherName, other] of conf.shares) {
    if (
      own !== '' &&
      otherName !== name &&
      !vfsObjects(conf, other).includes(MODULE) &&
      (await directoryOf(other)) === own
    ) {
      findings.push(
        warn(
          `share ${name}`,
          `share "${otherName}" exports the same directory, ${own}, without the module: a rename through it goes unnoticed`,
          `Add "vfs objects = ${MODULE}" to [${otherName}] too.`,
        ),
      );
    }
  }
  return findings;
}

async function directoryOf(share: Settings): Promise<string> {
  const path = share.get('path') ?? '';
  return path === '' ? '' : realpath(path).catch(() => path);
}
