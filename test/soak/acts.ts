// SPDX-License-Identifier: GPL-3.0-or-later
/** The requests of a client, each with what the model makes of the answer. */
import { LeaseState, type Open } from '../lib/smb2/index.js';
import type { SoakClient } from './client.js';
import { type Handle, type HeldLock, name, type Range, rangesConflict } from './handle.js';
import { SETTLE_MS } from './model.js';
import {
  decode,
  EXCLUSIVE_OFFSET,
  encode,
  Guard,
  LOCK_REGIONS,
  OWN_RECORDS,
  ownOffset,
  RECORD_LENGTH,
  regionOffset,
  show,
  type Written,
} from './records.js';
import { STRONG, STRONG_DURABLE_MS, type Wish, wish } from './wishes.js';

/** An open that took as long may have asked persistd in vain. */
const ASKED_MS = 150;
const NOT_GRANTED: readonly string[] = ['LOCK_NOT_GRANTED', 'FILE_LOCK_CONFLICT'];

export async function open(client: SoakClient): Promise<void> {
  const { model, shares } = client.world;
  const wanted = wish(client, shares);
  const { handle, options } = wanted;
  const startMs = performance.now();
  const opponents = model.conflictingOpens(handle.file, handle);
  const strangers = model.strangers(handle);
  const orphans = client.away.filter(
    (h) => h.file === handle.file && h.leaseKey !== null && h.leaseKey === handle.leaseKey,
  );
  for (const orphan of orphans) orphan.doubt ??= 'own orphan';
  model.handles.add(handle);
  const disturbance = model.disturbances.begin('open', handle);
  const tree = client.trees.get(handle.shareName);
  if (!tree) throw new Error(`no tree ${handle.shareName}`);
  const file = client.world.files[handle.file] ?? '';
  const reply = await client.request(`CREATE ${name(handle)}`, tree.open(file, options));
  model.disturbances.end(disturbance, reply === null ? SETTLE_MS : 0);
  if (reply?.value === undefined) {
    client.over(handle);
    if (reply === null) {
      client.changeLeaseKey(handle.file);
      return;
    }
    if (reply.code !== 'SHARING_VIOLATION') client.error(`CREATE ${name(handle)}: ${reply.code}`);
    else if (!model.explainsViolation(handle.file, handle, startMs)) {
      client.error(`${name(handle)}: SHARING_VIOLATION, and nobody has the file`);
    }
    return;
  }
  // without persistd nobody sees to it
  const isSeen = !model.outages.touches(startMs);
  if (isSeen && performance.now() - startMs < ASKED_MS) {
    for (const orphan of orphans) orphan.endedBy ??= 'own orphan';
  }
  if (orphans.length > 0) client.changeLeaseKey(handle.file);
  opened(client, wanted, reply.value);
  for (const opponent of opponents.filter((h) => model.isInForce(h))) {
    client.error(`${name(handle)} was opened against the share mode of ${name(opponent)}`);
  }
  // a forgotten handle may have left its lease behind (docs/limits.md)
  if (orphans.length === 0) client.checkLevel(handle, strangers);
  if (wanted.resilientMs !== 0 && !client.isLeaving) await makeResilient(client, wanted);
  if (handle.state === 'connected') handle.isBusy = false;
}

function opened(client: SoakClient, { handle }: Wish, open: Open): void {
  const { granted } = open;
  client.opens.set(handle, open);
  client.takeLevel(handle, open);
  if (granted.durableV1 || granted.durableV2) handle.kind = 'durable';
  if (granted.durableV2) handle.timeoutMs = granted.durableV2.timeoutMs;
  // the response does not say persistent, but a durable one gets less time there
  if (granted.durableV2 && handle.shareName === STRONG && handle.timeoutMs > STRONG_DURABLE_MS) {
    handle.kind = 'persistent';
  }
  if (!handle.isStat && (handle.share & 2) === 0) handle.guard = new Guard();
  handle.doubt = null;
  if (client.isLeaving) client.goAway(handle);
}

