// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * A small SMB 2.1 to 3.1.1 client for tests, the demo and benchmarks.
 *
 *     const client = await Smb2Client.connect({ port, user, password, share });
 *     const lease = { key: newGuid(), state: LeaseState.RWH };
 *     const open = await client.open('a.txt', { lease, durable: { version: 2 } }).ok();
 *     await open.write(0, 'hello').ok();
 *     (await open.read(9, 1)).code; // 'END_OF_FILE'
 *
 * Every request is a `Call`: awaited it gives the status, `ok()` gives the value or
 * throws. A call that the server keeps waiting says so by `pending`.
 */
export * from './breaks.js';
export * from './client.js';
export type { CallOptions } from './connection.js';
export * from './constants.js';
export type { OpenOptions } from './create.js';
export * as createContexts from './create-contexts.js';
export { FileId } from './file-id.js';
export { newGuid } from './guid.js';
export type { LockElement, LockOptions, Open } from './open.js';
export { Call, Reply } from './reply.js';
export { NtStatus, SmbError, statusName } from './status.js';
export type { Tree } from './tree.js';
