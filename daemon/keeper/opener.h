// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Processes that have opened a watched file, perhaps for writing. The kernel
 * does not tell how, so each is looked at, 25 ms later: touch(1) opens a file
 * for writing only to set its times, and is gone by then.
 */
#ifndef KEEPER_OPENER_H
#define KEEPER_OPENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "keeper_protocol.h"
#include "list.h"
#include "loop.h"

/* How many are remembered for a file: the last ones. */
#define OPENERS_MAX 8

struct watched;

struct opener {
	struct watched *file;
	pid_t pid; /* 0: nobody */
	char name[KEEPER_PROCESS_NAME];
	bool set_attributes; /* somebody did, since it opened the file */
	unsigned int looks;
	struct link due; /* alone: it needs no look */
	uint64_t due_ns;
};

/* Of one file; embedded in it. */
struct openers {
	struct opener all[OPENERS_MAX];
	unsigned int next;
};

/* 0 or a negative errno. */
int openers_start(struct loop *loop);

void openers_init(struct openers *openers, struct watched *file);

/* The file goes. */
void openers_end(struct openers *openers);

/* It has opened the file, once more perhaps. */
void openers_add(struct openers *openers, pid_t pid);

/* NULL: it has not opened the file since it is watched. */
struct opener *openers_find(struct openers *openers, pid_t pid);

/* What a keeper that takes over needs of one. */
struct opener_state {
	int32_t pid;
	char name[KEEPER_PROCESS_NAME];
	uint8_t set_attributes;
	uint8_t is_due;
	uint8_t zero[2];
	uint32_t looks;
};

void openers_save(const struct openers *openers,
		  struct opener_state state[OPENERS_MAX]);
void openers_restore(struct openers *openers,
		     const struct opener_state state[OPENERS_MAX]);

#endif
