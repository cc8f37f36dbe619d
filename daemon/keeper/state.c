// SPDX-License-Identifier: GPL-3.0-or-later
#include <string.h>

#include "state.h"

struct record {
	uint32_t type;
	uint32_t length;
};

void state_put(struct state_writer *writer, const void *bytes, size_t size)
{
	uint8_t *to = queue_grow(&writer->bytes, size);
	struct record record = { .type = 0 };

	if (to == NULL) {
		writer->failed = true;
	}
	if (writer->failed || size == 0) {
		return;
	}
	memcpy(to, bytes, size);
	memcpy(&record, writer->bytes.bytes + writer->record, sizeof(record));
	record.length += (uint32_t)size;
	memcpy(writer->bytes.bytes + writer->record, &record, sizeof(record));
}

void state_begin(struct state_writer *writer, uint32_t type)
{
	const struct record record = { .type = type };
	uint8_t *to = queue_grow(&writer->bytes, sizeof(record));

	if (to == NULL) {
		writer->failed = true;
		return;
	}
	memcpy(to, &record, sizeof(record));
	writer->record = (size_t)(to - writer->bytes.bytes);
}

void state_put_fd(struct state_writer *writer, int fd)
{
	uint8_t *to = NULL;

	if (fd != -1) {
		to = queue_grow(&writer->descriptors, sizeof(fd));
		if (to == NULL) {
			writer->failed = true;
			return;
		}
		memcpy(to, &fd, sizeof(fd));
	}
	state_put(writer, &fd, sizeof(fd));
}

void state_free(struct state_writer *writer)
{
	queue_free(&writer->bytes);
	queue_free(&writer->descriptors);
}

bool state_next(struct state_reader *reader)
{
	struct record record = { .type = 0 };

	if (reader->failed || reader->left < sizeof(record)) {
		return false;
	}
	memcpy(&record, reader->bytes, sizeof(record));
	reader->bytes += sizeof(record);
	reader->left -= sizeof(record);
	if (record.length > reader->left) {
		reader->failed = true;
		return false;
	}
	reader->type = record.type;
	reader->record = reader->bytes;
	reader->record_left = record.length;
	reader->bytes += record.length;
	reader->left -= record.length;
	return true;
}

const uint8_t *state_take(struct state_reader *reader, size_t size)
{
	const uint8_t *taken = reader->record;

	if (size > reader->record_left) {
		reader->failed = true;
		return NULL;
	}
	reader->record += size;
	reader->record_left -= size;
	return taken;
}

void state_get(struct state_reader *reader, void *to, size_t size)
{
	const uint8_t *from = state_take(reader, size);

	memset(to, 0, size);
	if (from != NULL) {
		memcpy(to, from, size);
	}
}

int state_get_fd(struct state_reader *reader)
{
	int fd = -1;

	state_get(reader, &fd, sizeof(fd));
	return reader->failed ? -1 : fd;
}
