// SPDX-License-Identifier: GPL-3.0-or-later
/* The event loop: epoll, level triggered, one event at a time. */
#ifndef KEEPER_LOOP_H
#define KEEPER_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct source;

/* `events` are epoll's; the callee may free its source. */
typedef void (*source_ready_fn)(struct source *source, uint32_t events);

/* Something with a descriptor; embedded in what belongs to it. */
struct source {
	int fd;
	uint32_t interest;
	source_ready_fn ready;
	void *context;
};

struct loop {
	int epoll_fd;
	bool stopped;
};

/* These return 0 or a negative errno. */
int loop_init(struct loop *loop);
int loop_add(struct loop *loop, struct source *source, uint32_t interest);

/* Change what the source waits for; EPOLLHUP always comes. */
void loop_interest(struct loop *loop, struct source *source,
		   uint32_t interest);

/* Wait for one event and serve it. */
int loop_turn(struct loop *loop);

#endif
