// SPDX-License-Identifier: GPL-3.0-or-later
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Control, parseEntry } from './keeper-control.js';
import { Keeper, newCookie } from './keeper-parts.js';

export const HELD = 1;
export const PARKED = 2;
export const ORPHANED = 3;
export const LIST = 32;
export const CONTROL_DROP = 33;
export const ENTRY = 64;
export const GONE = 65;
export const LIST_END = 66;
export const REFUSED = 67;

/** The slots of keeper.index, as docs/protocol.md 2.3 has them. */
export function indexSlots(dev: bigint, ino: bigint): [number, number] {
  const first = BigInt.asUintN(64, ino * 0x9e3779b97f4a7c15n + dev);
  const second = BigInt.asUintN(64, first * 0xd6e8feb86659fd93n);
  return [Number(first >> 46n), Number(second >> 46n)];
}

/** What they count. */
export function indexed(keeper: Keeper, { dev, ino }: { dev: bigint; ino: bigint }): number[] {
  return indexSlots(dev, ino).map((slot) => keeper.indexSlot(slot));
}

export function makeFile(keeper: Keeper, content = 'kept', name = newCookie()) {
  const path = join(keeper.directory, name);
  writeFileSync(path, content);
  const { dev, ino } = statSync(path, { bigint: true });
  return { path, dev, ino };
}

/** Run a body with a keeper; afterwards it must stop cleanly. */
export function keeperTest(
  name: string,
  body: (keeper: Keeper) => Promise<void>,
  options: string[] = [],
): void {
  test(name, async () => {
    const keeper = await Keeper.start(options);
    let status: number | null = null;
    try {
      await body(keeper);
    } finally {
      status = await keeper.stop();
    }
    assert.is(status, 0, 'exit status after SIGTERM');
  });
}

/** All entries, by cookie. */
export async function list(control: Control) {
  const seq = control.send(LIST);
  const last = await control.packets.take((one) => one.type === LIST_END && one.seq === seq);
  const entries = new Map<string, ReturnType<typeof parseEntry>>();
  for (let count = last.payload.readUInt32LE(0); count > 0; count -= 1) {
    const packet = await control.packets.take((one) => one.type === ENTRY && one.seq === seq);
    entries.set(packet.cookie, parseEntry(packet.payload));
  }
  return entries;
}

/** Until INFO says so: the keeper learns a little later that a child is gone. */
export async function waitForUsed(control: Control, used: number): Promise<void> {
  const deadline = Date.now() + 5000;
  while ((await control.info()).used !== used) {
    assert.ok(Date.now() < deadline, `the keeper does not come to ${used} descriptors`);
  }
}
