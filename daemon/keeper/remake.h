// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Descriptors that were lost, with an earlier keeper or with the host, and are
 * made again: the file is opened by its file handle, so that neither a rename
 * nor another device number matters (open_by_handle_at(2)).
 */
#ifndef KEEPER_REMAKE_H
#define KEEPER_REMAKE_H

#include "keeper.h"

/* What it takes to open the file of `kept` again. Returns the size. */
size_t remake_describe(const struct kept *kept,
		       uint8_t payload[KEEPER_MAX_PAYLOAD]);

/* Whether the payload of a REMAKE is as long as it says. */
bool remake_is_whole(const void *payload, size_t size);

/*
 * Make the descriptor that `payload` tells of, orphaned: smbd's records of it
 * are to be put right. `remade` is the reply. 0, -ENODEV: its file system is
 * not mounted, -ESTALE: the file is gone, -EEXIST: there is one, or another
 * negative errno.
 */
int remake(struct keeper *keeper, const uint8_t *cookie, const void *payload,
	   struct keeper_remade *remade);

/*
 * Take a run of `count` locks as OFD locks of the descriptor. 0, -ENOENT, or
 * -EAGAIN: somebody else has locked that meanwhile.
 */
int remake_lock(const struct keeper *keeper, const uint8_t *cookie,
		const void *locks, size_t count);

#endif
