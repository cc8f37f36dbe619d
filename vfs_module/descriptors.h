/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The channel on which descriptors go to fdkeeper and come back
 * (docs/protocol.md 2.1).
 */
#ifndef PERSISTENT_DESCRIPTORS_H
#define PERSISTENT_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct descriptors_callbacks {
	/* The keeper would not have this one (a negative errno). */
	void (*refused)(const uint8_t *cookie, int status);
	/* There is a new keeper: deposit again what is still open. */
	void (*redeposit)(void);
	/* Another smbd child has died, and left handles. False: try again. */
	bool (*died)(void);
};

/* Remembers where the keeper is; connects when something is to be said. */
void descriptors_open(struct tevent_context *ev, const char *run_dir,
		      const struct descriptors_callbacks *callbacks);

/*
 * Connects if need be (at most one attempt a second while there is no
 * keeper) and reads what the keeper said meanwhile. False: no keeper.
 */
bool descriptors_ready(void);

/* The same, without a second's pause: somebody has just seen the keeper. */
bool descriptors_ready_now(void);

/*
 * Gives a copy of fd into keeping, without waiting. False if the keeper did
 * not take it; a refusal for lack of room comes later, by the callback.
 */
bool descriptors_deposit(const uint8_t *cookie, int fd,
			 const void *record, size_t record_len);

/*
 * Our copy is closed, the client may come back. False: the keeper has none.
 * Also for one whose smbd child has died.
 */
bool descriptors_park(const uint8_t *cookie, uint64_t deadline_ns);

/*
 * The same, and the keeper makes a surrogate: the pid of a thread that exists
 * as long as the descriptor is parked. One that has its surrogate keeps it.
 */
bool descriptors_park_protected(const uint8_t *cookie, uint64_t deadline_ns,
				uint64_t *surrogate);

/* What is to be known of a handle whatever becomes of this smbd child. */
struct descriptors_note {
	uint8_t data[128];
	size_t length; /* 0: nothing */
};

/* The keeper shall have this note of one that it keeps. Does not wait. */
bool descriptors_note(const uint8_t *cookie,
		      const struct descriptors_note *note);

/*
 * A duplicate of the kept descriptor: 0 and *fd, -ENOENT if the keeper has
 * none of that cookie, -ETIMEDOUT or another errno if it could not be asked.
 */
int descriptors_take(const uint8_t *cookie, uint64_t deadline_ns, int *fd);

/* A kept descriptor that its next owner, if he comes, shall find parked. */
struct descriptors_look {
	const uint8_t *cookie;
	bool protect; /* with a surrogate */
	/*
	 * What came of it: 0; -ENOENT, the keeper has none; -EPERM, a living
	 * smbd child holds it; -ETIMEDOUT or another errno, it was not asked.
	 */
	int status;
	struct stat st;
	struct descriptors_note note;
	uint64_t surrogate;
};

/* Looks at several at once, and parks them. */
void descriptors_look_at(struct descriptors_look *looks, size_t count,
			 uint64_t deadline_ns);

/* Whether the keeper has dealt with everything sent so far. */
bool descriptors_settled(uint64_t dev, uint64_t ino, uint64_t deadline_ns);

/* The handle lives in this smbd child from now on. */
bool descriptors_adopt(const uint8_t *cookie,
		       const void *record, size_t record_len);

/* The keeper's copy is to go. Does not wait. */
bool descriptors_drop(const uint8_t *cookie);

/*
 * Whether some parked descriptor may be of this file: a memory read. May say
 * yes for a file that only shares the index slot.
 */
bool descriptors_maybe_parked(uint64_t dev, uint64_t ino);

/* The same for any kept descriptor of the file. */
bool descriptors_maybe_kept(uint64_t dev, uint64_t ino);

/*
 * Whether there is a keeper, and what an earlier one had and persistd can have
 * made again is with it.
 */
bool descriptors_are_all(void);

/* Whether any descriptor is parked or orphaned. */
bool descriptors_any_away(void);

/* Whether smbd children have died and left handles that nobody imported. */
bool descriptors_any_orphaned(void);

#endif
