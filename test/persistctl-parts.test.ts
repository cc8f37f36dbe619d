// SPDX-License-Identifier: GPL-3.0-or-later
// The parts of persistctl that need no persistd.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkAppArmor } from '../daemon/cli/doctor/app-armor.js';
import { checkDaemon } from '../daemon/cli/doctor/daemon.js';
import { checkLockDirectory } from '../daemon/cli/doctor/lock-directory.js';
import { checkShares } from '../daemon/cli/doctor/shares.js';
import { parseDump } from '../daemon/cli/doctor/smb-conf.js';
import { durationText, parseDurationMs, relativeText } from '../daemon/cli/durations.js';
import { digitsNeeded } from '../daemon/cli/ids.js';
import { renderTable } from '../daemon/cli/table.js';
import { safeText, shortenMiddle } from '../daemon/cli/text.js';

const RUN_DIR = '/run/persistd';

function sharesOf(dump: string) {
  return checkShares(parseDump(dump), RUN_DIR);
}

test('durations are read with their units and nothing else', () => {
  assert.is(parseDurationMs('5m'), 300_000);
  assert.is(parseDurationMs('1h30m'), 5_400_000);
  assert.is(parseDurationMs('90s'), 90_000);
  assert.is(parseDurationMs('250ms'), 250);
  assert.is(parseDurationMs('1m5ms'), 60_005);
  for (const wrong of ['', '5', 'm', '-5m', '5 m', '1.5h', '5x', '5m3', '99999999999999999d']) {
    assert.throws(() => parseDurationMs(wrong), /duration/);
  }
});

test('times are told as people tell them', () => {
  assert.is(relativeText(43_999, 0), 'in 43 s');
  assert.is(relativeText(0, 12_000), '12 s ago');
  assert.is(relativeText(500, 0), 'now');
  assert.is(durationText(250), '250 ms');
  assert.is(durationText(250_000), '4 min 10 s');
  assert.is(durationText(763_000), '12 min');
  assert.is(durationText(5_400_000), '1 h 30 min');
  assert.is(durationText(172_800_000), '2 d');
});

test('a name cannot drive or deceive the terminal', () => {
  assert.is(safeText('a\u001b[31mb\nc\u009b'), 'a\\x1b[31mb\\nc\\x9b');
  assert.is(safeText('exe.\u202excod'), 'exe.\\u{202e}xcod');
  assert.is(safeText('a\u200bb'), 'a\\u{200b}b');
  assert.is(safeText('äöü 日本 DOM\\user'), 'äöü 日本 DOM\\user');
});

test('a long name is shortened in the middle, by columns and not by characters', () => {
  assert.is(shortenMiddle('short', 10), 'short');
  assert.is(shortenMiddle('/srv/data/report.docx', 13), '/srv…ort.docx');
  assert.is(shortenMiddle('日本語日本語日本語', 10), '日…日本語');
});

test('a table gives way in its widest columns first and fits the page', () => {
  const rows = [{ id: '00112233', path: 'x'.repeat(200) }];
  const columns = [
    { title: 'ID', cell: (row: { id: string }) => row.id },
    { title: 'PATH', cell: (row: { path: string }) => row.path, minColumns: 10 },
  ];
  const lines = renderTable<{ id: string; path: string }>(columns, rows, {
    header: true,
    wide: false,
  }).split('\n');
  assert.is(lines.length, 2);
  assert.is(lines[1]?.length, 80);
  assert.ok(lines[1]?.startsWith('00112233  x'));
  const wide = renderTable<{ id: string; path: string }>(columns, rows, {
    header: false,
    wide: true,
  });
  assert.is(wide.length, 210);
});

test('as many digits of an id are shown as tell it from the others', () => {
  assert.is(digitsNeeded(['a'.repeat(32), 'b'.repeat(32)]), 8);
  assert.is(digitsNeeded([`${'a'.repeat(12)}1`, `${'a'.repeat(12)}2`]), 13);
});

test('doctor names each setting with which Samba grants no durable handle', async () => {
  const findings = await sharesOf(
    [
      '[global]',
      '\tdurable handles = No',
      '[data]',
      '\tkernel oplocks = Yes',
      '\tkernel share modes = Yes',
      '\toplocks = No',
      '\tvfs objects = acl_xattr persistent',
    ].join('\n'),
  );
  for (const name of ['kernel oplocks', 'kernel share modes', 'durable handles', 'oplocks']) {
    const found = findings.find((finding) => finding.message.startsWith(`"${name} = `));
    assert.is(found?.status, 'fail', name);
    assert.is(found?.check, 'share data');
    assert.ok(found?.remedy?.includes(name));
  }
});

