// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * keeper.index: which files have a parked or orphaned descriptor. smbd reads
 * it on every open, without a system call, to learn that it need not ask.
 */
#ifndef KEEPER_INDEX_H
#define KEEPER_INDEX_H

#include <stdint.h>

struct index {
	uint32_t *slots;
};

/*
 * Make the file, all zero, in the current directory, in place of one that an
 * earlier keeper left. 0 or a negative errno.
 */
int index_create(struct index *index);

/* One more, or one less, parked or orphaned descriptor of this file. */
void index_count_up(struct index *index, uint64_t dev, uint64_t ino);
void index_count_down(struct index *index, uint64_t dev, uint64_t ino);

#endif
