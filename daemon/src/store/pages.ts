// SPDX-License-Identifier: GPL-3.0-or-later
// LMDB follows what its pages say without a doubt: of a damaged one it forgets
// records, or ends the process. So the trees are walked before it may.
// Formats: MDB_page_header, MDB_node, MDB_db and MDB_ovpage of lmdb-js's mdb.c.

const HEADER_BYTES = 24;
const NODE_BYTES = 8;
export const TREE_BYTES = 48;
const OVERFLOW_REFERENCE_BYTES = 24;

const BRANCH = 0x01;
const LEAF = 0x02;
const OVERFLOW = 0x04;
const PAGE_KINDS = 0x2f;

const IN_OVERFLOW = 0x01;
const IS_TREE = 0x02;
const PLAIN = 0;

const NO_PAGE = 0xffff_ffff_ffff_ffffn;
const DEEPEST = 32;

/** Where a tree begins, and what is in it. */
export interface Tree {
  readonly depth: number;
  readonly entries: bigint;
  readonly root: bigint;
}

export function readTree(buffer: Buffer, at: number): Tree {
  return {
    depth: buffer.readUInt16LE(at + 6),
    entries: buffer.readBigUInt64LE(at + 32),
    root: buffer.readBigUInt64LE(at + 40),
  };
}

export interface PagesOfFile {
  readonly pageBytes: number;
  /** How many there are. */
  readonly pages: bigint;
  /** A new buffer of `pageBytes`. */
  read(page: bigint): Buffer;
}

class Damage extends Error {}

export class PageCheck {
  readonly #file: PagesOfFile;
  readonly #seen = new Set<bigint>();
  readonly problems: string[] = [];

  constructor(file: PagesOfFile) {
    this.#file = file;
  }

  /** Walks it and the trees in it; what is wrong is added to `problems`. */
  tree(name: string, { root, depth, entries }: Tree): void {
    if (root === NO_PAGE) return;
    const before = this.problems.length;
    const found = this.#walk(root, depth);
    if (found !== entries && this.problems.length === before) {
      this.problems.push(`${name} has ${found} entries, and should have ${entries}`);
    }
  }

  /** The number of entries at and below the page. */
  #walk(page: bigint, depth: number): bigint {
    try {
      if (depth < 1 || depth > DEEPEST) throw new Damage('is too deep in its tree');
      const buffer = this.#page(page);
      const kind = buffer.readUInt16LE(18) & PAGE_KINDS;
      if (kind !== (depth === 1 ? LEAF : BRANCH)) throw new Damage(`is of kind ${kind}`);
      const nodes = this.#nodes(buffer);
      return kind === LEAF ? this.#leaf(buffer, nodes) : this.#branch(buffer, nodes, depth);
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      this.problems.push(`page ${page} ${error.message}`);
      return 0n;
    }
  }

  #page(page: bigint): Buffer {
    this.#take(page, 1n);
    const buffer = this.#file.read(page);
    const number = buffer.readBigUInt64LE(0);
    if (number !== page) throw new Damage(`says that it is page ${number}`);
    return buffer;
  }

  #take(first: bigint, count: bigint): void {
    if (first < 2n || count < 1n) throw new Damage('cannot be in use');
    if (first + count > this.#file.pages) {
      throw new Damage('lies behind the end of the file, which was cut short');
    }
    for (let page = first; page < first + count; page++) {
      if (this.#seen.has(page)) throw new Damage('is used twice');
      this.#seen.add(page);
    }
  }

  /** Where they begin. */
  #nodes(buffer: Buffer): number[] {
    const { pageBytes } = this.#file;
    const lower = buffer.readUInt16LE(20);
    const upper = buffer.readUInt16LE(22);
    const isSound = lower % 2 === 0 && lower <= upper && upper <= pageBytes - HEADER_BYTES;
    if (!isSound) throw new Damage('has a damaged header');
    return Array.from({ length: lower / 2 }, (_, index) => {
      const at = HEADER_BYTES + buffer.readUInt16LE(HEADER_BYTES + 2 * index);
      if (at < HEADER_BYTES + upper || at + NODE_BYTES > pageBytes) {
        throw new Damage('has a damaged table of nodes');
      }
      return at;
    });
  }

  #branch(buffer: Buffer, nodes: readonly number[], depth: number): bigint {
    let entries = 0n;
    for (const at of nodes) {
      const child = BigInt(buffer.readUInt32LE(at)) | (BigInt(buffer.readUInt16LE(at + 4)) << 32n);
      entries += this.#walk(child, depth - 1);
    }
    return entries;
  }

  #leaf(buffer: Buffer, nodes: readonly number[]): bigint {
    for (const at of nodes) this.#entry(buffer, at);
    return BigInt(nodes.length);
  }

  #entry(buffer: Buffer, at: number): void {
    const dataBytes = buffer.readUInt32LE(at);
    const flags = buffer.readUInt16LE(at + 4);
    const keyBytes = buffer.readUInt16LE(at + 6);
    const data = at + NODE_BYTES + keyBytes;
    const inPageBytes = flags === IN_OVERFLOW ? OVERFLOW_REFERENCE_BYTES : dataBytes;
    if (data + inPageBytes > this.#file.pageBytes) throw new Damage('has a node beyond its end');
    if (flags === IN_OVERFLOW) this.#overflow(buffer, data, dataBytes);
    else if (flags === IS_TREE && dataBytes === TREE_BYTES) {
      const name = buffer.toString('latin1', at + NODE_BYTES, data);
      this.tree(`database ${JSON.stringify(name)}`, readTree(buffer, data));
    } else if (flags !== PLAIN) throw new Damage(`has a node of kind ${flags}`);
  }

  #overflow(buffer: Buffer, at: number, dataBytes: number): void {
    const first = buffer.readBigUInt64LE(at);
    const count = buffer.readBigUInt64LE(at + 16);
    this.#take(first, count);
    const header = this.#file.read(first);
    const isSound =
      header.readBigUInt64LE(0) === first &&
      (header.readUInt16LE(18) & PAGE_KINDS) === OVERFLOW &&
      BigInt(dataBytes + HEADER_BYTES) <= count * BigInt(this.#file.pageBytes);
    if (!isSound) throw new Damage(`refers to damaged pages from ${first} on`);
  }
}
