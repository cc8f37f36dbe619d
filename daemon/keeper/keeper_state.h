// SPDX-License-Identifier: GPL-3.0-or-later
/* The whole of a keeper as bytes (state.h), for the next one. */
#ifndef KEEPER_KEEPER_STATE_H
#define KEEPER_KEEPER_STATE_H

#include "keeper.h"
#include "state.h"

/* Failure is the writer's: out of memory. */
void keeper_state_save(struct keeper *keeper, struct state_writer *writer);

/*
 * Make a keeper of it that has everything but serves nobody yet. The loop is
 * there, `facility` as for watch_start(). NULL, or what is wrong, in words.
 */
const char *keeper_state_load(struct keeper *keeper, const char *facility,
			      struct state_reader *reader);

#endif
