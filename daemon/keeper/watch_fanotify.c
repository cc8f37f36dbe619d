// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * fanotify(7), notification only: nobody waits for us. Its events name a file
 * by its handle (FAN_REPORT_FID). Those that bring a descriptor say nothing of
 * a truncate, and would have the keeper open the file each time.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "identity.h"
#include "watch_facility.h"

#define EVENTS (FAN_OPEN | FAN_MODIFY | FAN_CLOSE_WRITE)

/*
 * Room for one or two events, since each may need a look into /proc, and smbd
 * children wait meanwhile.
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

static size_t make_key(struct key *key, const __kernel_fsid_t *fsid,
		       int32_t type, const void *handle, size_t size)
{
	memset(key, 0, sizeof(*key));
	key->fsid = *fsid;
	key->type = type;
	memcpy(key->handle, handle, size);
	return offsetof(struct key, handle) + size;
}

static int add(int facility_fd, struct watched *watched, int fd)
{
	struct file_handle_copy handle = { .length = 0 };
	struct statfs st = { .f_type = 0 };
	__kernel_fsid_t fsid = { .val = { 0 } };
	struct key key = { .type = 0 };

	identity_file_handle(fd, &handle);
	if (handle.length == 0) {
		return -EOPNOTSUPP;
	}
	if (fstatfs(fd, &st) == -1) {
		return -errno;
	}
	memcpy(&fsid, &st.f_fsid, sizeof(fsid));
	watched->key_size = make_key(&key, &fsid, handle.type, handle.bytes,
				     handle.length);
	memcpy(watched->key, &key, watched->key_size);
	return fanotify_mark(facility_fd, FAN_MARK_ADD, EVENTS, fd,
			     NULL) == -1 ? -errno : 0;
}

static void remove_mark(int facility_fd, const struct watched *watched, int fd)
{
	(void)watched;
	(void)fanotify_mark(facility_fd, FAN_MARK_REMOVE, EVENTS, fd, NULL);
}

static void serve(const struct fanotify_event_metadata *event)
{
	const struct fanotify_event_info_fid *info =
		(const void *)((const uint8_t *)event + event->metadata_len);
	const struct file_handle *handle = (const void *)info->handle;
	struct watched *watched = NULL;
	struct key key = { .type = 0 };
	unsigned int what = 0;

	if ((event->mask & FAN_Q_OVERFLOW) != 0) {
		watch_overflowed();
		return;
	}
	if (event->event_len < event->metadata_len + sizeof(*info) +
			       sizeof(*handle) ||
	    info->hdr.info_type != FAN_EVENT_INFO_TYPE_FID ||
	    handle->handle_bytes > sizeof(key.handle)) {
		return;
	}
	watched = watch_find(&watch_fanotify, &key,
			     make_key(&key, &info->fsid, handle->handle_type,
				      handle->f_handle, handle->handle_bytes));
	if (watched == NULL) {
		return;
	}
	what |= (event->mask & FAN_OPEN) != 0 ? WATCH_OPENED : 0;
	what |= (event->mask & FAN_CLOSE_WRITE) != 0 ? WATCH_CLOSED : 0;
	what |= (event->mask & FAN_MODIFY) != 0 ? WATCH_MODIFIED : 0;
	watch_saw(watched, what, event->pid);
}

static void ready(int facility_fd)
{
	union {
		struct fanotify_event_metadata first;
		uint8_t bytes[READ_SIZE];
	} buffer;
	ssize_t size = read(facility_fd, &buffer, sizeof(buffer));
	const struct fanotify_event_metadata *event = &buffer.first;

	if (size == -1 && errno != EAGAIN && errno != EINTR) {
		watch_overflowed();
	}
	for (; size > 0 && FAN_EVENT_OK(event, size);
	     event = FAN_EVENT_NEXT(event, size)) {
		if (event->vers == FANOTIFY_METADATA_VERSION) {
			serve(event);
		}
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
