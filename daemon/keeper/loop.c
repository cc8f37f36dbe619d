// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

#include "loop.h"

int loop_init(struct loop *loop)
{
	loop->stopped = false;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epoll_fd == -1 ? -errno : 0;
}

int loop_add(struct loop *loop, struct source *source, uint32_t interest)
{
	struct epoll_event event = {
		.events = interest,
		.data.ptr = source,
	};

	source->interest = interest;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd,
		      &event) == -1) {
		return -errno;
	}
	return 0;
}

void loop_interest(struct loop *loop, struct source *source,
		   uint32_t interest)
{
	struct epoll_event event = {
		.events = interest,
		.data.ptr = source,
	};

	if (source->interest == interest) {
		return;
	}
	/* Cannot fail for a descriptor that is registered (epoll_ctl(2)). */
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
	source->interest = interest;
}

/*
 * One event per epoll_wait: epoll serves its ready descriptors in turn, so a
 * busy smbd child cannot starve another, and no event of a source that an
 * earlier event freed can be in hand.
 */
int loop_turn(struct loop *loop)
{
	struct epoll_event event = { .events = 0 };
	struct source *source = NULL;
	int count = epoll_wait(loop->epoll_fd, &event, 1, -1);

	if (count == -1) {
		return errno == EINTR ? 0 : -errno;
	}
	if (count == 1) {
		source = event.data.ptr;
		source->ready(source, event.events);
	}
	return 0;
}
