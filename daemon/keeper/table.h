// SPDX-License-Identifier: GPL-3.0-or-later
/* The kept descriptors: by cookie, by file, by owner. */
#ifndef KEEPER_TABLE_H
#define KEEPER_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "index.h"
#include "keeper_protocol.h"
#include "list.h"
#include "surrogate.h"
#include "watch.h"

/* Where a descriptor stands on its way to persistd's knowledge; report.h. */
enum report_state {
	REPORT_NONE,
	REPORT_WAITING,
	REPORT_DUE
};

struct kept {
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	int fd;
	uint64_t dev;
	uint64_t ino;

	enum keeper_state state;
	uint64_t since_monotonic_ns;
	uint64_t since_realtime_ns;
	/* The list of its owner's descriptors; NULL unless it is held. */
	const struct link *owner;
	/* The last owner's pid, also while it is parked or orphaned. */
	uint32_t owner_pid;
	/* Of a parked one that is protected, else 0; surrogate.h. */
	uint32_t surrogate;
	/* Of a parked one, at persistd's wish. */
	struct watch watch;

	uint8_t *record;
	uint16_t record_length;
	/* What its smbd child last noted of it; NULL: nothing yet. */
	uint8_t *note;
	uint16_t note_length;

	/* persistd has been told of this cookie on its present connection. */
	bool reported;
	enum report_state report_state;
	struct link report;

	struct kept *next_in_bucket;
	struct link in_table;
	struct link in_owner;
	struct link in_file; /* only while parked or orphaned */
};

/* Through which one file's descriptors are found. */
#define TABLE_FILE_LISTS 16384

struct table {
	struct index *index;
	struct kept **buckets;
	uint64_t bucket_mask;
	uint32_t count;
	struct link all;
	struct link files[TABLE_FILE_LISTS];
};

/* These return 0 or a negative errno. */
int table_init(struct table *table, struct index *index, uint32_t expected);

/* A new descriptor, owned by nobody yet: table_hold() follows. */
int table_insert(struct table *table, const uint8_t *cookie, int fd,
		 struct kept **inserted);

/* Another descriptor, closing the present one. */
int table_replace_fd(struct table *table, struct kept *kept, int fd);

int kept_set_record(struct kept *kept, const void *record, uint16_t length);
int kept_set_note(struct kept *kept, const void *note, uint16_t length);

struct kept *table_find(const struct table *table, const uint8_t *cookie);

/* Take it out and close the descriptor. */
void table_remove(struct table *table, struct kept *kept);

void table_hold(struct table *table, struct kept *kept, struct link *owner,
		uint32_t owner_pid);

/* `state` is KEEPER_PARKED or KEEPER_ORPHANED. */
void table_release(struct table *table, struct kept *kept,
		   enum keeper_state state);

/*
 * One that nobody holds counts as parked from now on: what its smbd child left
 * in smbd's records has been put right.
 */
void table_park_abandoned(struct table *table, struct kept *kept);

/*
 * Those that are parked or orphaned (`in_file`) of a file, and of others that
 * share its list.
 */
const struct link *table_file_list(const struct table *table, uint64_t dev,
				   uint64_t ino);

/*
 * The cookies of the parked and orphaned descriptors of a file, at most
 * `room`; returns how many.
 */
uint32_t table_query(const struct table *table, uint64_t dev, uint64_t ino,
		     uint8_t (*cookies)[KEEPER_COOKIE_SIZE], uint32_t room);

#endif
