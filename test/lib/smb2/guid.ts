// SPDX-License-Identifier: GPL-3.0-or-later
import { randomBytes } from 'node:crypto';

/** 16 random bytes: a client GUID, create GUID, lease key or app instance id. */
export function newGuid(): Buffer {
  return randomBytes(16);
}
