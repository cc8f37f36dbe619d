// SPDX-License-Identifier: GPL-3.0-or-later
/** What can befall persistd and the keeper, and how it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { DevSamba } from './dev-samba.js';

export type Victim = 'persistd' | 'keeper';

export interface Fault {
  victim: Victim;
  name: string;
  /** It does answer, only late: waits are not in vain and may come again. */
  answers?: true;
  begin(samba: DevSamba): Promise<void>;
  /** The victim is back and well. */
  end(samba: DevSamba): Promise<void>;
}

/** SIGKILL, and the process is gone when this resolves. */
export async function killed(samba: DevSamba, victim: Victim): Promise<void> {
  const pid = samba.pid(victim);
  process.kill(pid, 'SIGKILL');
  await samba.until(`the end of ${victim}`, () => isGone(pid));
}

function isGone(pid: number): boolean {
  if (!existsSync(`/proc/${pid}`)) return true;
  return / [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\)/, ''));
}

function dead(victim: Victim): Fault {
  return {
    victim,
    name: 'killed',
    begin: (samba) => killed(samba, victim),
    end: async (samba) => void (await samba.verb('restart', victim)),
  };
}

function hung(victim: Victim): Fault {
  let pid = 0;
  return {
    victim,
    name: 'hung',
    begin: async (samba) => {
      pid = samba.pid(victim);
      process.kill(pid, 'SIGSTOP');
    },
    end: async () => void process.kill(pid, 'SIGCONT'),
  };
}

/** Runs for a moment, then stands still for longer than anybody waits for it. */
function slow(victim: Victim): Fault {
  let pid = 0;
  let timer: NodeJS.Timeout | undefined;
  const stand = () => {
    process.kill(pid, 'SIGSTOP');
    timer = setTimeout(run, 300);
  };
  const run = () => {
    process.kill(pid, 'SIGCONT');
    timer = setTimeout(stand, 30);
  };
  return {
    victim,
    name: 'slow',
    answers: true,
    begin: async (samba) => {
      pid = samba.pid(victim);
      stand();
    },
    end: async () => {
      clearTimeout(timer);
      process.kill(pid, 'SIGCONT');
    },
  };
}

function replaced(victim: Victim, manner: string, words: (runDir: string) => string[]): Fault {
  let fake: ChildProcess | undefined;
  return {
    victim,
    name: `replaced by a fake, ${manner}`,
    begin: async (samba) => {
      await killed(samba, victim);
      const [program = '', ...rest] = words(join(samba.dir, 'run'));
      fake = spawn(program, [...rest, manner], { stdio: ['ignore', 'pipe', 'inherit'] });
      if (fake.stdout) await once(createInterface(fake.stdout), 'line');
    },
    end: async (samba) => {
      if (fake && fake.exitCode === null && fake.signalCode === null) {
        fake.kill('SIGKILL');
        await once(fake, 'exit');
      }
      await samba.verb('restart', victim);
    },
  };
}

function fakePersistd(manner: 'silent' | 'garbage' | 'flood'): Fault {
  const script = resolve('build/test/fixtures/fake-persistd.js');
  return replaced('persistd', manner, (runDir) => [process.execPath, script, runDir]);
}

function fakeKeeper(manner: 'silent' | 'garbage' | 'lavish' | 'stranger'): Fault {
  return replaced('keeper', manner, (runDir) => [resolve('build/test-tools/fake_keeper'), runDir]);
}

export const FAULTS: Fault[] = [
  dead('persistd'),
  hung('persistd'),
  slow('persistd'),
  fakePersistd('silent'),
  fakePersistd('garbage'),
  fakePersistd('flood'),
  dead('keeper'),
  hung('keeper'),
  slow('keeper'),
  fakeKeeper('silent'),
  fakeKeeper('garbage'),
  fakeKeeper('lavish'),
  fakeKeeper('stranger'),
];
