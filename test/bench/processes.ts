// SPDX-License-Identifier: GPL-3.0-or-later
/** CPU time of processes, and which smbd child serves whom (proc(5)). */
import { readdirSync, readFileSync } from 'node:fs';

/** Of all its threads, in microseconds: schedstat, which is finer than stat's 10 ms ticks. */
export function cpuMicroseconds(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const schedstat = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8');
    nanoseconds += Number(schedstat.split(' ')[0]);
  }
  return nanoseconds / 1000;
}

export function childrenOf(pid: number): Set<number> {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return new Set(list.split(' ').filter(Boolean).map(Number));
}

/** The one child that a connection made; other connections must not be made meanwhile. */
export async function newChild<T>(parent: number, act: () => Promise<T>): Promise<[T, number]> {
  const before = childrenOf(parent);
  const result = await act();
  const made = [...childrenOf(parent)].filter((pid) => !before.has(pid));
  const [pid] = made;
  if (pid === undefined || made.length > 1) throw new Error(`${made.length} new smbd children`);
  return [result, pid];
}

/** Polls: a process that is not our child tells nobody when it ends. */
export async function ended(parent: number, pid: number): Promise<void> {
  while (childrenOf(parent).has(pid)) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
