// SPDX-License-Identifier: GPL-3.0-or-later
/* What smbd children ask on keeper.sock: deposit, park, take, adopt, drop. */
#ifndef KEEPER_DATA_H
#define KEEPER_DATA_H

#include "packet.h"
#include "peer.h"

/*
 * Serve a request. Returns what is wrong with it, in words, or NULL. The
 * descriptors that are left in `packet` afterwards are the caller's to close.
 */
const char *data_serve(struct peer *peer, struct packet *packet);

#endif
