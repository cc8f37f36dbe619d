// SPDX-License-Identifier: GPL-3.0-or-later
/* A listening socket in the run directory, and who may come in. */
#ifndef KEEPER_LISTENER_H
#define KEEPER_LISTENER_H

#include "keeper.h"

/* A connection whose peer is allowed; `fd` is the callee's to close. */
typedef void (*accepted_fn)(struct keeper *keeper, int fd, pid_t pid);

struct listener {
	struct source source;
	struct keeper *keeper;
	const char *name;
	accepted_fn accepted;
};

/*
 * Bind `name` in the current directory and listen. `socket_type` is
 * SOCK_STREAM or SOCK_SEQPACKET. 0 or a negative errno.
 */
int listener_open(struct listener *listener, struct keeper *keeper,
		  const char *name, int socket_type, accepted_fn accepted);

/* Instead: listen on the socket of an earlier keeper. */
int listener_take_over(struct listener *listener, struct keeper *keeper,
		       const char *name, int fd, accepted_fn accepted);

/* Take those that have connected and wait, at most 128. */
void listener_accept(struct listener *listener);

#endif
