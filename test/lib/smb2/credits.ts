// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * The client's half of credits (MS-SMB2 3.2.4.1.2 and 3.2.4.1.5): each credit is the
 * right to use one more message id.
 */
const TARGET = 512;

export class Credits {
  #available = 1;
  #nextMessageId = 0;

  get available(): number {
    return this.#available;
  }

  /** Takes as many ids as the request costs, or undefined when it has to wait. */
  take(charge: number): number | undefined {
    if (charge > this.#available) return undefined;
    const messageId = this.#nextMessageId;
    this.#available -= charge;
    this.#nextMessageId += charge;
    return messageId;
  }

  grant(count: number): void {
    this.#available += count;
  }

  /** What to ask for beside a request, after its own were taken. */
  wish(charge: number): number {
    return charge + Math.max(0, TARGET - this.#available);
  }
}

/** How many credits a payload costs, either way, with large MTU. */
export function chargeFor(payloadSizeBytes: number): number {
  return Math.max(1, Math.ceil(payloadSizeBytes / 65536));
}
