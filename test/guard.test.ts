// SPDX-License-Identifier: GPL-3.0-or-later
/** The module in another Samba than the one it was built for. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { DevSamba } from './lib/dev-samba.js';

const samba = await DevSamba.up();
const test = suite('guard');

/** Our module as it would be if it had been built for a Samba with another build id. */
function buildForAnotherSamba(target: string): void {
  const id = /(PERSISTENT_SAMBA_BUILD_ID='")[0-9a-f]+/;
  const flags = join(samba.dir, 'flags');
  const guard = join(samba.dir, 'guard.o');
  const objects = readdirSync('build/vfs_module')
    .filter((name) => name.endsWith('.o') && name !== 'guard.o')
    .map((name) => join('build/vfs_module', name));
  writeFileSync(flags, readFileSync('build/samba.flags', 'utf8').replace(id, '$1000000'));
  execFileSync('cc', ['-c', `@${flags}`, '-o', guard, 'vfs_module/guard.c']);
  execFileSync('cc', ['-shared', '-o', target, ...objects, guard, '-lzmq', '-lmsgpackc']);
}

test('says so in one log line, and its shares do not start', async () => {
  const path = join(samba.dir, 'modules/vfs/persistent.so');
  rmSync(path);
  buildForAnotherSamba(path);

  await assert.rejects(samba.connect('durable'), /TREE_CONNECT/);
  const lines = samba.smbdLog().match(/vfs_persistent was built for samba .*/g) ?? [];
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /build the module anew/);
});

test('other shares are not touched', async () => {
  const client = await samba.connect('plain');
  const open = await client.open('fine.txt').ok();
  await open.write(0, 'fine').ok();
  await open.close().ok();
});

test.after(() => samba.down());
test.run();
