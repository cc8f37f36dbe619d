// SPDX-License-Identifier: GPL-3.0-or-later
/* Bytes that wait for a stream socket to take them. */
#ifndef KEEPER_QUEUE_H
#define KEEPER_QUEUE_H

#include <stddef.h>
#include <stdint.h>

struct queue {
	uint8_t *bytes;
	size_t room;
	size_t start;
	size_t end;
};

static inline size_t queue_size(const struct queue *queue)
{
	return queue->end - queue->start;
}

/* Room for `size` more at the end, or NULL when out of memory. */
uint8_t *queue_grow(struct queue *queue, size_t size);

/* Send until the queue is empty or the socket full. 0 or a negative errno. */
int queue_flush(struct queue *queue, int socket_fd);

void queue_free(struct queue *queue);

#endif
