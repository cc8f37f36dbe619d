// SPDX-License-Identifier: GPL-3.0-or-later
/** What is going on when somebody is killed, and the points that this leads to. */
import { closeSync, constants, openSync } from 'node:fs';
import { Access, LeaseState, newGuid, Share } from '../lib/smb2/index.js';
import { answerOf, BARE } from './bench.js';
import type { KindName } from './party.js';
import type { Scenario, Scene } from './scene.js';

const DURABLE: readonly KindName[] = [
  'v1, batch oplock',
  'v1, lease v1',
  'v2, batch oplock',
  'v2, lease v2',
];
const RESILIENT: readonly KindName[] = ['resilient', 'resilient, lease v2'];
const PERSISTENT: readonly KindName[] = ['persistent, batch oplock', 'persistent, lease v2'];
const PROTECTED = [...RESILIENT, ...PERSISTENT];
const LEASED: readonly KindName[] = ['v1, lease v1', 'v2, lease v2', 'resilient, lease v2'];
const TIMED: readonly KindName[] = ['v2, batch oplock', 'v2, lease v2', ...RESILIENT];
const HOST = ['host', 'host-posix'] as const;

const SHORT_MS = 300;
const LONGER_MS = 60_000;
/** smbd children try again within a second. */
const RECONNECTED_MS = 1_500;
const WRITE_TIME = 132_000_000_000_000_000n;

const alone = (
  name: string,
  points: RegExp,
  run: Scenario['run'],
  only: Partial<Scenario> = {},
): Scenario => ({ name, points, run, isAlone: true, ...only });

const contended = (
  name: string,
  points: RegExp,
  run: Scenario['run'],
  only: Partial<Scenario> = {},
): Scenario => ({ name, points, run, isAlone: false, ...only });

async function grant(scene: Scene): Promise<void> {
  scene.arm();
  const another = await scene.party.open(`more-${scene.party.name}`, 9);
  await another?.lock(false);
}

/** It is granted as less than it was to be. */
async function grantWithoutPersistd(scene: Scene): Promise<void> {
  await scene.bench.kill('persistd');
  await grant(scene);
}

async function lockAndUnlock(scene: Scene): Promise<void> {
  const { party, random } = scene;
  const held = random.pick(party.handles);
  scene.arm();
  await held.write();
  const lock = await held.lock(random.chance(0.3), party.isResilient);
  if (lock.state === 'held') await held.unlock(lock);
}

async function drop(scene: Scene): Promise<void> {
  scene.arm();
  await scene.party.client.drop();
}

async function resume(scene: Scene): Promise<void> {
  await scene.leave();
  scene.arm();
  await scene.tryToResume();
}

async function makeResilient(scene: Scene): Promise<void> {
  scene.arm();
  for (const held of scene.party.handles) await held.makeResilient(LONGER_MS);
}

/** Without persistd it cannot be. */
async function refusedResiliency(scene: Scene): Promise<void> {
  await scene.bench.kill('persistd');
  scene.arm();
  await scene.party.handles[0]?.makeResilient(LONGER_MS);
}

async function close(scene: Scene): Promise<void> {
  scene.arm();
  for (const held of scene.party.handles) await held.close();
}

async function childKilled(scene: Scene): Promise<void> {
  const { bench, party, random } = scene;
  if (random.chance(0.5)) await scene.other();
  scene.arm();
  await bench.killChild(party.client);
  await scene.tryToResume();
}

async function smbdKilled(scene: Scene): Promise<void> {
  const { bench, random } = scene;
  if (random.chance(0.5)) await scene.leave();
  scene.arm();
  await bench.samba.verb('kill', 'smbd');
  await bench.samba.verb('restart', 'smbd');
  await scene.tryToResume();
}

async function persistdStarts(scene: Scene): Promise<void> {
  const { bench, random } = scene;
  if (random.chance(0.7)) await scene.leave();
  await bench.kill('persistd');
  scene.arm();
  await bench.samba.verb('restart', 'persistd').catch(() => undefined);
}

/** smbd children that have missed persistd tell it everything. */
async function resync(scene: Scene): Promise<void> {
  const { bench, party } = scene;
  await bench.kill('persistd');
  await party.handles[0]?.lock(false);
  // it is missed when an acknowledgement is a second late
  await new Promise((resolve) => setTimeout(resolve, RECONNECTED_MS));
  scene.arm();
  await bench.samba.verb('restart', 'persistd').catch(() => undefined);
}

async function keeperStarts(scene: Scene): Promise<void> {
  const { bench, random } = scene;
  if (random.chance(0.5) || /remake|remade|lock/.test(scene.point)) await scene.leave();
  scene.arm();
  await bench.kill('keeper');
  await bench.startAll();
}

async function handover(scene: Scene): Promise<void> {
  if (scene.random.chance(0.5)) await scene.leave();
  scene.arm();
  await scene.bench.samba.verb('upgrade', 'keeper').catch(() => undefined);
}

