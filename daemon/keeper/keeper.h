// SPDX-License-Identifier: GPL-3.0-or-later
/* The whole keeper: what its parts share. */
#ifndef KEEPER_H
#define KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "index.h"
#include "keeper_protocol.h"
#include "loop.h"
#include "table.h"

#define KEEPER_MAX_UIDS 16

/* Descriptors that the keeper needs for itself: sockets, epoll, accepts. */
#define KEEPER_SPARE_DESCRIPTORS 64

struct control;
struct reporter;

struct keeper {
	struct loop loop;
	struct index index;
	struct table table;
	struct control *control;
	struct reporter *reporter;

	/* RLIMIT_NOFILE, and the most descriptors that may be deposited. */
	uint32_t nofile_limit;
	uint32_t max_descriptors;

	uid_t allowed_uids[KEEPER_MAX_UIDS];
	uint32_t allowed_uid_count;

	uint32_t connections;
	uint64_t refused;
	uint64_t protocol_errors;

	/* persistd waits for what comes of its UPGRADE. */
	bool upgrade_asked;
	uint32_t upgrade_seq;
};

/* No room for one more, beside the keeper's own descriptors. */
static inline bool keeper_is_full(const struct keeper *keeper)
{
	return keeper->table.count >= keeper->max_descriptors ||
	       keeper->table.count + keeper->connections +
	       KEEPER_SPARE_DESCRIPTORS >= keeper->nofile_limit;
}

#endif
