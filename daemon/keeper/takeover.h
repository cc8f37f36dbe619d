// SPDX-License-Identifier: GPL-3.0-or-later
/* The new keeper's side of an upgrade: handover.h. */
#ifndef KEEPER_TAKEOVER_H
#define KEEPER_TAKEOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "keeper.h"

/* What the new one says when it has everything; else why it has not. */
#define TAKEOVER_READY "ready"

/* What the old one passes: its pid, and two descriptors. */
struct takeover {
	int32_t old_pid;
	int32_t state_fd; /* a memfd: keeper_state.h, and who asked */
	int32_t reply_fd; /* where the new one says TAKEOVER_READY */
};

/* The option's value: "pid,fd,fd". */
bool takeover_parse(struct takeover *takeover, const char *text);

/* The exit status for --can-take-over VERSION; says why not. */
int takeover_possible(const char *version);

/* First of all: have everything. False: it was said why not. */
bool takeover_load(struct keeper *keeper, const struct takeover *takeover,
		   const char *facility);

/* Then: wait for the end of the old one, and be the keeper. */
void takeover_command(struct keeper *keeper, const struct takeover *takeover);

#endif
