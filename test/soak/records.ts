// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * What is written: records that say who wrote them, so that a reader can tell
 * whose bytes he sees, and whether all of them are of one write.
 */
export const RECORD_LENGTH = 64;

/** Where in a file: ranges to be locked, one for those who shut others out, own ones. */
export const LOCK_REGIONS = 6;
export const regionOffset = (region: number): number => region * 4096;
export const EXCLUSIVE_OFFSET = 65_536;
export const OWN_RECORDS = 4;
export const ownOffset = (client: number, record: number): number =>
  1_048_576 + client * 4096 + record * RECORD_LENGTH;

export interface Written {
  client: number;
  serial: number;
}

export function encode({ client, serial }: Written): Buffer {
  const head = `${client}:${serial}:`;
  return Buffer.from(head.padEnd(RECORD_LENGTH, String.fromCharCode(97 + (serial % 26))));
}

/** Null for a record that was never written; undefined if the bytes are no record. */
export function decode(bytes: Buffer): Written | null | undefined {
  if (bytes.every((byte) => byte === 0)) return null;
  const [, client, serial] = /^(\d+):(\d+):/.exec(bytes.toString('latin1')) ?? [];
  if (client === undefined || serial === undefined) return undefined;
  const written = { client: Number(client), serial: Number(serial) };
  return encode(written).equals(bytes) ? written : undefined;
}

export const show = (written: Written | null | undefined): string => {
  if (written === null) return 'nothing';
  return written ? `write ${written.serial} of client ${written.client}` : 'a mixture';
};

const isSame = (a: Written | null, b: Written | null): boolean =>
  a === b || (a !== null && b !== null && a.client === b.client && a.serial === b.serial);

/**
 * A range that its holder alone may write, by a lock or a share mode: as long
 * as he has it, he must find what he found or wrote there last.
 */
export class Guard {
  readonly fromMs = performance.now();
  #seen: Written | null | undefined;
  /** Writes whose answer was lost. */
  #perhaps: Written[] = [];

  wrote(written: Written): void {
    this.#seen = written;
    this.#perhaps = [];
  }

  perhapsWrote(written: Written): void {
    this.#perhaps.push(written);
  }

  /** Null if all is well, else what is wrong. */
  found(found: Written | null): string | null {
    const isFirst = this.#seen === undefined;
    const isExpected =
      isFirst || [this.#seen ?? null, ...this.#perhaps].some((one) => isSame(one, found));
    if (!isExpected) return `${show(found)} is there in place of ${show(this.#seen)}`;
    this.#seen = found;
    return null;
  }
}

/** A record that only its client writes, without any lock. */
export class OwnRecord {
  /** The last write that was answered, and the last one that was sent. */
  answered = 0;
  sent = 0;

  /** `answeredBefore`: what was answered before the read began. */
  check(client: number, found: Written | null, answeredBefore: number): string | null {
    const serial = found?.serial ?? 0;
    const isOwn = found === null || found.client === client;
    if (isOwn && serial >= answeredBefore && serial <= this.sent) return null;
    return `${show(found)} is there; written ${this.sent}, answered ${answeredBefore}`;
  }
}
