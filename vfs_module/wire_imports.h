/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The handles that smbd has no records of, or records of a dead owner, as
 * persistd tells them: the reply `imports` (docs/protocol.md 1.1).
 */
#ifndef PERSISTENT_WIRE_IMPORTS_H
#define PERSISTENT_WIRE_IMPORTS_H

#include "wire.h"

#define WIRE_IMPORTS_MAX 64  /* handles in one reply */
#define WIRE_LOCKS_MAX 65536 /* of one handle */

struct wire_lock {
	uint64_t start;
	uint64_t count;
	bool exclusive;
};

struct wire_import {
	/* its strings and bytes live as long as the struct wire_imports */
	struct wire_record record;
	uint64_t disconnected_realtime_ns;
	bool protected; /* its share mode and locks are to stay in force */
	bool level_lost;
	const struct wire_lock *locks;
	size_t num_locks;
};

struct wire_imports {
	bool more; /* ask again */
	size_t count;
	struct wire_import handles[WIRE_IMPORTS_MAX];
	msgpack_unpacked message;
	char *data;
};

/* NULL: not such a message, or out of memory. */
struct wire_imports *wire_imports_parse(const void *data, size_t len);

void wire_imports_free(struct wire_imports *imports);

#endif
