// SPDX-License-Identifier: GPL-3.0-or-later
/** Who is not root reaches none of the sockets. */
import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';

const OTHER_UID = 65_534;
const EXPECTED = ['admin.sock', 'control.sock', 'keeper.sock', 'smbd.sock', 'watch.sock'];

const samba = await DevSamba.up();
const runDir = join(samba.dir, 'run');
const test = suite('closed sockets');

/** The keeper_client's first words: whether it could connect, and why not. */
function connects(path: string, ...wrapper: string[]): { connected: boolean; errno?: number } {
  const [program = '', ...words] = [...wrapper, resolve('build/test-tools/keeper_client'), path];
  const { stdout, stderr } = spawnSync(program, words, { input: '', encoding: 'utf8' });
  const [line] = stdout.split('\n');
  if (!line) throw new Error(`keeper_client: ${stderr}`);
  return JSON.parse(line);
}

const sockets = readdirSync(runDir).filter((name) => statSync(join(runDir, name)).isSocket());

test('the run directory is root’s alone', () => {
  const { mode, uid } = statSync(runDir);
  assert.equal(mode & 0o7777, 0o700);
  assert.equal(uid, 0);
  for (const name of EXPECTED) assert.ok(sockets.includes(name), name);
});

for (const name of sockets) {
  test(`${name}: another user cannot connect`, () => {
    const other = ['setpriv', `--reuid=${OTHER_UID}`, `--regid=${OTHER_UID}`, '--clear-groups'];
    const answer = connects(join(runDir, name), ...other);
    assert.deepEqual(answer, { connected: false, errno: constants.errno.EACCES });
  });
}

test('root can, so that it is the user that matters', () => {
  assert.equal(connects(join(runDir, 'keeper.sock')).connected, true);
});

test('persistctl says to another user what is wrong', () => {
  const main = resolve('build/daemon/cli/main.js');
  const { status, stderr } = spawnSync(
    'setpriv',
    [`--reuid=${OTHER_UID}`, '--clear-groups', process.execPath, main, '--run-dir', runDir, 'list'],
    { encoding: 'utf8' },
  );
  assert.equal(status, 6, stderr);
});

test.after(() => samba.down());
test.run();