async function makeResilient(client: SoakClient, { handle, resilientMs }: Wish): Promise<void> {
  const { model } = client.world;
  const startMs = performance.now();
  const before = { kind: handle.kind, timeoutMs: handle.timeoutMs };
  handle.doubt = 'being made resilient';
  handle.kind = 'resilient';
  handle.timeoutMs = resilientMs;
  const reply = await client.request(
    `RESILIENCY ${name(handle)}`,
    client.open(handle).requestResiliency(resilientMs),
  );
  if (reply === null) return;
  handle.doubt = null;
  if (reply.code === 'SUCCESS') return;
  Object.assign(handle, before);
  // smbd says so when the module answers NOT_SUPPORTED
  const isOutage = model.outages.touches(startMs) || performance.now() - startMs > ASKED_MS;
  if (!(reply.code === 'INVALID_DEVICE_REQUEST' && (isOutage || client.isImpatient))) {
    client.error(`RESILIENCY ${name(handle)}: ${reply.code}`);
  }
}

export async function close(client: SoakClient, handle: Handle): Promise<void> {
  const { disturbances } = client.world.model;
  handle.isBusy = true;
  handle.doubt = 'its CLOSE has no answer';
  const wrote = handle.hasWritten ? disturbances.begin('write', handle) : undefined;
  const reply = await client.request(`CLOSE ${name(handle)}`, client.open(handle).close());
  if (wrote) disturbances.end(wrote, reply === null ? SETTLE_MS : 0);
  if (reply === null) return;
  if (reply.code !== 'SUCCESS') client.error(`CLOSE ${name(handle)}: ${reply.code}`);
  handle.locks = [];
  client.over(handle);
}

export async function lock(client: SoakClient, handle: Handle): Promise<void> {
  const { model } = client.world;
  const { random } = client;
  const offset = regionOffset(random.int(LOCK_REGIONS));
  const range: Range = { offset, length: RECORD_LENGTH, exclusive: random.chance(0.7) };
  if (handle.locks.some((own) => own.offset === offset)) return;
  const startMs = performance.now();
  const before = model.conflictingLocks(handle, range);
  const held: HeldLock = { ...range, isSure: false, guard: new Guard() };
  handle.locks.push(held);
  const what = `LOCK ${offset} ${range.exclusive ? 'exclusive' : 'shared'} ${name(handle)}`;
  const disturbance = model.disturbances.begin('lock', handle);
  const call = client.open(handle).lock(range, { shared: !range.exclusive });
  const reply = await client.request(what, call);
  model.disturbances.end(disturbance);
  if (reply === null) return;
  if (reply.code === 'SUCCESS') {
    for (const other of before.filter((one) => model.isLockHeld(one))) {
      client.error(`${what}: granted, though held by ${model.holderOf(other)}`);
    }
    held.isSure = true;
    held.guard = new Guard();
    return;
  }
  handle.locks.splice(handle.locks.indexOf(held), 1);
  if (!NOT_GRANTED.includes(reply.code)) client.error(`${what}: ${reply.code}`);
  else if (!model.explainsLockRefusal(handle, range, startMs)) {
    client.error(`${what}: ${reply.code}, and nobody has it`);
  }
}

export async function unlock(client: SoakClient, handle: Handle): Promise<void> {
  const { random } = client;
  if (handle.locks.length === 0) return;
  const held = random.pick(handle.locks);
  const wasSure = held.isSure;
  held.isSure = false;
  const what = `UNLOCK ${held.offset} ${name(handle)}`;
  const reply = await client.request(what, client.open(handle).unlock(held));
  if (reply === null) return;
  handle.locks.splice(handle.locks.indexOf(held), 1);
  const isExpected = reply.code === 'SUCCESS' || (reply.code === 'RANGE_NOT_LOCKED' && !wasSure);
  if (!isExpected) client.error(`${what}: ${reply.code}`);
}

/** Sends a record; true: written, false: refused, null: nobody knows. */
async function write(
  client: SoakClient,
  handle: Handle,
  offset: number,
  written: Written,
): Promise<boolean | null> {
  const { model } = client.world;
  const what = `WRITE ${offset}: ${written.serial} ${name(handle)}`;
  const disturbance = model.disturbances.begin('write', handle);
  handle.hasWritten = true;
  const reply = await client.request(what, client.open(handle).write(offset, encode(written)));
  model.disturbances.end(disturbance, reply === null ? SETTLE_MS : 0);
  if (reply === null) {
    model.stray.set(written.serial, performance.now() + SETTLE_MS);
    return null;
  }
  if (reply.code !== 'SUCCESS' && reply.code !== 'FILE_LOCK_CONFLICT') {
    client.error(`${what}: ${reply.code}`);
  }
  return reply.code === 'SUCCESS';
}

