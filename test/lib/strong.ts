// SPDX-License-Identifier: GPL-3.0-or-later
/** What scenarios of `persistent:strength = yes` begin with. */
import { strict as assert } from 'node:assert';
import { setTimeout as elapse } from 'node:timers/promises';
import { type DevSamba, DURABLE_KINDS } from './dev-samba.js';
import { type Held, newName, optionsOf, type Wish } from './scenario.js';
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

/** On a machine that is too busy to flush in time it takes more than one try. */
const BOUND_MS = 15_000;

/** A persistent handle on a new file, with something in it. */
export async function strong(
  samba: DevSamba,
  options: OpenOptions = strongOptions(),
  share = 'strong',
): Promise<Held> {
  const client = await samba.connect(share);
  const name = newName();
  const endMs = Date.now() + BOUND_MS;
  for (;;) {
    const open = await client.open(name, options).ok();
    const made = samba.handles('--all').find((h) => h.path.endsWith(`/${name}`) && !h.reason);
    if (made?.kind === 'persistent') {
      await open.write(0, 'still here').ok();
      return { client, open, name, path: samba.sharePath(share, name) };
    }
    assert.ok(Date.now() < endMs, `it is ${made?.kind}`);
    await open.close().ok();
    await elapse(100);
  }
}
