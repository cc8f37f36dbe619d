// SPDX-License-Identifier: GPL-3.0-or-later
/* control.sock: persistd asks and is told. */
#ifndef KEEPER_CONTROL_H
#define KEEPER_CONTROL_H

#include "keeper.h"
#include "state.h"

/* 0 or a negative errno. */
int control_listen(struct keeper *keeper);

bool control_connected(const struct keeper *keeper);

/* Queue a packet; `cookie` may be NULL. Nothing without a persistd. */
void control_send(struct keeper *keeper, uint16_t type, uint32_t seq,
		  const uint8_t *cookie, const void *payload, size_t size);

/* What a keeper that takes over needs, and what it makes of it. */
int control_listener_fd(void);
int control_take_over(struct keeper *keeper, int listener_fd);

/* persistd's connection as a record of this type, if it is there. */
void control_save(const struct keeper *keeper, struct state_writer *writer,
		  uint32_t type);
void control_restore(struct keeper *keeper, struct state_reader *reader);

/* Send what is due and what is queued, as far as the socket takes it. */
void control_pump(struct keeper *keeper);

#endif
