// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What one keeper leaves to the next, as bytes: records of a type and a
 * length, one behind the other. Both are of one host, so integers are as the
 * processor has them. The descriptors that a record names are inherited under
 * the same numbers.
 */
#ifndef KEEPER_STATE_H
#define KEEPER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue.h"

/*
 * Of what the records mean. A keeper takes over from those of its own version
 * and of any lower one that there was.
 */
#define STATE_VERSION 1

struct state_writer {
	struct queue bytes;
	struct queue descriptors; /* int each */
	size_t record;            /* where the present one begins */
	bool failed;              /* out of memory */
};

/* A record; the one before it is complete. */
void state_begin(struct state_writer *writer, uint32_t type);
void state_put(struct state_writer *writer, const void *bytes, size_t size);

/* `fd` is to be inherited; -1: there is none. */
void state_put_fd(struct state_writer *writer, int fd);

void state_free(struct state_writer *writer);

struct state_reader {
	const uint8_t *bytes;
	size_t left;
	/* Of the present record. */
	uint32_t type;
	const uint8_t *record;
	size_t record_left;
	bool failed;
};

/* On to the next record; false at the end. */
bool state_next(struct state_reader *reader);

/* Zeros, and the reader has failed, if the record does not have as much. */
void state_get(struct state_reader *reader, void *to, size_t size);
const uint8_t *state_take(struct state_reader *reader, size_t size);

/* An inherited descriptor, if it is open; -1: there is none. */
int state_get_fd(struct state_reader *reader);

#endif
