// SPDX-License-Identifier: GPL-3.0-or-later
/** What a handle writes: numbered records, each with a checksum, one after the other. */
import { createHash } from 'node:crypto';

export const RECORD_BYTES = 64;

export function record(writer: string, number: number): Buffer {
  const head = `${writer} ${number} `;
  const sum = createHash('sha256').update(head).digest('hex');
  return Buffer.from((head + sum).padEnd(RECORD_BYTES).slice(0, RECORD_BYTES));
}

/**
 * Null if the bytes are the first `answered` records of the writer, and nothing else but
 * perhaps the next one, whose answer was lost. Else what is wrong.
 */
export function fault(
  bytes: Buffer,
  writer: string,
  { answered, perhaps }: { answered: number; perhaps: boolean },
): string | null {
  for (let number = 0; number < answered; number += 1) {
    const at = number * RECORD_BYTES;
    if (!bytes.subarray(at, at + RECORD_BYTES).equals(record(writer, number))) {
      return `record ${number} of ${answered} of ${writer} is not there`;
    }
  }
  const rest = bytes.subarray(answered * RECORD_BYTES);
  if (rest.every((byte) => byte === 0)) return null;
  const next = record(writer, answered);
  const isNext = perhaps && rest.subarray(0, RECORD_BYTES).equals(next);
  return isNext && rest.subarray(RECORD_BYTES).every((byte) => byte === 0)
    ? null
    : `behind the ${answered} records of ${writer} is something else`;
}
