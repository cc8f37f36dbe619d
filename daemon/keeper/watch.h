// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tells persistd when a local process touches the file of a parked descriptor
 * (docs/local-access.md). A watch is told once and is over then; what was told
 * is remembered until the descriptor is parked no more.
 */
#ifndef KEEPER_WATCH_H
#define KEEPER_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "keeper_protocol.h"
#include "list.h"
#include "process.h"

struct keeper;
struct kept;
struct watched;

/* Of one kept descriptor; embedded in it. */
struct watch {
	struct watched *file; /* NULL: not watched */
	struct link in_file;
	uint64_t size_bytes; /* when the watch began */
	int64_t mtime_ns;
	struct keeper_touched touched; /* `how` is 0: by nobody yet */
};

#define WATCH_NONE "none"

/*
 * `facility` is the name of the one to use, WATCH_NONE, or NULL: the best that
 * there is. False if there is none of that name.
 */
bool watch_start(struct keeper *keeper, const char *facility);

/*
 * What a keeper that takes over needs of this: the descriptors, by number of
 * the facility, that are in use, or else -1. Before watch_start().
 */
#define WATCH_FACILITIES 3
void watch_facility_fds(int fds[WATCH_FACILITIES]);
void watch_take_over(const int fds[WATCH_FACILITIES]);

/* An earlier keeper watched the file of `kept`: go on. */
void watch_resume(struct kept *kept);

/* What INFO says: enum keeper_facility. */
uint32_t watch_facility(void);

/*
 * Begin to watch the file of `kept`, if it is not watched yet. 0; -EBUSY: it
 * is not parked; -EOPNOTSUPP: nothing tells of this file; or another negative
 * errno.
 */
int watch_begin(struct kept *kept);

/* Tell again what was told of it. */
void watch_tell_again(const struct kept *kept);

/* It is parked no more; its descriptor is still open. */
void watch_end(struct kept *kept);

#endif
