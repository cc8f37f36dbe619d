/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Part of the test builds only, of the module as well as of the keeper. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

static uint64_t held_ns;

uint64_t fault_held_ns(void)
{
	return held_ns;
}

static uint64_t now_ns(void)
{
	struct timespec ts = { .tv_sec = 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Until the last writer has closed the FIFO. */
static void wait_for_end(int fd)
{
	char c = 0;
	ssize_t n = 0;

	do {
		n = read(fd, &c, sizeof(c));
	} while (n > 0 || (n == -1 && errno == EINTR));
}

/*
 * Opened by way of /proc, since the name is gone by then. The test has another
 * link to the same FIFO.
 */
static void hold(const char *path)
{
	char again[64];
	struct stat st;
	int named = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int fd = -1;

	if (named == -1) {
		return;
	}
	if (fstat(named, &st) == 0 && S_ISFIFO(st.st_mode) &&
	    unlink(path) == 0) {
		(void)snprintf(again, sizeof(again), "/proc/self/fd/%d",
			       named);
		do {
			fd = open(again, O_RDONLY | O_CLOEXEC);
		} while (fd == -1 && errno == EINTR);
	}
	(void)close(named);
	if (fd != -1) {
		wait_for_end(fd);
		(void)close(fd);
	}
}

void fault_reached(const char *name)
{
	const char *dir = getenv("PERSISTENT_FAULTS");
	char path[PATH_MAX];
	uint64_t since = now_ns();
	int saved = errno;

	if (dir == NULL) {
		return;
	}
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	hold(path);
	held_ns += now_ns() - since;
	(void)snprintf(path, sizeof(path), "%s/%s.kill", dir, name);
	if (unlink(path) == 0) {
		(void)kill(getpid(), SIGKILL);
	}
	errno = saved;
}
