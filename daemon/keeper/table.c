// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "table.h"

/*
 * Sized once for all that will ever be kept: a table that grows would stop
 * every smbd child while it is copied. calloc() leaves unused pages untouched.
 */
int table_init(struct table *table, struct index *index, uint32_t expected)
{
	uint64_t size = 1024;
	uint32_t i = 0;

	while (size < expected) {
		size *= 2;
	}
	table->buckets = calloc(size, sizeof(*table->buckets));
	if (table->buckets == NULL) {
		return -ENOMEM;
	}
	table->index = index;
	table->bucket_mask = size - 1;
	table->count = 0;
	link_init(&table->all);
	for (i = 0; i < TABLE_FILE_LISTS; i++) {
		link_init(&table->files[i]);
	}
	return 0;
}

/* Cookies are random, so any mixture of their bits will do. */
static struct kept **bucket_of(const struct table *table,
			       const uint8_t *cookie)
{
	uint64_t halves[2] = { 0, 0 };

	memcpy(halves, cookie, sizeof(halves));
	return &table->buckets[(halves[0] ^ halves[1] ^ (halves[1] >> 56)) &
			       table->bucket_mask];
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now = { .tv_sec = 0 };

	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void set_state(struct table *table, struct kept *kept,
		      enum keeper_state state)
{
	if (kept->state == KEEPER_ORPHANED) {
		index_count_down(table->index, KEEPER_INDEX_ORPHANED);
	}
	kept->state = state;
	if (state == KEEPER_ORPHANED) {
		index_count_up(table->index, KEEPER_INDEX_ORPHANED);
	}
}

static void kept_enter(struct table *table, struct kept *kept,
		       enum keeper_state state)
{
	set_state(table, kept, state);
	kept->since_monotonic_ns = now_ns(CLOCK_MONOTONIC);
	kept->since_realtime_ns = now_ns(CLOCK_REALTIME);
}

static uint32_t file_list(uint64_t dev, uint64_t ino)
{
	return keeper_index_slots(dev, ino).first % TABLE_FILE_LISTS;
}

const struct link *table_file_list(const struct table *table, uint64_t dev,
				   uint64_t ino)
{
	return &table->files[file_list(dev, ino)];
}

static void leave_file(struct table *table, struct kept *kept)
{
	if (link_alone(&kept->in_file)) {
		return;
	}
	watch_end(kept);
	link_remove(&kept->in_file);
	index_file_down(table->index, KEEPER_INDEX_PARKED, kept->dev,
			kept->ino);
	index_count_down(table->index, KEEPER_INDEX_AWAY);
}

static void take_file(struct table *table, struct kept *kept,
		      const struct stat *st)
{
	kept->dev = st->st_dev;
	kept->ino = st->st_ino;
	index_file_up(table->index, KEEPER_INDEX_KEPT, kept->dev, kept->ino);
}

static void end_surrogate(struct kept *kept)
{
	surrogate_end(kept->surrogate);
	kept->surrogate = 0;
}

struct kept *table_find(const struct table *table, const uint8_t *cookie)
{
	struct kept *kept = *bucket_of(table, cookie);

	while (kept != NULL &&
	       memcmp(kept->cookie, cookie, KEEPER_COOKIE_SIZE) != 0) {
		kept = kept->next_in_bucket;
	}
	return kept;
}

int table_insert(struct table *table, const uint8_t *cookie, int fd,
		 struct kept **inserted)
{
	struct kept **bucket = bucket_of(table, cookie);
	struct stat st = { .st_ino = 0 };
	struct kept *kept = NULL;

	if (fstat(fd, &st) == -1) {
		return -errno;
	}
	kept = calloc(1, sizeof(*kept));
	if (kept == NULL) {
		return -ENOMEM;
	}
	memcpy(kept->cookie, cookie, KEEPER_COOKIE_SIZE);
	kept->fd = fd;
	take_file(table, kept, &st);
	kept_enter(table, kept, KEEPER_HELD);
	link_init(&kept->report);
	link_init(&kept->in_owner);
	link_init(&kept->in_file);
	link_init(&kept->watch.in_file);

	kept->next_in_bucket = *bucket;
	*bucket = kept;
	link_append(&table->all, &kept->in_table);
	table->count++;
	*inserted = kept;
	return 0;
}

int table_replace_fd(struct table *table, struct kept *kept, int fd)
{
	struct stat st = { .st_ino = 0 };

	if (fstat(fd, &st) == -1) {
		return -errno;
	}
	leave_file(table, kept);
	index_file_down(table->index, KEEPER_INDEX_KEPT, kept->dev, kept->ino);
	(void)close(kept->fd);
	kept->fd = fd;
	take_file(table, kept, &st);
	return 0;
}

static int replace_bytes(uint8_t **bytes, uint16_t *size, const void *with,
			 uint16_t length)
{
	uint8_t *copy = NULL;

	if (length > 0) {
		copy = malloc(length);
		if (copy == NULL) {
			return -ENOMEM;
		}
		memcpy(copy, with, length);
	}
	free(*bytes);
	*bytes = copy;
	*size = length;
	return 0;
}

int kept_set_record(struct kept *kept, const void *record, uint16_t length)
{
	return replace_bytes(&kept->record, &kept->record_length, record,
			     length);
}

int kept_set_note(struct kept *kept, const void *note, uint16_t length)
{
	return replace_bytes(&kept->note, &kept->note_length, note, length);
}

void table_park_abandoned(struct table *table, struct kept *kept)
{
	set_state(table, kept, KEEPER_PARKED);
}

void table_remove(struct table *table, struct kept *kept)
{
	struct kept **link = bucket_of(table, kept->cookie);

	while (*link != kept) {
		link = &(*link)->next_in_bucket;
	}
	*link = kept->next_in_bucket;
	table->count--;
	leave_file(table, kept);
	index_file_down(table->index, KEEPER_INDEX_KEPT, kept->dev, kept->ino);
	set_state(table, kept, KEEPER_HELD);
	link_remove(&kept->in_table);
	link_remove(&kept->in_owner);
	link_remove(&kept->report);
	(void)close(kept->fd);
	/* Who may have the file then finds no lock of the descriptor on it. */
	end_surrogate(kept);
	free(kept->record);
	free(kept->note);
	free(kept);
}

void table_hold(struct table *table, struct kept *kept, struct link *owner,
		uint32_t owner_pid)
{
	leave_file(table, kept);
	end_surrogate(kept);
	link_remove(&kept->in_owner);
	link_append(owner, &kept->in_owner);
	kept->owner = owner;
	kept->owner_pid = owner_pid;
	kept_enter(table, kept, KEEPER_HELD);
}

void table_release(struct table *table, struct kept *kept,
		   enum keeper_state state)
{
	link_remove(&kept->in_owner);
	kept->owner = NULL;
	kept_enter(table, kept, state);
	link_append(&table->files[file_list(kept->dev, kept->ino)],
		    &kept->in_file);
	index_file_up(table->index, KEEPER_INDEX_PARKED, kept->dev, kept->ino);
	index_count_up(table->index, KEEPER_INDEX_AWAY);
}

uint32_t table_query(const struct table *table, uint64_t dev, uint64_t ino,
		     uint8_t (*cookies)[KEEPER_COOKIE_SIZE], uint32_t room)
{
	const struct link *list = table_file_list(table, dev, ino);
	const struct link *link = NULL;
	uint32_t found = 0;

	for (link = list->next; link != list && found < room;
	     link = link->next) {
		const struct kept *kept =
			link_owner(link, const struct kept, in_file);

		if (kept->dev == dev && kept->ino == ino) {
			memcpy(cookies[found], kept->cookie,
			       KEEPER_COOKIE_SIZE);
			found++;
		}
	}
	return found;
}
