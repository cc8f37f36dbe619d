// SPDX-License-Identifier: GPL-3.0-or-later
/** Runs tests of smbtorture (Debian: samba-testsuite) against shares of a DevSamba. */
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { DevSamba } from './dev-samba.js';

export interface Result {
  outcome: 'success' | 'failure' | 'error' | 'skip' | 'crash' | 'hang';
  /** What smbtorture says about it. */
  detail: string;
}

export interface Target {
  samba: DevSamba;
  share: string;
  /** As SMB2_10, unless the newest is meant. */
  maxProtocol?: string;
}

export type Results = Map<string, Result>;

export interface Comparison {
  suite: string;
  names: string[];
  plain: Results;
  durable: Results;
  /** These pass on the plain share and fail on the durable one, each time. */
  worse: string[];
  /** These pass on the durable share only. */
  better: string[];
}

/** The longest single test waits 40 s for a lease break that it leaves unanswered. */
const SILENCE_MS = 100_000;
/** Tests that depend on timing fail now and then on any share. */
const MORE_ROUNDS = 3;

/** smbtorture lists SUITE.CASE.TEST; a case of one test has its name twice. */
export function testsOf(suite: string): string[] {
  const out = execFileSync('smbtorture', ['--list', suite], { encoding: 'utf8' });
  const listed = out.split('\n').filter((line) => line.startsWith(`${suite}.`));
  if (listed.length === 0) throw new Error(`smbtorture lists no test of ${suite}`);
  return listed.map((name) => name.replace(/\.([^.]+)\.\1$/, '.$1'));
}

/** The tests by their names; one that kills or hangs smbtorture hides no other. */
export async function runTests(target: Target, names: string[]): Promise<Results> {
  const results: Results = new Map();
  let left = names;
  while (left.length > 0) {
    const { began, died } = await runProcess(target, left, results);
    left = left.filter((name) => !results.has(name));
    // without an outcome it is the test that ended the process
    const culprit = left.find((name) => name === began) ?? left[0];
    if (culprit !== undefined) results.set(culprit, died);
    left = left.filter((name) => name !== culprit);
  }
  return results;
}

/** Tells the last test begun, and what to say of it if that has no outcome. */
async function runProcess(
  { samba, share, maxProtocol = 'SMB3_11' }: Target,
  names: string[],
  results: Results,
): Promise<{ began: string; died: Result }> {
  const { port, user, password, smbConf } = samba.status();
  const child = spawn(
    'smbtorture',
    [
      `--configfile=${smbConf}`,
      `--smb-ports=${port}`,
      `--user=${user}%${password}`,
      `--max-protocol=${maxProtocol}`,
      '--format=subunit',
      '--fullname',
      `//127.0.0.1/${share}`,
      ...names,
    ],
    { cwd: samba.dir, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let silent = false;
  const watchdog = setTimeout(() => {
    silent = true;
    child.kill('SIGKILL');
  }, SILENCE_MS);
  let lastWords = '';
  child.stderr.setEncoding('utf8').on('data', (words: string) => {
    lastWords = (lastWords + words).slice(-500);
  });
  const ended = new Promise<string>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve(signal ?? `exit status ${status}`));
  });

  let began = '';
  let open: Result | undefined; // its detail, which ends with a line "]", is being read
  for await (const line of createInterface({ input: child.stdout })) {
    watchdog.refresh();
    const [, word, name = '', bracket] =
      /^(test|success|failure|error|skip): (\S+)( \[)?$/.exec(line) ?? [];
    if (word === 'test') {
      began = name;
    } else if (word !== undefined) {
      const result = { outcome: word as Result['outcome'], detail: '' };
      results.set(name, result);
      open = bracket ? result : undefined;
    } else if (line === ']') {
      open = undefined;
    } else if (open) {
      open.detail += `${line} `;
    }
  }
  const end = await ended;
  clearTimeout(watchdog);
  const died: Result = silent
    ? { outcome: 'hang', detail: `silent for ${SILENCE_MS / 1000} s` }
    : { outcome: 'crash', detail: `${end}: ${lastWords}` };
  return { began, died };
}

/** Runs a suite on both shares at the same time. */
export async function compare(
  suite: string,
  targets: { plain: Target; durable: Target },
): Promise<Comparison> {
  const names = testsOf(suite);
  const both = (some: string[]) =>
    Promise.all([runTests(targets.plain, some), runTests(targets.durable, some)]);
  const [plain, durable] = await both(names);

  let worse = names.filter((name) => passes(plain, name) && !passes(durable, name));
  const better = names.filter((name) => !passes(plain, name) && passes(durable, name));
  for (let round = 0; round < MORE_ROUNDS && worse.length > 0; round++) {
    const [again, durableAgain] = await both(worse);
    worse = worse.filter((name) => passes(again, name) && !passes(durableAgain, name));
  }
  return { suite, names, plain, durable, worse, better };
}

export function passes(results: Results, name: string): boolean {
  return results.get(name)?.outcome === 'success';
}
