/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For LD_PRELOAD into persistd: a disk of the store that fails. While the file
 * that STOREFAULT names exists, calls on a file data.mdb go wrong. It says how:
 *   write ERRNO   nothing can be written
 *   meta ERRNO    only the first two pages, LMDB's own, cannot be written
 *   sync ERRNO    nothing reaches the disk
 *   hang 0        nothing comes back from the disk before the file is gone
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define META_BYTES 8192
#define HANG_US 10000

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static bool is_store(int fd)
{
	static const char name[] = "/data.mdb";
	char link[64] = "";
	char target[PATH_MAX] = "";
	size_t name_len = sizeof(name) - 1;
	ssize_t len = -1;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, target, sizeof(target));
	return len >= (ssize_t)name_len &&
	       memcmp(target + len - name_len, name, name_len) == 0;
}

/* errno if a call of this kind fails now, else 0 */
static int fault(const char *kind)
{
	const char *path = getenv("STOREFAULT");
	char now[16] = "";
	int error = 0;
	FILE *f = NULL;

	if (path == NULL || (f = fopen(path, "re")) == NULL) {
		return 0;
	}
	if (fscanf(f, "%15s %d", now, &error) != 2 || strcmp(now, kind) != 0) {
		error = 0;
	}
	fclose(f);
	while (strcmp(now, "hang") == 0 && access(path, F_OK) == 0) {
		usleep(HANG_US);
	}
	return error;
}

static bool fails(int fd, const char *kind)
{
	int error = is_store(fd) ? fault(kind) : 0;

	if (error != 0) {
		errno = error;
	}
	return error != 0;
}

static bool write_fails(int fd, off_t offset)
{
	return fails(fd, "write") || (offset < META_BYTES && fails(fd, "meta"));
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	return write_fails(fd, offset) ? -1 : REAL(pwrite)(fd, buf, n, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
	return write_fails(fd, offset) ? -1
				       : REAL(pwrite64)(fd, buf, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t offset)
{
	return write_fails(fd, offset) ? -1 : REAL(pwritev)(fd, v, n, offset);
}

ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t offset)
{
	return write_fails(fd, offset) ? -1
				       : REAL(pwritev64)(fd, v, n, offset);
}

int fdatasync(int fd)
{
	return fails(fd, "sync") ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
	return fails(fd, "sync") ? -1 : REAL(fsync)(fd);
}