/** undefined: it could not be read. */
async function read(
  client: SoakClient,
  handle: Handle,
  offset: number,
): Promise<Written | null | undefined> {
  const what = `READ ${offset} ${name(handle)}`;
  const reply = await client.request(what, client.open(handle).read(offset, RECORD_LENGTH));
  if (reply === null) return undefined;
  if (reply.value === undefined) {
    if (reply.code !== 'FILE_LOCK_CONFLICT') client.error(`${what}: ${reply.code}`);
    return undefined;
  }
  const found = decode(reply.value);
  if (found === undefined) {
    client.error(`${what}: not one write's bytes: ${reply.value.toString('latin1')}`);
  }
  return found;
}

const next = (client: SoakClient): Written => ({
  client: client.id,
  serial: client.world.model.nextSerial(),
});

export async function writeOwn(client: SoakClient, handle: Handle): Promise<void> {
  const index = client.random.int(OWN_RECORDS);
  const record = client.world.model.own(handle.file, client.id, index);
  const written = next(client);
  record.sent = written.serial;
  const isWritten = await write(client, handle, ownOffset(client.id, index), written);
  if (isWritten) record.answered = written.serial;
  if (isWritten === false) client.error(`${name(handle)}: its own range is locked`);
}

export async function readSomebodys(
  client: SoakClient,
  handle: Handle,
  clients: number,
): Promise<void> {
  const whose = client.random.int(clients);
  const index = client.random.int(OWN_RECORDS);
  const record = client.world.model.own(handle.file, whose, index);
  const answeredBefore = record.answered;
  const found = await read(client, handle, ownOffset(whose, index));
  if (found === undefined) return;
  const wrong = record.check(whose, found, answeredBefore);
  if (wrong !== null)
    client.error(`READ ${name(handle)}: record ${index} of client ${whose}: ${wrong}`);
}

/** Those of its ranges that it alone may write at present. */
function guarded(handle: Handle): { offset: number; guard: Guard; mayWrite: boolean }[] {
  const locks = handle.locks
    .filter((held) => held.isSure)
    .map(({ offset, guard, exclusive }) => ({ offset, guard, mayWrite: exclusive }));
  const { guard, write: mayWrite } = handle;
  return guard ? [...locks, { offset: EXCLUSIVE_OFFSET, guard, mayWrite }] : locks;
}

export async function useGuarded(client: SoakClient, handle: Handle): Promise<void> {
  const ranges = guarded(handle);
  if (ranges.length === 0) return;
  const { offset, guard, mayWrite } = client.random.pick(ranges);
  if (mayWrite && handle.write && client.random.chance(0.5)) {
    const written = next(client);
    const isWritten = await write(client, handle, offset, written);
    if (isWritten) guard.wrote(written);
    if (isWritten === null) guard.perhapsWrote(written);
    if (isWritten === false) client.error(`${name(handle)}: WRITE ${offset} refused to the holder`);
    return;
  }
  const found = await read(client, handle, offset);
  if (found === undefined) return;
  const { stray } = client.world.model;
  if (found !== null && (stray.get(found.serial) ?? 0) >= guard.fromMs) return guard.wrote(found);
  const wrong = guard.found(found);
  if (wrong !== null) client.error(`READ ${offset} ${name(handle)}: ${wrong}`);
}

/** Writes where somebody else has a lock, which must be refused. */
export async function poach(client: SoakClient, handle: Handle): Promise<void> {
  const { model } = client.world;
  // who may cache writes is not hindered by locks of its own lease (strict locking = Auto)
  if ((handle.level & LeaseState.W) !== 0) return;
  const offset = regionOffset(client.random.int(LOCK_REGIONS));
  const range: Range = { offset, length: RECORD_LENGTH, exclusive: true };
  if (handle.locks.some((own) => rangesConflict(own, range))) return;
  const before = model.conflictingLocks(handle, range);
  if (before.length === 0) return;
  const written = next(client);
  const isWritten = await write(client, handle, offset, written);
  if (isWritten === true) model.stray.set(written.serial, performance.now());
  for (const other of before.filter((one) => isWritten === true && model.isLockHeld(one))) {
    client.error(
      `WRITE ${offset} ${name(handle)}: ${show(written)} went through the lock of ${model.holderOf(other)}`,
    );
  }
}
