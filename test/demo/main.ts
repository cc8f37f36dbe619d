// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * The demo (scripts/demo): one client, one file, one network drop, and what happens to
 * the file meanwhile; first with the module, then the same on stock Samba.
 */
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { DevSamba, tryLock } from '../lib/dev-samba.js';
import { LeaseState, newGuid, type Open, type Smb2Client } from '../lib/smb2/index.js';
import { KeptFile } from './evidence.js';
import { Story } from './story.js';

/** The module with `posix locking = yes`, Samba's default. */
const SHARE = 'posix';
const NAME = 'report.txt';
const BEFORE = 'Written before the drop. ';
const AFTER = 'Written after it.';
const LOCK = { offset: 0, length: 1000 };

const story = new Story();

async function openAndWrite(samba: DevSamba, share: string): Promise<[Smb2Client, Open]> {
  const client = await samba.connect(share);
  const open = await client
    .open(NAME, {
      durable: { version: 2, timeoutMs: 60_000 },
      lease: { key: newGuid(), state: LeaseState.RWH },
    })
    .ok();
  await open.write(0, BEFORE).ok();
  await open.lock(LOCK).ok();
  return [client, open];
}

function showTable(samba: DevSamba, ...options: string[]): void {
  const { stdout, stderr } = samba.ctl('list', ...options);
  story.command(['persistctl list', ...options].join(' '), stdout || stderr);
}

function proveLocked(path: string): void {
  const answer = tryLock(path, LOCK.offset, LOCK.length);
  story.prove(
    'its byte-range lock is held in the kernel',
    answer === 'busy',
    `fcntl(F_OFD_SETLK) of another process: ${answer}`,
  );
}

async function withModule(samba: DevSamba): Promise<void> {
  const path = samba.sharePath(SHARE, NAME);
  const renamed = samba.sharePath(SHARE, 'archive', 'final.txt');

  story.step(`A client opens ${NAME} with a durable handle, writes and locks it.`);
  const [client, open] = await openAndWrite(samba, SHARE);
  const file = new KeptFile(samba, path);
  const timeoutMs = open.granted.durableV2?.timeoutMs ?? 0;
  story.prove(
    'smbd granted a durable handle',
    timeoutMs > 0,
    `DH2Q answered, timeout ${timeoutMs / 1000} s; persistent id ${hex(open)}`,
  );
  const deposited = file.isSharedWithKeeper();
  story.prove('the open file is deposited with the keeper', deposited.holds, deposited.evidence);
  proveLocked(path);
  showTable(samba, '--all');

  story.step("The client's network drops.");
  await client.drop();
  const { id } = await samba.disconnected(NAME);
  const kept = file.isOnlyInKeeper();
  story.prove('smbd has closed the file, the keeper has not', kept.holds, kept.evidence);
  proveLocked(path);
  showTable(samba);

  story.step('Somebody on the server reads the file, then moves it elsewhere.');
  const text = readFileSync(path, 'utf8');
  story.prove('it was read', text === BEFORE, `cat ${NAME}: "${text}"`);
  mkdirSync(samba.sharePath(SHARE, 'archive'), { mode: 0o777 });
  renameSync(path, renamed);
  const moved = file.isOnlyInKeeper();
  story.prove(
    'it was renamed',
    !existsSync(path) && moved.evidence.includes('final.txt'),
    moved.evidence,
  );

  story.step('persistd is killed with SIGKILL and started again.');
  const killed = samba.pid('persistd');
  await samba.verb('kill', 'persistd');
  const away = samba.ctl('list');
  story.prove(
    'it is gone',
    away.status === 3,
    `kill -9 ${killed}; persistctl exits with ${away.status}, which is: not running`,
  );
  await samba.verb('restart', 'persistd');
  const again = samba.handles().find((handle) => handle.id === id);
  story.prove(
    'the new one has the handle',
    again?.retained === true,
    `pid ${samba.pid('persistd')}: handle ${id.slice(0, 8)}, read from disk, still kept`,
  );
  proveLocked(renamed);

  story.step('The client comes back and asks for its handle.');
  const back = await samba.back(client, SHARE);
  const reply = await back.reconnect(open);
  story.prove('its handle resumes', reply.code === 'SUCCESS', `CREATE with DH2C: ${reply.code}`);
  const resumed = reply.ok();
  story.prove('it is the same handle', hex(resumed) === hex(open), `persistent id ${hex(resumed)}`);
  const same = file.isSharedWithKeeper();
  story.prove('it is the same open file', same.holds, same.evidence);
  proveLocked(renamed);
  const { name } = await resumed.info.all().ok();
  story.prove(
    'it knows the new name',
    name.endsWith('\\archive\\final.txt'),
    `QUERY_INFO: ${name}`,
  );
  showTable(samba, '--all');

  const afterKill = await throughKill(samba, file, back, resumed);
  proveLocked(renamed);
  const [last, open3] = await throughRestart(samba, file, ...afterKill);
  proveLocked(renamed);

  story.step('It goes on writing, unlocks, closes and logs off.');
  await open3.write(BEFORE.length, AFTER).ok();
  await open3.unlock(LOCK).ok();
  await open3.close().ok();
  await last.logoff();
  const whole = readFileSync(renamed, 'utf8');
  story.prove(
    'both writes are in one file',
    whole === BEFORE + AFTER,
    `cat archive/final.txt: "${whole}"`,
  );
  const lock = tryLock(renamed, LOCK.offset, LOCK.length);
  story.prove('the lock is free', lock === 'locked', `another process: ${lock}`);
  await samba.until('an empty keeper', () => samba.kept() === 0);
  story.prove('the keeper has let go of it', true, `descriptors kept: ${samba.kept()}`);
}

