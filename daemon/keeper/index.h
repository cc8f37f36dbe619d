// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * keeper.index: which files have a parked or orphaned descriptor, which any.
 * smbd reads it on every open, without a system call, to learn that it need
 * not ask.
 */
#ifndef KEEPER_INDEX_H
#define KEEPER_INDEX_H

#include <stdint.h>

struct index {
	uint32_t *words;
	uint32_t *published; /* of a keeper that takes over, until it serves */
	int fd;
};

/*
 * Make the file, all zero, in the current directory, in place of one that an
 * earlier keeper left. 0 or a negative errno.
 */
int index_create(struct index *index);

/*
 * Instead: an earlier keeper's file, which smbd has mapped. Until
 * index_publish() this counts in private; then the file says what was counted.
 * -EPROTO: its layout is another version's.
 */
int index_take_over(struct index *index, int fd);
void index_publish(struct index *index);

/* One more, or one less, of what a word counts (keeper_protocol.h). */
void index_count_up(struct index *index, uint32_t word);
void index_count_down(struct index *index, uint32_t word);
void index_set(struct index *index, uint32_t word, uint32_t value);

/*
 * The same for a descriptor of a file, in its slots behind KEEPER_INDEX_PARKED
 * or KEEPER_INDEX_KEPT.
 */
void index_file_up(struct index *index, uint32_t slots, uint64_t dev,
		   uint64_t ino);
void index_file_down(struct index *index, uint32_t slots, uint64_t dev,
		     uint64_t ino);

#endif
