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
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "identity.h"
#include "mounts.h"

#define UUID_DIRECTORY "/dev/disk/by-uuid"

/* "uuid:" or "fsid:" and what tells one file system from all others. */
#define NAME_SIZE 272

/* linux/fs.h has it from 6.9 on, as struct fsuuid2. */
struct file_system_uuid {
	uint8_t length;
	uint8_t bytes[16];
};
#define GET_FILE_SYSTEM_UUID _IOR(0x15, 0, struct file_system_uuid)

struct known_file_system {
	dev_t dev;
	uint64_t mount_id;
	char *identity;
	struct known_file_system *next;
};

static struct known_file_system *known_file_systems;
static int mountinfo_fd = -1;

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

/* As /dev/disk/by-uuid writes it; false before Linux 6.9, or on O_PATH. */
static bool ask_uuid(int fd, char *uuid, size_t size)
{
	struct file_system_uuid id = { .length = 0 };
	size_t used = 0;
	size_t i = 0;

	if (ioctl(fd, GET_FILE_SYSTEM_UUID, &id) == -1 ||
	    id.length != sizeof(id.bytes)) {
		return false;
	}
	for (i = 0; i < sizeof(id.bytes); i++) {
		const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ?
				   "-" : "";

		used += (size_t)snprintf(uuid + used, size - used, "%s%02x",
					 dash, id.bytes[i]);
	}
	return true;
}

static bool name_by_uuid(int fd, dev_t dev, const char *source,
			 char name[NAME_SIZE])
{
	char uuid[256] = "";

	if (!find_uuid(dev, source, uuid, sizeof(uuid)) &&
	    !ask_uuid(fd, uuid, sizeof(uuid))) {
		return false;
	}
	(void)snprintf(name, NAME_SIZE, "uuid:%s", uuid);
	return true;
}

static bool name_by_fsid(int fd, char name[NAME_SIZE])
{
	struct statfs fs = { .f_type = 0 };
	uint32_t halves[2] = { 0, 0 };

	_Static_assert(sizeof(fs.f_fsid) == sizeof(halves), "fsid_t");
	if (fstatfs(fd, &fs) == -1) {
		return false;
	}
	memcpy(halves, &fs.f_fsid, sizeof(halves));
	(void)snprintf(name, NAME_SIZE, "fsid:%08" PRIx32 "%08" PRIx32,
		       halves[0], halves[1]);
	return true;
}

static char *describe_mount(int fd, dev_t dev, const struct mount_line *mount)
{
	char identity[KEEPER_MAX_IDENTITY + 1] = "";
	char name[NAME_SIZE] = "";
	int wanted = 0;

	if (name_by_uuid(fd, dev, mount->source, name) ||
	    name_by_fsid(fd, name)) {
		wanted = snprintf(identity, sizeof(identity), "%s %s %s", name,
				  mount->type, mount->mount_point);
	}
	/* Half a mount point would name another directory. */
	if (wanted < 0 || (size_t)wanted >= sizeof(identity)) {
		identity[0] = '\0';
	}
	return strdup(identity);
}

/* One that mountinfo leaves out: in a chroot(2), the mount it lies on. */
static struct mount_line unseen_mount(void)
{
	static char nothing[] = "-";

	return (struct mount_line) {
		.mount_point = nothing,
		.type = nothing,
		.source = nothing,
	};
}

/* NULL when out of memory. */
static char *look_up(int fd, dev_t dev, uint64_t mount_id)
{
	const struct mount_line unseen = unseen_mount();
	struct mount_line mount = { .mount_point = NULL };
	struct mounts mounts = { .file = NULL };
	char *identity = NULL;

	if (!mounts_open(&mounts)) {
		return strdup("");
	}
	while (identity == NULL && mounts_next(&mounts, &mount)) {
		/* Kernels before 5.8 do not tell the mount: its device must do. */
		if (mount_id != 0 ? mount.id == mount_id : mount.dev == dev) {
			identity = describe_mount(fd, dev, &mount);
		}
	}
	mounts_close(&mounts);
	if (identity == NULL) {
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

/* The first word of an identity, in the same way as it was made. */
static bool has_name(const char *identity, int fd,
		     const struct mount_line *mount)
{
	size_t length = strcspn(identity, " ");
	char name[NAME_SIZE] = "";
	struct stat st = { .st_dev = 0 };
	bool named = false;

	if (strncmp(identity, "fsid:", 5) == 0) {
		named = name_by_fsid(fd, name);
	} else if (fstat(fd, &st) == 0) {
		named = name_by_uuid(fd, st.st_dev, mount->source, name);
	}
	return named && strlen(name) == length &&
	       strncmp(name, identity, length) == 0;
}

/*
 * Others are not opened: of a network file system that could take long. One
 * that another is mounted upon cannot be: the other one is looked at, and
 * compared.
 */
static int open_mount(const char *identity, const struct mount_line *mount)
{
	const char *type = identity + strcspn(identity, " ");
	size_t length = strlen(mount->type);
	int fd = -1;

	if (*type != ' ' || strncmp(type + 1, mount->type, length) != 0 ||
	    type[1 + length] != ' ') {
		return -1;
	}
	fd = open(mount->mount_point,
		  O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	if (fd != -1 && !has_name(identity, fd, mount)) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

static bool is_former(const char *identity, const char *mount_point)
{
	const char *type = identity + strcspn(identity, " ");
	const char *former = *type == '\0' ? "" :
			     type + 1 + strcspn(type + 1, " ");

	return *former == ' ' && strcmp(former + 1, mount_point) == 0;
}

/* `former`: where it was mounted then, or anywhere else. */
static int try_mounts(const char *identity, bool former, identity_try_fn try,
		      void *context)
{
	struct mount_line mount = { .mount_point = NULL };
	struct mounts mounts = { .file = NULL };
	int result = -ENODEV;

	if (!mounts_open(&mounts)) {
		return -errno;
	}
	while (result < 0 && mounts_next(&mounts, &mount)) {
		int fd = -1;

		if (is_former(identity, mount.mount_point) == former) {
			fd = open_mount(identity, &mount);
		}
		if (fd != -1) {
			result = try(fd, context);
			(void)close(fd);
		}
	}
	mounts_close(&mounts);
	return result;
}

/* In a chroot(2), the mount on which its root lies. */
static int try_unseen(const char *identity, identity_try_fn try, void *context)
{
	char root[] = "/";
	struct mount_line mount = unseen_mount();
	int result = -ENODEV;
	int fd = -1;

	mount.mount_point = root;
	fd = open_mount(identity, &mount);
	if (fd != -1) {
		result = try(fd, context);
		(void)close(fd);
	}
	return result;
}

int identity_try(const char *identity, identity_try_fn try, void *context)
{
	int there = try_mounts(identity, true, try, context);
	int elsewhere = 0;

	if (there >= 0) {
		return there;
	}
	elsewhere = try_mounts(identity, false, try, context);
	if (elsewhere == -ENODEV) {
		elsewhere = try_unseen(identity, try, context);
	}
	return elsewhere == -ENODEV ? there : elsewhere;
}