test('doctor is content with a share that has nothing but the module', async () => {
  const findings = await sharesOf('[data]\n\tpath = /nowhere\n\tvfs objects = persistent');
  assert.equal(
    findings.map((finding) => finding.status),
    ['ok'],
  );
});

test('doctor warns about misspelt options, foreign run directories and lost leases', async () => {
  const findings = await sharesOf(
    [
      '[global]',
      '\tsmb2 leases = No',
      '\tpersistent:socket directory = /elsewhere',
      '[data]',
      '\tvfs objects = persistent',
      '\tpersistent:durable timout = 60',
      '\tpersistent:durable timeout max = soon',
      '\tpersistent:resilient local access = maybe',
      '\tpersistent:durability = always',
      '\tpersistent:resilient durability = Host',
      '\tpersistent:local access = Keep',
      '\tpersistent:unsafe = maybe',
      '\tpersistent:strength = full',
      '\tpersistent:persistent timeout = soon',
      '\tpersistent:socket directory = /third',
    ].join('\n'),
  );
  assert.ok(findings.every((finding) => finding.status === 'warn'));
  const text = findings.map((finding) => finding.message).join('\n');
  assert.match(text, /durable timout" is no option/);
  assert.match(text, /durable timeout max = soon" is not a number/);
  assert.match(text, /resilient local access = maybe" is neither/);
  assert.match(text, /unsafe = maybe" is neither/);
  assert.match(text, /strength = full" is neither "yes" nor "no"/);
  assert.match(text, /persistent timeout = soon" is not a number/);
  assert.match(text, /persistent:durability = always" is neither "process" nor "host"/);
  assert.not.match(text, /Keep/);
  assert.match(text, /persistd of \/elsewhere/);
  assert.match(text, /no effect in a share/);
  assert.match(text, /no leases/);
});

test('doctor finds the share that bypasses the module and the one that cannot have it', async () => {
  const findings = await sharesOf(
    [
      '[data]',
      '\tpath = /tmp',
      '\tvfs objects = persistent glusterfs',
      '[other]',
      '\tpath = /tmp/.',
    ].join('\n'),
  );
  assert.equal(
    findings.map((finding) => finding.status),
    ['fail', 'warn'],
  );
  assert.match(findings[0]?.message ?? '', /glusterfs/);
  assert.match(findings[1]?.message ?? '', /"other" exports the same directory/);
});

test('doctor says so when no share loads the module', async () => {
  const findings = await sharesOf('[data]\n\tpath = /tmp');
  assert.equal(
    findings.map((finding) => finding.status),
    ['warn'],
  );
});

test('doctor looks at versions, the keeper and its descriptors', () => {
  const keeper = {
    pid: 2,
    used: 81,
    limit: 100,
    refused: 3,
    protocolErrors: 1,
    localAccess: 'inotify',
    remakes: true,
  } as const;
  const info = {
    version: '2.0.0',
    pid: 1,
    startedAt: '2026-01-01T00:00:00.000Z',
    storePath: '/',
    storeFault: null,
    keeper,
    smbds: 0,
  };
  const statuses = (findings: ReturnType<typeof checkDaemon>) =>
    Object.fromEntries(findings.map((finding) => [finding.check, finding.status]));
  assert.equal(statuses(checkDaemon(info, '1.0.0')), {
    persistd: 'ok',
    versions: 'warn',
    keeper: 'ok',
    descriptors: 'warn',
    'local access': 'warn',
    deposits: 'warn',
    protocol: 'warn',
  });
  assert.equal(statuses(checkDaemon({ ...info, keeper: null }, '2.0.0')), {
    persistd: 'ok',
    versions: 'ok',
    keeper: 'fail',
  });
});

test('doctor warns about an enforced profile that does not name the run directory', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'persistctl-'));
  const local = join(directory, 'local');
  await writeFile(join(directory, 'profiles'), 'smbd (enforce)\nnmbd (complain)\n');
  assert.is((await checkAppArmor(RUN_DIR, directory, local)).status, 'warn');
  await writeFile(local, `${RUN_DIR}/** rw,\n`);
  assert.is((await checkAppArmor(RUN_DIR, directory, local)).status, 'ok');
  await writeFile(join(directory, 'profiles'), 'smbd (complain)\n');
  await rm(local);
  assert.is((await checkAppArmor(RUN_DIR, directory, local)).status, 'ok');
  await rm(directory, { recursive: true });
});

test('doctor fails a lock directory that is not there', async () => {
  assert.is((await checkLockDirectory('/nonexistent/lock')).status, 'fail');
  assert.is((await checkLockDirectory(tmpdir())).status, 'ok');
});

test.run();