async function expire(scene: Scene): Promise<void> {
  scene.arm();
  await scene.party.client.drop();
}

async function extend(scene: Scene): Promise<void> {
  await scene.leave();
  const handles = await scene.bench.handlesOf(scene.party.path);
  scene.arm();
  for (const { id } of handles) {
    const body = { id, byMs: LONGER_MS };
    await scene.bench.admin((admin) => admin.request('extend', body)).catch(() => undefined);
  }
}

/** Another client comes, who breaks the level of a handle that is away. */
async function contend(scene: Scene): Promise<void> {
  await scene.leave();
  const other = await scene.other();
  scene.arm();
  const lease = { key: newGuid(), state: LeaseState.RWH };
  const reply = await scene.otherOpens(other, { lease });
  if (reply?.value) await answerOf(reply.value.close());
}

/** The client forgets its handles and opens anew with their lease key. */
async function ownOrphan(scene: Scene): Promise<void> {
  const { party } = scene;
  await scene.leave();
  await party.comeBack();
  scene.arm();
  const { lease } = party.handles[0]?.open.asked ?? {};
  for (const held of party.handles) held.end = 'perhaps closed';
  const reply = await scene.otherOpens(party.client, lease ? { lease } : {});
  if (reply?.value === undefined) return;
  for (const held of party.handles) held.end = 'closed';
  await answerOf(reply.value.close());
}

async function conflict(scene: Scene): Promise<void> {
  await scene.leave();
  const other = await scene.other();
  scene.arm();
  const reply = await scene.otherOpens(other);
  if (reply && reply.code !== 'SHARING_VIOLATION') throw new Error(`opened: ${reply.code}`);
}

async function readBeside(scene: Scene): Promise<void> {
  await scene.leave();
  const other = await scene.other();
  scene.arm();
  const lease = { key: newGuid(), state: LeaseState.R };
  const reply = await scene.otherOpens(other, { access: Access.READ, lease });
  if (reply?.value) await answerOf(reply.value.close());
}

/** Another client, who had the file open before, changes it or its name. */
async function change(scene: Scene): Promise<void> {
  const { party, point, random } = scene;
  const other = await scene.other();
  const open = (await scene.otherOpens(other))?.ok();
  if (open === undefined) throw new Error('nobody answers, and nobody died');
  await scene.leave();
  scene.arm();
  const what = /^(rename|unlink|write-time)\./.exec(point)?.[1] ?? random.pick(['write', 'rename']);
  if (what === 'write') await answerOf(open.write(2 ** 21, 'by another'));
  if (what === 'rename') await answerOf(open.info.rename(`${party.name}.renamed`));
  if (what === 'write-time') await answerOf(open.info.setBasic({ lastWriteTime: WRITE_TIME }));
  if (what === 'unlink') await answerOf(open.info.setDeletePending(true));
  await answerOf(open.close());
}

/** Another node of a cluster takes the file from the first. */
async function takeOver(scene: Scene): Promise<void> {
  const { party, point, random } = scene;
  if (!/message|close/.test(point) && random.chance(0.5)) await scene.leave();
  const other = await scene.other();
  scene.arm();
  const { appInstanceId } = party.handles[0]?.open.asked ?? {};
  const how = { share: Share.NONE, ...(appInstanceId && { appInstanceId }) };
  for (const held of party.handles) held.end = 'perhaps closed';
  const reply = await scene.otherOpens(other, how);
  if (reply?.value === undefined) return;
  for (const held of party.handles) held.end = 'closed';
  await answerOf(reply.value.close());
}

/** The handle is of another share. */
async function wrongShare(scene: Scene): Promise<void> {
  const { party } = scene;
  await scene.leave();
  const other = await scene.other(party.wish.share === 'durable' ? 'posix' : 'durable');
  scene.arm();
  const [held] = party.handles;
  const reply = held && (await answerOf(other.reconnect(held.open)));
  if (reply?.code === 'SUCCESS') throw new Error('it was resumed on another share');
}

/** Without the module nobody keeps stock smbd from ending a durable handle. */
async function openedWithoutModule(scene: Scene): Promise<void> {
  const { party } = scene;
  await scene.leave();
  // at a tree connect the module would see to it
  await party.comeBack();
  const other = await scene.other(BARE);
  const reply = await scene.otherOpens(other, { access: Access.READ });
  if (reply?.value) await answerOf(reply.value.close());
  scene.arm();
  for (const held of party.handles) await answerOf(party.client.reconnect(held.open));
}

async function localProcess(scene: Scene): Promise<void> {
  await scene.leave();
  scene.arm();
  closeSync(openSync(scene.party.path, constants.O_WRONLY));
}

const persistd = (steps: string) => `persistd\\.(before|after)-(${steps})$`;
const keeper = (steps: string) => `keeper\\.(before|after)-(${steps})$`;
const any = (...patterns: string[]) => new RegExp(`^(${patterns.join('|')})`);

