// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * fanotify(7), notification only: nobody waits for us. Its events name a file
 * by its handle (FAN_REPORT_FID). Those that bring a descriptor say nothing of
 * a truncate, and would have the keeper open the file each time.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "identity.h"
#include "watch_facility.h"

#define EVENTS (FAN_OPEN | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB)

/*
 * Room for a few events: each may need a look into /proc, and smbd children
 * wait meanwhile.
 */
#define READ_SIZE 256

struct key {
	__kernel_fsid_t fsid;
	int32_t type;
	uint8_t handle[KEEPER_MAX_FILE_HANDLE];
};

_Static_assert(sizeof(struct key) <= WATCH_KEY_SIZE, "a key has room");

/*
 * FAN_UNLIMITED_MARKS also makes the kernel refuse those without CAP_SYS_ADMIN,
 * whom it would not tell who did it.
 */
static int open_group(void)
{
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID |
			       FAN_UNLIMITED_MARKS | FAN_NONBLOCK |
			       FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);

	return fd == -1 ? -errno : fd;
}

static size_t make_key(struct key *key, const void *fsid, int32_t type,
		       const void *handle, size_t size)
{
	memset(key, 0, sizeof(*key));
	memcpy(&key->fsid, fsid, sizeof(key->fsid));
	key->type = type;
	memcpy(key->handle, handle, size);
	return offsetof(struct key, handle) + size;
}

/* By way of /proc, since the kernel takes no O_PATH descriptor here. */
static int mark(int facility_fd, unsigned int how, int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fanotify_mark(facility_fd, how, EVENTS, AT_FDCWD, path) == -1 ?
	       -errno : 0;
}

static int add(int facility_fd, struct watched *watched, int fd)
{
	struct file_handle_copy handle = { .length = 0 };
	struct statfs st = { .f_type = 0 };
	struct key key = { .type = 0 };

	identity_file_handle(fd, &handle);
	if (handle.length == 0) {
		return -EOPNOTSUPP;
	}
	if (fstatfs(fd, &st) == -1) {
		return -errno;
	}
	watched->key_size = make_key(&key, &st.f_fsid, handle.type,
				     handle.bytes, handle.length);
	memcpy(watched->key, &key, watched->key_size);
	return mark(facility_fd, FAN_MARK_ADD, fd);
}

static void remove_mark(int facility_fd, const struct watched *watched, int fd)
{
	(void)watched;
	(void)mark(facility_fd, FAN_MARK_REMOVE, fd);
}

/*
 * An event as it lies in what was read. Its size is no multiple of anything,
 * so the next one may lie at any address.
 */
struct event {
	struct fanotify_event_metadata metadata;
	struct fanotify_event_info_fid info;
	struct file_handle handle;
} __attribute__((packed));

static void serve(const uint8_t *bytes, size_t size)
{
	struct event event = { .metadata = { .mask = 0 } };
	struct watched *watched = NULL;
	struct key key = { .type = 0 };
	unsigned int what = 0;

	memcpy(&event, bytes, size < sizeof(event) ? size : sizeof(event));
	if ((event.metadata.mask & FAN_Q_OVERFLOW) != 0) {
		watch_overflowed();
		return;
	}
	if (event.metadata.metadata_len != sizeof(event.metadata) ||
	    event.info.hdr.info_type != FAN_EVENT_INFO_TYPE_FID ||
	    event.handle.handle_bytes > sizeof(key.handle) ||
	    size < sizeof(event) + event.handle.handle_bytes) {
		return;
	}
	watched = watch_find(&watch_fanotify, &key,
			     make_key(&key, &event.info.fsid,
				      event.handle.handle_type,
				      bytes + sizeof(event),
				      event.handle.handle_bytes));
	if (watched == NULL) {
		return;
	}
	what |= (event.metadata.mask & FAN_OPEN) != 0 ? WATCH_OPENED : 0;
	what |= (event.metadata.mask & FAN_CLOSE_WRITE) != 0 ? WATCH_CLOSED : 0;
	what |= (event.metadata.mask & FAN_MODIFY) != 0 ? WATCH_MODIFIED : 0;
	what |= (event.metadata.mask & FAN_ATTRIB) != 0 ? WATCH_ATTRIBUTES : 0;
	watch_saw(watched, what, event.metadata.pid);
}

static void ready(int facility_fd)
{
	uint8_t bytes[READ_SIZE];
	ssize_t size = read(facility_fd, bytes, sizeof(bytes));
	size_t left = size > 0 ? (size_t)size : 0;
	const uint8_t *next = bytes;
	struct fanotify_event_metadata metadata = { .mask = 0 };

	if (size == -1 && errno != EAGAIN && errno != EINTR) {
		watch_overflowed();
	}
	while (left >= sizeof(metadata)) {
		memcpy(&metadata, next, sizeof(metadata));
		if (metadata.event_len < sizeof(metadata) ||
		    metadata.event_len > left ||
		    metadata.vers != FANOTIFY_METADATA_VERSION) {
			return;
		}
		serve(next, metadata.event_len);
		next += metadata.event_len;
		left -= metadata.event_len;
	}
}

const struct watch_facility watch_fanotify = {
	.name = "fanotify",
	.number = KEEPER_FACILITY_FANOTIFY,
	.open = open_group,
	.add = add,
	.remove = remove_mark,
	.ready = ready,
};
