// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../vfs_module/fault.h"
#include "identity.h"
#include "remake.h"
#include "report.h"

/* Of what F_GETFL says, what open(2) takes and means the same by. */
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | \
		    O_DIRECT | O_NOATIME | O_PATH)

/* The largest offset that a lock can have. */
#define OFFSET_MAX INT64_MAX

/* The parts of a REMAKE, in their order. */
struct request {
	struct keeper_remake fixed;
	const uint8_t *file_handle;
	const uint8_t *identity;
	const uint8_t *path;
	const uint8_t *record;
	const uint8_t *note;
};

/* What opening a file takes, and where it ends. */
struct opening {
	union {
		struct file_handle header;
		uint8_t room[sizeof(struct file_handle) +
			     KEEPER_MAX_FILE_HANDLE];
	} handle;
	int flags;
	int fd;
};

size_t remake_describe(const struct kept *kept,
		       uint8_t payload[KEEPER_MAX_PAYLOAD])
{
	struct keeper_description description = {
		.open_flags = fcntl(kept->fd, F_GETFL),
	};
	struct file_handle_copy handle = { .length = 0 };
	struct statx st = { .stx_mask = 0 };
	const char *identity = "";
	size_t size = sizeof(description);

	identity_file_handle(kept->fd, &handle);
	if (statx(kept->fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) == 0) {
		identity = identity_file_system(kept->fd, kept->dev,
				(st.stx_mask & STATX_MNT_ID) != 0 ?
				st.stx_mnt_id : 0);
	}
	description.file_handle_type = handle.type;
	description.file_handle_length = handle.length;
	description.identity_length = (uint16_t)strlen(identity);
	memcpy(payload, &description, size);
	memcpy(payload + size, handle.bytes, handle.length);
	size += handle.length;
	memcpy(payload + size, identity, description.identity_length);
	return size + description.identity_length;
}

static size_t whole_size(const struct keeper_remake *fixed)
{
	return sizeof(*fixed) + fixed->file_handle_length +
	       fixed->identity_length + fixed->path_length +
	       fixed->record_length + fixed->note_length;
}

bool remake_is_whole(const void *payload, size_t size)
{
	struct keeper_remake fixed = { .ino = 0 };

	if (size < sizeof(fixed)) {
		return false;
	}
	memcpy(&fixed, payload, sizeof(fixed));
	return size == whole_size(&fixed) &&
	       fixed.file_handle_length <= KEEPER_MAX_FILE_HANDLE &&
	       fixed.identity_length <= KEEPER_MAX_IDENTITY &&
	       fixed.path_length < PATH_MAX &&
	       fixed.record_length <= KEEPER_MAX_RECORD &&
	       fixed.note_length <= KEEPER_MAX_NOTE;
}

static struct request take_apart(const uint8_t *payload)
{
	struct request request = { .file_handle = payload +
						  sizeof(request.fixed) };

	memcpy(&request.fixed, payload, sizeof(request.fixed));
	request.identity = request.file_handle +
			   request.fixed.file_handle_length;
	request.path = request.identity + request.fixed.identity_length;
	request.record = request.path + request.fixed.path_length;
	request.note = request.record + request.fixed.record_length;
	return request;
}

static int open_on(int mount_fd, void *context)
{
	struct opening *opening = context;

	opening->fd = open_by_handle_at(mount_fd, &opening->handle.header,
					opening->flags);
	return opening->fd == -1 ? -errno : 0;
}

/*
 * The name that the file had last, if it still leads there, is looked up
 * first and held: else the kernel would open the file without a name, and smbd
 * would not know where it is.
 */
