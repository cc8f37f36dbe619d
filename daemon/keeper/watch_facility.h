// SPDX-License-Identifier: GPL-3.0-or-later
/* What the kernel offers to tell of a file: one implementation for each. */
#ifndef KEEPER_WATCH_FACILITY_H
#define KEEPER_WATCH_FACILITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "list.h"
#include "opener.h"
#include "process.h"

#define WATCH_KEY_SIZE 160

struct watch_facility;

/* A file, marked with the kernel as long as there are descriptors on `watches`. */
struct watched {
	const struct watch_facility *facility;
	/* By what its events name it; set by add(). */
	uint8_t key[WATCH_KEY_SIZE];
	size_t key_size;
	struct process_file file;
	struct link watches;
	struct openers openers;
	int64_t ctime_ns; /* when it was last looked at */
};

struct watch_facility {
	const char *name;
	uint32_t number; /* enum keeper_facility */
	/* A descriptor that can be waited for and never blocks, or -errno. */
	int (*open)(void);
	/* Mark the file of `fd`; sets the key. 0 or a negative errno. */
	int (*add)(int facility_fd, struct watched *watched, int fd);
	void (*remove)(int facility_fd, const struct watched *watched, int fd);
	/* Read a few events. */
	void (*ready)(int facility_fd);
};

extern const struct watch_facility watch_fanotify;
extern const struct watch_facility watch_inotify;

/* What an event says; several may be said at once. */
enum watch_what {
	WATCH_OPENED = 1,  /* for writing or not */
	WATCH_CLOSED = 2,  /* had been open for writing */
	WATCH_MODIFIED = 4,
	WATCH_ATTRIBUTES = 8 /* mode, owner, both times ... */
};

/* The marked file whose events bear this key, or NULL. */
struct watched *watch_find(const struct watch_facility *facility,
			   const void *key, size_t size);

/* `pid` is 0 if the kernel does not say who. `watched` may be gone then. */
void watch_saw(struct watched *watched, unsigned int what, pid_t pid);

/*
 * Whether the inode has changed since this was last asked. Only that tells of
 * an access time that was set: the kernel reports it like a read.
 */
bool watch_inode_changed(struct watched *watched);

/* This one has it open for writing. `watched` may be gone then. */
void watch_saw_writer(struct watched *watched, const struct opener *opener);

/* Events were lost. */
void watch_overflowed(void);

#endif
