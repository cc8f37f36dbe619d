// SPDX-License-Identifier: GPL-3.0-or-later
/* What is mounted where: /proc/self/mountinfo, line by line. */
#ifndef KEEPER_MOUNTS_H
#define KEEPER_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "loop.h"

/* One line of it; proc_pid_mountinfo(5). */
struct mount_line {
	uint64_t id;
	dev_t dev;
	char *mount_point;
	char *type;
	char *source;
};

struct mounts {
	FILE *file;
	char *line;
	size_t size;
};

/* False: mountinfo cannot be read. mounts_close() in any case. */
bool mounts_open(struct mounts *mounts);

/* The next one, valid until the next call; false at the end. */
bool mounts_next(struct mounts *mounts, struct mount_line *mount);

void mounts_close(struct mounts *mounts);

/* Call `changed` when something is mounted or unmounted. 0 or -errno. */
int mounts_watch(struct loop *loop, void (*changed)(void *context),
		 void *context);

#endif