export const SCENARIOS: readonly Scenario[] = [
  alone(
    'grant',
    any('grant\\.', 'events\\.', keeper('deposit|entry'), persistd('events|commit|entry|answer')),
    grant,
  ),
  alone('grant on disk', any(keeper('describe'), persistd('describe|described|flush')), grant, {
    shares: HOST,
  }),
  alone('grant, persistent', any('strength\\.before-answer'), grant, { kinds: PERSISTENT }),
  alone('grant without persistd', any('strength\\.(before|after)-record'), grantWithoutPersistd, {
    kinds: PERSISTENT,
  }),
  alone('lock', any('(un)?lock\\.', 'events\\.', persistd('events|commit')), lockAndUnlock),
  alone('numbered lock', any('note\\.', keeper('note')), lockAndUnlock, { kinds: RESILIENT }),
  alone(
    'drop',
    any('disconnect\\.(?!.*(stock|park))', 'locks\\.', keeper('park|entry'), persistd('events')),
    drop,
  ),
  alone('drop, durable', any('disconnect\\..*(stock|park)'), drop, {
    kinds: DURABLE,
  }),
  alone('drop, watched', any(keeper('watch'), persistd('watch|watched')), drop, { kinds: DURABLE }),
  alone('drop, protected', any('protect\\.', 'entry\\.', keeper('surrogate')), drop, {
    kinds: PROTECTED,
  }),
  alone(
    'resume',
    any('resume\\.', 'locks\\.', 'entry\\.', keeper('take|adopt|entry'), persistd('claim|answer')),
    resume,
  ),
  alone('resiliency', any('resilient\\.(?!.*undo)'), makeResilient, { kinds: DURABLE }),
  alone('resiliency, refused', any('resilient\\..*undo'), refusedResiliency, { kinds: DURABLE }),
  alone('close', any('close\\.', keeper('drop'), persistd('gone|events|commit')), close),
  alone(
    'child killed',
    any('import\\.', 'locks\\.', keeper('orphan|look'), persistd('import|entry')),
    childKilled,
  ),
  alone('smbd killed', any('import\\.(?!before-locks)', 'entry\\.before-add'), smbdKilled),
  alone(
    'persistd starts',
    any(persistd('load|restore|list-started|list-end|entry|commit|info'), keeper('list')),
    persistdStarts,
  ),
  alone('persistd is back', any('hello\\.', 'resync\\.', persistd('hello')), resync),
  alone(
    'keeper starts',
    any(persistd('keeper-lost|list-started|list-end'), keeper('list')),
    keeperStarts,
  ),
  alone(
    'keeper starts, host',
    any(keeper('remake|settled'), persistd('remake|remade|settled')),
    keeperStarts,
    { shares: HOST },
  ),
  alone('keeper starts, locks', any(keeper('lock')), keeperStarts, { shares: ['host-posix'] }),
  alone('handover', any('handover\\.', 'takeover\\.', persistd('upgrade')), handover),
  alone('expire', any(keeper('persistd-drop'), persistd('tick|drop|gone')), expire, {
    kinds: TIMED,
    wish: { timeoutMs: SHORT_MS },
  }),
  alone('extend', any(persistd('administer')), extend),
  contended(
    'contend',
    any('create\\.', 'arrive\\.', 'contend\\.', persistd('arrive|contend')),
    contend,
  ),
  contended('own orphan', any('arrive\\.', persistd('arrive')), ownOrphan, { kinds: LEASED }),
  contended('conflict', any('conflict\\.'), conflict, {
    kinds: PROTECTED,
    wish: { sharing: Share.NONE, handles: 1 },
  }),
  contended('read beside', any('keep\\.', 'entry\\.before-add'), readBeside, {
    kinds: ['v2, lease v2'],
    wish: { lease: LeaseState.RH },
  }),
  contended('change', any('end-leases\\.', 'rename\\.', 'write-time\\.'), change, {
    kinds: ['v2, lease v2', 'resilient, lease v2'],
    wish: { lease: LeaseState.RH },
  }),
  // with a resilient handle it is not the last close
  contended('unlink', any('unlink\\.'), change, {
    kinds: ['v2, lease v2'],
    wish: { lease: LeaseState.RH },
  }),
  contended('take over', any('app-instance\\.', persistd('takeover')), takeOver, {
    kinds: ['v2, batch oplock', 'v2, lease v2', ...RESILIENT],
    wish: { sharing: Share.NONE, handles: 1, appInstanceId: newGuid() },
  }),
  contended('wrong share', any('give-back\\.'), wrongShare, { kinds: ['v2, batch oplock'] }),
  contended('opened without the module', any('abandon\\.'), openedWithoutModule, {
    shares: ['durable'],
    kinds: ['v2, lease v2'],
    wish: { lease: LeaseState.RH },
  }),
  contended('local process', any(persistd('touched')), localProcess, { kinds: DURABLE }),
];

export const scenariosOf = (point: string): Scenario[] =>
  SCENARIOS.filter(({ points }) => points.test(point));
