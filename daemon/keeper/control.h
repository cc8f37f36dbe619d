// SPDX-License-Identifier: GPL-3.0-or-later
/* control.sock: persistd asks and is told. */
#ifndef KEEPER_CONTROL_H
#define KEEPER_CONTROL_H

#include "keeper.h"

/* 0 or a negative errno. */
int control_listen(struct keeper *keeper);

bool control_connected(const struct keeper *keeper);

/* Queue a packet; `cookie` may be NULL. Nothing without a persistd. */
void control_send(struct keeper *keeper, uint16_t type, uint32_t seq,
		  const uint8_t *cookie, const void *payload, size_t size);

/* Send what is due and what is queued, as far as the socket takes it. */
void control_pump(struct keeper *keeper);

#endif
