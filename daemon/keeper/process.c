// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "process.h"

#define MAX_DESCRIPTORS 512

struct fdinfo {
	unsigned int flags;
	uint64_t ino;
};

static ssize_t read_text(int directory, const char *name, char *text,
			 size_t room)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t size = -1;

	if (fd == -1) {
		return -1;
	}
	size = read(fd, text, room - 1);
	(void)close(fd);
	if (size >= 0) {
		text[size] = '\0';
	}
	return size;
}

static bool read_fdinfo(int directory, const char *name, struct fdinfo *info)
{
	char text[256];
	const char *flags = NULL;
	const char *ino = NULL;

	if (read_text(directory, name, text, sizeof(text)) <= 0) {
		return false;
	}
	flags = strstr(text, "flags:");
	ino = strstr(text, "\nino:");
	return flags != NULL && ino != NULL &&
	       sscanf(flags, "flags: %o", &info->flags) == 1 &&
	       sscanf(ino, "\nino: %" SCNu64, &info->ino) == 1;
}

int process_fdinfo_ino(int fd, uint64_t *ino)
{
	struct fdinfo info = { .flags = 0 };
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (!read_fdinfo(AT_FDCWD, path, &info)) {
		return -ENOTSUP;
	}
	*ino = info.ino;
	return 0;
}

/* From the inode in memory: a network file system is not asked. */
static bool is_that_file(pid_t pid, const char *number,
			 const struct process_file *file)
{
	struct statx st = { .stx_mask = 0 };
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%.16s", (int)pid,
		       number);
	return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO,
		     &st) == 0 &&
	       st.stx_ino == file->ino &&
	       makedev(st.stx_dev_major, st.stx_dev_minor) == file->dev;
}

static bool writes(pid_t pid, int directory, const char *number,
		   const struct process_file *file)
{
	struct fdinfo info = { .flags = 0 };

	if (!read_fdinfo(directory, number, &info)) {
		return false;
	}
	return (info.flags & O_ACCMODE) != O_RDONLY &&
	       info.ino == file->fdinfo_ino &&
	       is_that_file(pid, number, file);
}

bool process_writes(pid_t pid, const struct process_file *file)
{
	char path[32];
	DIR *directory = NULL;
	const struct dirent *entry = NULL;
	int left = MAX_DESCRIPTORS;
	bool found = false;

	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
	directory = opendir(path);
	if (directory == NULL) {
		return false;
	}
	while (!found && left-- > 0 && (entry = readdir(directory)) != NULL) {
		found = entry->d_name[0] != '.' &&
			writes(pid, dirfd(directory), entry->d_name, file);
	}
	(void)closedir(directory);
	return found;
}

void process_name(pid_t pid, char name[KEEPER_PROCESS_NAME])
{
	char path[32];
	char text[KEEPER_PROCESS_NAME + 1] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	memset(name, 0, KEEPER_PROCESS_NAME);
	if (pid > 0 && read_text(AT_FDCWD, path, text, sizeof(text)) > 0) {
		memcpy(name, text, strcspn(text, "\n"));
	}
}
