// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "identity.h"

#define UUID_DIRECTORY "/dev/disk/by-uuid"

struct known_file_system {
	dev_t dev;
	uint64_t mount_id;
	char *identity;
	struct known_file_system *next;
};

static struct known_file_system *known_file_systems;
static int mountinfo_fd = -1;

/* One line of /proc/self/mountinfo; proc_pid_mountinfo(5). */
struct mount_line {
	char *mount_point;
	char *type;
	char *source;
};

int identity_init(void)
{
	mountinfo_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	return mountinfo_fd == -1 ? -errno : 0;
}

void identity_file_handle(int fd, struct file_handle_copy *handle)
{
	union {
		struct file_handle header;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} buffer = { .header = { .handle_bytes = MAX_HANDLE_SZ } };
	int mount_id = 0;

	_Static_assert(MAX_HANDLE_SZ <= KEEPER_MAX_FILE_HANDLE,
		       "the kernel's largest handle fits into an entry");
	handle->type = 0;
	handle->length = 0;
	/*
	 * MAX_HANDLE_SZ is the kernel's own bound, so asking for the size
	 * first (handle_bytes 0, EOVERFLOW) would be a call for nothing. The
	 * empty path takes O_PATH descriptors too.
	 */
	if (name_to_handle_at(fd, "", &buffer.header, &mount_id,
			      AT_EMPTY_PATH) == 0) {
		handle->type = buffer.header.handle_type;
		handle->length = (uint16_t)buffer.header.handle_bytes;
		memcpy(handle->bytes,
		       buffer.room + offsetof(struct file_handle, f_handle),
		       buffer.header.handle_bytes);
	}
}

/* Undo the octal escapes of mountinfo (\040 for a space), in place. */
static void unescape(char *text)
{
	char *to = text;

	while (*text != '\0') {
		unsigned int value = 0;

		if (sscanf(text, "\\%3o", &value) == 1) {
			*to++ = (char)value;
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

/* Take `line` apart in place, if it describes the mount. */
static bool parse_mount(char *line, dev_t dev, uint64_t mount_id,
			struct mount_line *mount)
{
	unsigned int line_major = 0;
	unsigned int line_minor = 0;
	uint64_t id = 0;
	char *save = NULL;
	char *tail = strstr(line, " - ");
	int field = 0;

	if (tail == NULL ||
	    sscanf(line, "%" SCNu64 " %*u %u:%u", &id, &line_major,
		   &line_minor) != 3) {
		return false;
	}
	/* Kernels before 5.8 do not tell the mount, then its device must do. */
	if (mount_id != 0 ? id != mount_id
			  : makedev(line_major, line_minor) != dev) {
		return false;
	}
	*tail = '\0';
	mount->mount_point = strtok_r(line, " ", &save);
	for (field = 0; field < 4 && mount->mount_point != NULL; field++) {
		mount->mount_point = strtok_r(NULL, " ", &save);
	}
	mount->type = strtok_r(tail + 3, " \n", &save);
	mount->source = strtok_r(NULL, " \n", &save);
	if (mount->mount_point == NULL || mount->type == NULL ||
	    mount->source == NULL) {
		return false;
	}
	unescape(mount->mount_point);
	unescape(mount->source);
	return true;
}

/* The name in /dev/disk/by-uuid that leads to the device, or false. */
static bool find_uuid(dev_t dev, const char *source, char *uuid, size_t size)
{
	struct stat st = { .st_rdev = 0 };
	struct dirent *item = NULL;
	DIR *directory = NULL;
	bool found = false;

	/* btrfs and others invent a device number; their source is real. */
	if (major(dev) == 0) {
		if (stat(source, &st) == -1 || !S_ISBLK(st.st_mode)) {
			return false;
		}
		dev = st.st_rdev;
	}
	directory = opendir(UUID_DIRECTORY);
	if (directory == NULL) {
		return false;
	}
	while (!found && (item = readdir(directory)) != NULL) {
		found = fstatat(dirfd(directory), item->d_name, &st, 0) == 0 &&
			S_ISBLK(st.st_mode) && st.st_rdev == dev;
		if (found) {
			(void)snprintf(uuid, size, "%s", item->d_name);
		}
	}
	(void)closedir(directory);
	return found;
}

static char *describe_mount(int fd, dev_t dev, const struct mount_line *mount)
{
	char identity[KEEPER_MAX_IDENTITY + 1] = "";
	struct statfs fs = { .f_type = 0 };
	char uuid[256] = "";
	int wanted = 0;

	if (find_uuid(dev, mount->source, uuid, sizeof(uuid))) {
		wanted = snprintf(identity, sizeof(identity), "uuid:%s %s %s",
				  uuid, mount->type, mount->mount_point);
	} else if (fstatfs(fd, &fs) == 0) {
		uint32_t halves[2] = { 0, 0 };

		_Static_assert(sizeof(fs.f_fsid) == sizeof(halves), "fsid_t");
		memcpy(halves, &fs.f_fsid, sizeof(halves));
		wanted = snprintf(identity, sizeof(identity),
				  "fsid:%08" PRIx32 "%08" PRIx32 " %s %s",
				  halves[0], halves[1], mount->type,
				  mount->mount_point);
	}
	/* Half a mount point would name another directory. */
	if (wanted < 0 || (size_t)wanted >= sizeof(identity)) {
		identity[0] = '\0';
	}
	return strdup(identity);
}

/* NULL when out of memory. */
static char *look_up(int fd, dev_t dev, uint64_t mount_id)
{
	char nothing[] = "-";
	const struct mount_line unseen = {
		.mount_point = nothing,
		.type = nothing,
		.source = nothing,
	};
	struct mount_line mount = { .mount_point = NULL };
	char *identity = NULL;
	char *line = NULL;
	size_t size = 0;
	FILE *mounts = fopen("/proc/self/mountinfo", "re");

	if (mounts == NULL) {
		return strdup("");
	}
	while (identity == NULL && getline(&line, &size, mounts) != -1) {
		if (parse_mount(line, dev, mount_id, &mount)) {
			identity = describe_mount(fd, dev, &mount);
		}
	}
	free(line);
	(void)fclose(mounts);
	if (identity == NULL) {
		/* in a chroot(2), mountinfo leaves out the mount it lies on */
		identity = describe_mount(fd, dev, &unseen);
	}
	return identity;
}

static void forget_all(void)
{
	while (known_file_systems != NULL) {
		struct known_file_system *known = known_file_systems;

		known_file_systems = known->next;
		free(known->identity);
		free(known);
	}
}

/*
 * Device numbers and mount ids are given to others after an umount. The
 * kernel tells on an open mountinfo that the mounts changed (proc(5)).
 */
static bool mounts_changed(void)
{
	struct pollfd watch = { .fd = mountinfo_fd, .events = POLLPRI };

	return poll(&watch, 1, 0) != 0;
}

const char *identity_file_system(int fd, dev_t dev, uint64_t mount_id)
{
	struct known_file_system *known = NULL;

	if (mounts_changed()) {
		forget_all();
	}
	for (known = known_file_systems; known != NULL; known = known->next) {
		if (known->dev == dev && known->mount_id == mount_id) {
			return known->identity;
		}
	}
	known = calloc(1, sizeof(*known));
	if (known == NULL) {
		return "";
	}
	known->identity = look_up(fd, dev, mount_id);
	if (known->identity == NULL) {
		free(known);
		return "";
	}
	known->dev = dev;
	known->mount_id = mount_id;
	known->next = known_file_systems;
	known_file_systems = known;
	return known->identity;
}
