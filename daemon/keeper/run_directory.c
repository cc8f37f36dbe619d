// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper_protocol.h"
#include "log.h"
#include "run_directory.h"

#define LOCK_NAME "keeper.lock"

static int held_lock = -1;

int run_directory_lock_fd(void)
{
	return held_lock;
}

void run_directory_take_over(int lock_fd)
{
	held_lock = lock_fd;
}

static bool check_access(const char *path, const struct stat *st)
{
	if (st->st_uid != geteuid()) {
		log_line("%s belongs to uid %u, not to the keeper's uid %u; "
			 "use another --run-dir or chown it", path,
			 (unsigned int)st->st_uid, (unsigned int)geteuid());
		return false;
	}
	if ((st->st_mode & 077) != 0) {
		log_line("%s has mode %04o, which lets others in; chmod it to "
			 "0700", path, (unsigned int)(st->st_mode & 07777));
		return false;
	}
	return true;
}

/* The descriptor stays open: the lock lives as long as the process. */
static bool take_lock(const char *path)
{
	int fd = open(LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		      0600);

	if (fd == -1) {
		log_line("cannot open %s/" LOCK_NAME ": %s", path,
			 strerror(errno));
		return false;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		held_lock = fd;
		return true;
	}
	if (errno == EWOULDBLOCK) {
		log_line("another fdkeeper runs in %s (it holds " LOCK_NAME
			 "); stop it first or use another --run-dir", path);
	} else {
		log_line("cannot lock %s/" LOCK_NAME ": %s", path,
			 strerror(errno));
	}
	(void)close(fd);
	return false;
}

bool run_directory_enter(const char *path)
{
	struct stat st = { .st_mode = 0 };
	bool entered = false;
	int fd = -1;

	if (mkdir(path, 0700) == -1 && errno != EEXIST) {
		log_line("cannot make the run directory %s: %s", path,
			 strerror(errno));
		return false;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1) {
		log_line("cannot open the run directory %s: %s", path,
			 strerror(errno));
		goto out;
	}
	if (!check_access(path, &st)) {
		goto out;
	}
	/* Names inside are short then, however long `path` (unix(7)). */
	if (fchdir(fd) == -1) {
		log_line("cannot enter the run directory %s: %s", path,
			 strerror(errno));
		goto out;
	}
	entered = take_lock(path);
out:
	if (fd != -1) {
		(void)close(fd);
	}
	return entered;
}

/* Not the lock: to unlink one that another may wait for lets two in. */
void run_directory_leave(void)
{
	(void)unlink(KEEPER_SOCKET_NAME);
	(void)unlink(KEEPER_CONTROL_NAME);
	(void)unlink(KEEPER_INDEX_NAME);
}
