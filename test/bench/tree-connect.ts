// SPDX-License-Identifier: GPL-3.0-or-later
/** The first tree connect to a share after a restart of smbd, which forgets all opens. */
import type { DevSamba } from '../lib/dev-samba.js';
import type { Smb2Client } from '../lib/smb2/index.js';
import type { Pair } from './figures.js';

/** Of all shares with the module, this one is not connected to by the start of smbd. */
export const FORGOTTEN = 'ca';

async function microseconds(client: Smb2Client, share: string): Promise<number> {
  const start = performance.now();
  await client.treeConnect(share).ok();
  return (performance.now() - start) * 1000;
}

/** Of one client, whose smbd child has connected neither share before. */
export async function treeConnectRound(samba: DevSamba): Promise<Pair> {
  await samba.verb('restart', 'smbd');
  const client = await samba.connect('posix-plain');
  const stock = await microseconds(client, 'plain');
  const module = await microseconds(client, FORGOTTEN);
  await client.drop();
  return { stock, module };
}
