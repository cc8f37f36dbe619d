// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "queue.h"

/* What a queue that was long keeps of its memory when it is empty. */
#define QUEUE_KEEP (1024 * 1024)

uint8_t *queue_grow(struct queue *queue, size_t size)
{
	size_t used = queue_size(queue);
	uint8_t *added = NULL;

	if (queue->end + size > queue->room && queue->start > used) {
		memmove(queue->bytes, queue->bytes + queue->start, used);
		queue->start = 0;
		queue->end = used;
	}
	if (queue->end + size > queue->room) {
		size_t room = 2 * (queue->end + size);
		uint8_t *bytes = realloc(queue->bytes, room);

		if (bytes == NULL) {
			return NULL;
		}
		queue->bytes = bytes;
		queue->room = room;
	}
	added = queue->bytes + queue->end;
	queue->end += size;
	return added;
}

int queue_flush(struct queue *queue, int socket_fd)
{
	while (queue_size(queue) > 0) {
		ssize_t sent = send(socket_fd, queue->bytes + queue->start,
				    queue_size(queue),
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent == -1) {
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		}
		queue->start += (size_t)sent;
	}
	if (queue->room > QUEUE_KEEP) {
		queue_free(queue);
	}
	queue->start = 0;
	queue->end = 0;
	return 0;
}

void queue_free(struct queue *queue)
{
	free(queue->bytes);
	*queue = (struct queue){ .bytes = NULL };
}
