// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "nap.h"

#define NAP_NS 2000000

static struct source timer = { .fd = -1 };
static struct link napping = { .prev = &napping, .next = &napping };

static void set_timer(void)
{
	const struct itimerspec in = { .it_value.tv_nsec = NAP_NS };

	(void)timerfd_settime(timer.fd, 0, &in, NULL);
}

static void nap_over(struct source *source, uint32_t events)
{
	struct link over = { .prev = &over, .next = &over };
	uint64_t times = 0;

	(void)events;
	(void)!read(source->fd, &times, sizeof(times));
	while (!link_alone(&napping)) {
		struct link *link = napping.next;

		link_remove(link);
		link_append(&over, link);
	}
	while (!link_alone(&over)) {
		struct peer *peer = link_owner(over.next, struct peer, in_nap);

		link_remove(&peer->in_nap);
		peer_drain(peer);
	}
}

int nap_init(struct keeper *keeper)
{
	timer.ready = nap_over;
	timer.context = keeper;
	timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timer.fd == -1) {
		return -errno;
	}
	return loop_add(&keeper->loop, &timer, EPOLLIN);
}

void nap_begin(struct peer *peer)
{
	if (link_alone(&napping)) {
		set_timer();
	}
	link_append(&napping, &peer->in_nap);
	/* EPOLLHUP still comes: the end of a child is noticed at once */
	loop_interest(&peer->keeper->loop, &peer->source, 0);
}
