// SPDX-License-Identifier: GPL-3.0-or-later
/** The administrator changes a share's options, or upgrades Samba and the module: clients keep their files. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { DevSamba, tryLock } from './lib/dev-samba.js';
import {
  drop,
  type Held,
  hold,
  isKeptDescription,
  optionsOf,
  resume,
  USUAL,
} from './lib/scenario.js';
import { Access, Share } from './lib/smb2/index.js';

const samba = await DevSamba.up();
const test = suite('smbd upgrade');
const RANGE = { offset: 0, length: 10 };
const MAX_S = 7;
const DATA = 'written before';

/** An option more for the share, as an editor writes it; smbd is told. */
async function setOption(share: string, line: string): Promise<void> {
  const { smbConf } = samba.status();
  const before = readFileSync(smbConf, 'utf8');
  const after = before.replace(`[${share}]\n`, `[${share}]\n\t${line}\n`);
  assert.notEqual(after, before);
  writeFileSync(smbConf, after);
  execFileSync('smbcontrol', [`--configfile=${smbConf}`, 'smbd', 'reload-config']);
}

async function heldWithLock(share: string, isResilient = false): Promise<Held> {
  const held = await hold(samba, share, optionsOf(USUAL));
  if (isResilient) await held.open.requestResiliency(60_000).ok();
  await held.open.write(0, DATA).ok();
  await held.open.lock(RANGE).ok();
  return held;
}

async function isIntact(held: Held): Promise<void> {
  const back = await resume(samba, held);
  assert.ok(isKeptDescription(samba, held.path));
  assert.equal(String(await back.open.read(0, DATA.length).ok()), DATA);
  await back.open.unlock(RANGE).ok();
  await back.open.close().ok();
  await back.client.drop();
}

test('reload-config with a changed timeout: new handles have it, those of before stay as granted', async () => {
  const away = await heldWithLock('durable');
  const inUse = await heldWithLock('durable');
  const resilient = await heldWithLock('durable', true);
  for (const held of [away, resilient]) await drop(samba, held);
  await setOption('durable', `persistent:durable timeout max = ${MAX_S}`);
  await samba.until('the new maximum', async () => {
    const open = await inUse.client.open('later.txt', optionsOf(USUAL)).ok();
    const granted = open.granted.durableV2?.timeoutMs;
    await open.close().ok();
    return granted === MAX_S * 1000;
  });
  assert.equal(samba.handle(away.name).timeout_ms, samba.handle(inUse.name).timeout_ms);
  await drop(samba, inUse);
  for (const held of [away, inUse, resilient]) await isIntact(held);
  await samba.nothingLeft();
});

test('the module and smbd are upgraded while clients work: the same description, locks never free', async () => {
  const held = await heldWithLock('posix');
  const resilient = await heldWithLock('posix', true);
  const working = await heldWithLock('posix');
  await drop(samba, resilient);

  // as dpkg does it: another file under the name of the one that smbd has mapped
  const module = join(samba.dir, 'modules/vfs/persistent.so');
  copyFileSync('build/persistent.so', `${module}.dpkg-new`);
  renameSync(`${module}.dpkg-new`, module);
  await working.open.write(100, 'with the old module').ok();
  await drop(samba, held);

  await samba.verb('restart', 'smbd');
  await working.client.drop();
  assert.match(tryLock(resilient.path, RANGE.offset, RANGE.length), /^busy/);
  const other = await samba.connect('posix');
  const options = { access: Access.READ, share: Share.ALL };
  const open = await other.open(resilient.name, options).ok();
  assert.equal(await open.lock(RANGE, { shared: true }).code(), 'LOCK_NOT_GRANTED');
  await open.close().ok();
  for (const each of [held, resilient, working]) await isIntact(each);
  await samba.nothingLeft();
});

test.after(() => samba.down());
test.run();
