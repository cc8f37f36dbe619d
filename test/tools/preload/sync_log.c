// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A library to preload: each fdatasync(2) and fsync(2) that is done becomes a
 * line in the file that SYNC_LOG names, in the order in which it happened.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd);
int fsync(int fd);

static void note(const char *line)
{
	const char *path = getenv("SYNC_LOG");
	int saved = errno;
	int fd = path == NULL ? -1 : open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd != -1) {
		if (write(fd, line, strlen(line)) == -1) {
			abort();
		}
		(void)close(fd);
	}
	errno = saved;
}

int fdatasync(int fd)
{
	int result = (int)syscall(SYS_fdatasync, fd);

	note("fdatasync\n");
	return result;
}

int fsync(int fd)
{
	int result = (int)syscall(SYS_fsync, fd);

	note("fsync\n");
	return result;
}
