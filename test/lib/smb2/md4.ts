// SPDX-License-Identifier: GPL-3.0-or-later
/** MD4 (RFC 1320). The NT hash needs it, and OpenSSL 3 no longer offers it. */

const rotate = (value: number, bits: number): number =>
  ((value << bits) | (value >>> (32 - bits))) >>> 0;

interface Round {
  mix: (x: number, y: number, z: number) => number;
  constant: number;
  order: readonly number[];
  shifts: readonly number[];
}

const rounds: readonly Round[] = [
  {
    mix: (x, y, z) => (x & y) | (~x & z),
    constant: 0,
    order: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    shifts: [3, 7, 11, 19],
  },
  {
    mix: (x, y, z) => (x & y) | (x & z) | (y & z),
    constant: 0x5a827999,
    order: [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15],
    shifts: [3, 5, 9, 13],
  },
  {
    mix: (x, y, z) => x ^ y ^ z,
    constant: 0x6ed9eba1,
    order: [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15],
    shifts: [3, 9, 11, 15],
  },
];

function pad(message: Uint8Array): Buffer {
  const padded = Buffer.alloc(Math.ceil((message.length + 9) / 64) * 64);
  padded.set(message);
  padded[message.length] = 0x80;
  padded.writeBigUInt64LE(BigInt(message.length) * 8n, padded.length - 8);
  return padded;
}

export function md4(message: Uint8Array): Buffer {
  const padded = pad(message);
  let [a, b, c, d] = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];
  for (let block = 0; block < padded.length; block += 64) {
    const before = [a, b, c, d] as const;
    for (const { mix, constant, order, shifts } of rounds) {
      order.forEach((word, step) => {
        const sum = a + mix(b, c, d) + padded.readUInt32LE(block + word * 4) + constant;
        // The four registers change places after each step.
        [a, b, c, d] = [d, rotate(sum >>> 0, shifts[step % 4] ?? 0), b, c];
      });
    }
    a = (a + before[0]) >>> 0;
    b = (b + before[1]) >>> 0;
    c = (c + before[2]) >>> 0;
    d = (d + before[3]) >>> 0;
  }
  const digest = Buffer.alloc(16);
  for (const [index, word] of [a, b, c, d].entries()) digest.writeUInt32LE(word, index * 4);
  return digest;
}
