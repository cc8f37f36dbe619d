// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * inotify(7): for a keeper without CAP_SYS_ADMIN, and for file systems without
 * file handles. It does not say who, so an open alone means nothing here.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "watch_facility.h"

static int open_instance(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	return fd == -1 ? -errno : fd;
}

/* By way of /proc, since the file may have no name. */
static int add(int facility_fd, struct watched *watched, int fd)
{
	char path[32];
	int descriptor = -1;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	descriptor = inotify_add_watch(facility_fd, path,
				       IN_MODIFY | IN_CLOSE_WRITE);
	if (descriptor == -1) {
		return -errno;
	}
	watched->key_size = sizeof(descriptor);
	memcpy(watched->key, &descriptor, sizeof(descriptor));
	return 0;
}

static void remove_watch(int facility_fd, const struct watched *watched,
			 int fd)
{
	int descriptor = -1;

	(void)fd;
	memcpy(&descriptor, watched->key, sizeof(descriptor));
	(void)inotify_rm_watch(facility_fd, descriptor);
}

static void serve(const struct inotify_event *event)
{
	struct watched *watched = NULL;
	unsigned int what = 0;

	if ((event->mask & IN_Q_OVERFLOW) != 0) {
		watch_overflowed();
		return;
	}
	what |= (event->mask & IN_CLOSE_WRITE) != 0 ? WATCH_CLOSED : 0;
	what |= (event->mask & IN_MODIFY) != 0 ? WATCH_MODIFIED : 0;
	watched = watch_find(&watch_inotify, &event->wd, sizeof(event->wd));
	if (watched != NULL && what != 0) {
		watch_saw(watched, what, 0);
	}
}

static void ready(int facility_fd)
{
	union {
		struct inotify_event first;
		char bytes[4096];
	} buffer;
	ssize_t size = read(facility_fd, &buffer, sizeof(buffer));
	ssize_t used = 0;

	while (used < size) {
		const struct inotify_event *event =
			(const void *)(buffer.bytes + used);

		used += (ssize_t)(sizeof(*event) + event->len);
		serve(event);
	}
}

const struct watch_facility watch_inotify = {
	.name = "inotify",
	.number = KEEPER_FACILITY_INOTIFY,
	.open = open_instance,
	.add = add,
	.remove = remove_watch,
	.ready = ready,
};
