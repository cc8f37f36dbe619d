/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "kernel_locks.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/* The kernel knows no lock from here on; smbd leaves them out. */
#define END ((uint64_t)INT64_MAX)

struct range {
	uint64_t start;
	uint64_t end;
};

static int compare(const struct range *a, const struct range *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

static struct range range_of(const struct lock_struct *l)
{
	uint64_t start = MIN(l->start, END);

	return (struct range) {
		.start = start,
		.end = l->size > END - start ? END : start + l->size,
	};
}

static void release(int fd, uint64_t start, uint64_t end)
{
	struct flock lock = {
		.l_type = F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)start,
		.l_len = end == END ? 0 : (off_t)(end - start),
	};

	if (start < end && fcntl(fd, F_OFD_SETLK, &lock) == -1) {
		DBG_WARNING("kernel locks from %"PRIu64" on cannot be "
			    "released: %s\n", start, strerror(errno));
	}
}

void kernel_locks_release_unknown(int fd, uint64_t owner,
				  const struct lock_struct *locks,
				  size_t num_locks)
{
	struct range *known = talloc_array(talloc_tos(), struct range,
					   num_locks + 1);
	uint64_t free_from = 0;
	size_t n = 0;
	size_t i = 0;

	if (known == NULL) {
		return;
	}
	for (i = 0; i < num_locks; i++) {
		if (locks[i].context.smblctx == owner) {
			known[n++] = range_of(&locks[i]);
		}
	}
	TYPESAFE_QSORT(known, n, compare);
	for (i = 0; i < n; i++) {
		release(fd, free_from, known[i].start);
		free_from = MAX(free_from, known[i].end);
	}
	release(fd, free_from, END);
	TALLOC_FREE(known);
}
