/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * `persistent:strength = yes`: durable v2 handles of the share (DH2Q) are
 * persistent ones (MS-SMB2 3.3.1.10, Open.IsPersistent) in all but name. Samba
 * below 4.25 cannot tell the client so, but keeps to it: share mode and locks
 * stay in force while the client is away, and the handle outlives the host.
 */
#ifndef PERSISTENT_STRENGTH_H
#define PERSISTENT_STRENGTH_H

#include "cookie.h"

struct persistent_handle;

/* Whether the share has it; `no` if it does not say. */
bool strength_is_wanted(const struct connection_struct *conn);

/* What a handle that smbd is about to grant is to be: durable or persistent. */
enum persistent_kind strength_kind(const struct persistent_handle *h);

/*
 * Before the CREATE of a persistent handle is answered, when it was given to the
 * keeper and persistd: waits at most 200 ms for them, and a second for a slow
 * disk, to have what it is promised.
 * One that is not is a durable handle of durability `process`, for good.
 */
void strength_settle(struct persistent_handle *h);

#endif