/** The client is connected when its smbd child dies. */
async function throughKill(
  samba: DevSamba,
  file: KeptFile,
  client: Smb2Client,
  open: Open,
): Promise<[Smb2Client, Open]> {
  const pids = samba.status().clientPids;
  story.step(`The smbd child that serves it (${pids}) is killed with SIGKILL.`);
  await samba.verb('kill', 'child');
  await client.drop();
  const kept = file.isOnlyInKeeper();
  story.prove('the keeper has the file still', kept.holds, kept.evidence);
  return comeBack(samba, file, client, open);
}

async function throughRestart(
  samba: DevSamba,
  file: KeptFile,
  client: Smb2Client,
  open: Open,
): Promise<[Smb2Client, Open]> {
  const before = samba.pid('smbd');
  story.step('All of smbd is restarted: its databases are wiped.');
  await samba.verb('restart', 'smbd');
  await client.drop();
  const after = samba.pid('smbd');
  story.prove('it is another smbd', before !== after, `pid ${before}, now ${after}`);
  return comeBack(samba, file, client, open);
}

async function comeBack(
  samba: DevSamba,
  file: KeptFile,
  client: Smb2Client,
  open: Open,
): Promise<[Smb2Client, Open]> {
  const back = await samba.back(client, SHARE);
  const reply = await back.reconnect(open);
  story.prove('its handle resumes', reply.code === 'SUCCESS', `CREATE with DH2C: ${reply.code}`);
  const same = file.isSharedWithKeeper();
  story.prove('it is the same open file', same.holds, same.evidence);
  return [back, reply.ok()];
}

async function onStock(samba: DevSamba): Promise<void> {
  story.step('The same on stock Samba: the share "plain", without the module.');
  const path = samba.sharePath('plain', NAME);
  const [client, open] = await openAndWrite(samba, 'plain');
  const file = new KeptFile(samba, path);
  await client.drop();
  await samba.until('the end of the smbd child', () => samba.status().clientPids.length === 0);
  readFileSync(path);
  renameSync(path, `${path}.moved`);
  const back = await samba.back(client, 'plain');
  const code = await back.reconnect(open).code();
  story.prove(
    'stock refuses: the handle is lost',
    code === 'OBJECT_NAME_NOT_FOUND' && !file.isSharedWithKeeper().holds,
    `CREATE with DH2C, after a drop, a read and a rename: ${code}`,
  );
}

const hex = (open: Open): string => `0x${open.fileId.persistent.toString(16)}`;

story.say('samba-persistent: a client keeps its open file over a network drop.');
const samba = await DevSamba.up();
try {
  await withModule(samba);
  await onStock(samba);
  story.say('\nAt the end, every handle of this demo and what became of it:');
  showTable(samba, '--all');
} finally {
  await samba.down();
}
const { proofs, failed } = story;
story.say(`\n${proofs - failed} of ${proofs} proofs hold.`);
if (failed === 0) {
  story.say(
    'Survived, as the same open file: the drop, the local read, the rename, the SIGKILL ' +
      'of persistd, the SIGKILL of the smbd child and the restart of smbd.',
  );
}
process.exitCode = failed === 0 ? 0 : 1;
