// SPDX-License-Identifier: GPL-3.0-or-later
// What is to happen at which time: a binary heap on CLOCK_MONOTONIC. Entries
// are not removed when they lose their point; the action looks for itself.

interface Entry {
  readonly atNs: bigint;
  readonly action: () => void;
}

export class Deadlines {
  readonly #heap: Entry[] = [];

  nextNs(): bigint | null {
    return this.#heap[0]?.atNs ?? null;
  }

  at(atNs: bigint, action: () => void): void {
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      if (parent === undefined || parent.atNs <= atNs) break;
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = { atNs, action };
  }

  /** Runs what is due, oldest first, including what those actions add. */
  run(nowNs: bigint): void {
    for (let first = this.#heap[0]; first !== undefined && first.atNs <= nowNs; ) {
      this.#removeFirst();
      first.action();
      first = this.#heap[0];
    }
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const leftEntry = heap[left];
      if (leftEntry === undefined) break;
      const rightEntry = heap[left + 1];
      const useRight = rightEntry !== undefined && rightEntry.atNs < leftEntry.atNs;
      const child = useRight ? rightEntry : leftEntry;
      if (child.atNs >= last.atNs) break;
      heap[index] = child;
      index = useRight ? left + 1 : left;
    }
    heap[index] = last;
  }
}
