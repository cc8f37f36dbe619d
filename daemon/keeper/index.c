// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index.h"
#include "keeper_protocol.h"

#define INDEX_SIZE (KEEPER_INDEX_WORDS * sizeof(uint32_t))
#define INDEX_TEMPORARY KEEPER_INDEX_NAME ".new"

int index_create(struct index *index)
{
	void *mapped = MAP_FAILED;
	int result = 0;
	int fd = open(INDEX_TEMPORARY, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
		      0600);

	if (fd == -1) {
		return -errno;
	}
	/*
	 * Allocated, not only truncated to size: a hole that a full file system
	 * cannot fill would be a SIGBUS at the first park.
	 */
	result = -posix_fallocate(fd, 0, INDEX_SIZE);
	if (result != 0) {
		goto out;
	}
	mapped = mmap(NULL, INDEX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (mapped == MAP_FAILED) {
		result = -errno;
		goto out;
	}
	if (rename(INDEX_TEMPORARY, KEEPER_INDEX_NAME) == -1) {
		result = -errno;
		(void)munmap(mapped, INDEX_SIZE);
		goto out;
	}
	index->words = mapped;
	index->fd = fd;
	return 0;
out:
	(void)close(fd);
	return result;
}

int index_take_over(struct index *index, int fd)
{
	struct stat st = { .st_size = 0 };
	void *words = MAP_FAILED;
	void *shared = MAP_FAILED;

	if (fstat(fd, &st) == -1) {
		return -errno;
	}
	if (st.st_size != INDEX_SIZE) {
		return -EPROTO;
	}
	words = mmap(NULL, INDEX_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, INDEX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (words == MAP_FAILED || shared == MAP_FAILED) {
		return -errno;
	}
	index->words = words;
	index->published = shared;
	/* no count: what persistd has said */
	index->words[KEEPER_INDEX_SETTLED] =
		index->published[KEEPER_INDEX_SETTLED];
	index->fd = fd;
	return 0;
}

/*
 * The words are the same already, unless the earlier keeper died in the middle
 * of a change: smbd sees no count go away and come back.
 */
void index_publish(struct index *index)
{
	uint32_t *counted = index->words;
	uint32_t word = 0;

	index->words = index->published;
	index->published = NULL;
	for (word = 0; word < KEEPER_INDEX_WORDS; word++) {
		if (index->words[word] != counted[word]) {
			__atomic_store_n(&index->words[word], counted[word],
					 __ATOMIC_RELEASE);
		}
	}
	(void)munmap(counted, INDEX_SIZE);
}

void index_count_up(struct index *index, uint32_t word)
{
	(void)__atomic_add_fetch(&index->words[word], 1, __ATOMIC_RELEASE);
}

void index_count_down(struct index *index, uint32_t word)
{
	(void)__atomic_sub_fetch(&index->words[word], 1, __ATOMIC_RELEASE);
}

void index_set(struct index *index, uint32_t word, uint32_t value)
{
	__atomic_store_n(&index->words[word], value, __ATOMIC_RELEASE);
}

void index_file_up(struct index *index, uint32_t slots, uint64_t dev,
		   uint64_t ino)
{
	struct keeper_index_slots at = keeper_index_slots(dev, ino);

	index_count_up(index, slots + at.first);
	index_count_up(index, slots + at.second);
}

void index_file_down(struct index *index, uint32_t slots, uint64_t dev,
		     uint64_t ino)
{
	struct keeper_index_slots at = keeper_index_slots(dev, ino);

	index_count_down(index, slots + at.first);
	index_count_down(index, slots + at.second);
}
