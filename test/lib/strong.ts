// SPDX-License-Identifier: GPL-3.0-or-later
/** What scenarios of `persistent:strength = yes` begin with. */
import { strict as assert } from 'node:assert';
import { type DevSamba, DURABLE_KINDS } from './dev-samba.js';
import { type Held, hold, optionsOf, type Wish } from './scenario.js';
import type { OpenOptions } from './smb2/index.js';

/** The kinds that become persistent. */
export const STRONG_KINDS = {
  'v2, batch oplock': DURABLE_KINDS['v2, batch oplock'],
  'v2, lease v2': DURABLE_KINDS['v2, lease v2'],
} as const;

export const RANGE = { offset: 0, length: 10 };

/** As a client asks for it that knows persistent handles. */
export function strongOptions(wish: Wish = {}, more: OpenOptions = {}): OpenOptions {
  return { ...optionsOf(STRONG_KINDS['v2, lease v2'], wish), ...more };
}

/** A persistent handle on a new file, with something in it. */
export async function strong(
  samba: DevSamba,
  options: OpenOptions = strongOptions(),
  share = 'strong',
): Promise<Held> {
  const held = await hold(samba, share, options);
  await held.open.write(0, 'still here').ok();
  assert.equal(samba.handle(held.name).kind, 'persistent');
  return held;
}
