// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Deposits and drops want no answer, and a busy smbd child sends thousands of
 * them a second. To be woken for each would cost the child more than sending
 * it: so after one of them the keeper does not look at that child for 2 ms,
 * and then takes all that has come in one go. What the child sent lies in the
 * kernel meanwhile, also if it is killed.
 */
#ifndef KEEPER_NAP_H
#define KEEPER_NAP_H

#include "keeper.h"
#include "peer.h"

/* 0 or a negative errno. */
int nap_init(struct keeper *keeper);

/* Do not look at this child for a while; peer_drain() ends it. */
void nap_begin(struct peer *peer);

#endif