static int hold_name(const struct request *request)
{
	char path[PATH_MAX] = "";

	memcpy(path, request->path, request->fixed.path_length);
	return open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static int open_file(const struct request *request, struct stat *st)
{
	char identity[KEEPER_MAX_IDENTITY + 1] = "";
	struct opening opening = { .fd = -1 };
	int flags = request->fixed.open_flags & OPEN_FLAGS;
	int name_fd = hold_name(request);
	int result = 0;

	memcpy(identity, request->identity, request->fixed.identity_length);
	opening.handle.header.handle_type = request->fixed.file_handle_type;
	opening.handle.header.handle_bytes = request->fixed.file_handle_length;
	memcpy(opening.handle.room + offsetof(struct file_handle, f_handle),
	       request->file_handle, request->fixed.file_handle_length);
	opening.flags = O_CLOEXEC |
			((flags & O_PATH) != 0 ? O_PATH : flags | O_LARGEFILE);
	result = identity_try(identity, open_on, &opening);
	if (name_fd != -1) {
		(void)close(name_fd);
	}
	if (result < 0) {
		return result;
	}
	/* the handle has its generation, which no other file of it has */
	if (fstat(opening.fd, st) == -1 || !S_ISREG(st->st_mode) ||
	    st->st_ino != request->fixed.ino) {
		(void)close(opening.fd);
		return -ESTALE;
	}
	return opening.fd;
}

static int keep(struct keeper *keeper, const uint8_t *cookie,
		const struct request *request, int fd)
{
	struct kept *kept = NULL;
	int result = table_insert(&keeper->table, cookie, fd, &kept);

	if (result < 0) {
		(void)close(fd);
		return result;
	}
	result = kept_set_record(kept, request->record,
				 request->fixed.record_length);
	if (result == 0) {
		result = kept_set_note(kept, request->note,
				       request->fixed.note_length);
	}
	if (result < 0) {
		table_remove(&keeper->table, kept);
		return result;
	}
	table_release(&keeper->table, kept, KEEPER_ORPHANED);
	report_change(keeper, kept);
	return 0;
}

static int64_t time_ns(const struct timespec *time)
{
	return time->tv_sec * 1000000000 + time->tv_nsec;
}

int remake(struct keeper *keeper, const uint8_t *cookie, const void *payload,
	   struct keeper_remade *remade)
{
	struct request request = take_apart(payload);
	struct stat st = { .st_ino = 0 };
	int result = 0;
	int fd = -1;

	if (table_find(&keeper->table, cookie) != NULL) {
		return -EEXIST;
	}
	if (keeper_is_full(keeper)) {
		return -EMFILE;
	}
	fault_point("keeper.before-remake");
	fd = open_file(&request, &st);
	if (fd < 0) {
		return fd;
	}
	result = keep(keeper, cookie, &request, fd);
	fault_point("keeper.after-remake");
	if (result < 0) {
		return result;
	}
	*remade = (struct keeper_remade) {
		.dev = st.st_dev,
		.ino = st.st_ino,
		.nlink = st.st_nlink,
		.size_bytes = (uint64_t)st.st_size,
		.mtime_ns = time_ns(&st.st_mtim),
		.ctime_ns = time_ns(&st.st_ctim),
	};
	return 0;
}

/* As smbd mirrors a lock: what lies beyond the largest offset is left out. */
static int take_lock(int fd, const struct keeper_lock *lock)
{
	struct flock range = {
		.l_type = lock->exclusive != 0 ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lock->start,
	};
	int mode = fcntl(fd, F_GETFL) & O_ACCMODE;

	if (lock->count == 0 || lock->start > OFFSET_MAX) {
		return 0;
	}
	if (lock->count <= OFFSET_MAX - lock->start) {
		range.l_len = (off_t)lock->count;
	}
	/* each needs its access, fcntl_locking(2) */
	if ((range.l_type == F_WRLCK && mode == O_RDONLY) ||
	    (range.l_type == F_RDLCK && mode == O_WRONLY)) {
		range.l_type = range.l_type == F_WRLCK ? F_RDLCK : F_WRLCK;
	}
	return fcntl(fd, F_OFD_SETLK, &range) == -1 ? -errno : 0;
}

int remake_lock(const struct keeper *keeper, const uint8_t *cookie,
		const void *locks, size_t count)
{
	const struct kept *kept = table_find(&keeper->table, cookie);
	int result = kept == NULL ? -ENOENT : 0;
	size_t i = 0;

	for (i = 0; i < count && result == 0; i++) {
		struct keeper_lock lock = { .start = 0 };

		memcpy(&lock, (const uint8_t *)locks + i * sizeof(lock),
		       sizeof(lock));
		result = take_lock(kept->fd, &lock);
	}
	return result == -EACCES ? -EAGAIN : result;
}
