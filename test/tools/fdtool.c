// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What a test asks the kernel about descriptors: whether a lock is free, which
 * descriptors of a process are a file, whether two are one open file
 * description (kcmp(2)). Exit status 0: locked, found, same; 1: busy, none,
 * different; 2: it could not be told.
 */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/kcmp.h */
#define KCMP_FILE 0

#define MAX_FOUND 65536

static const char usage[] =
	"usage: fdtool ofd-lock PATH START LEN [r|w]   could it be had\n"
	"       fdtool hold-ofd PATH START LEN         until stdin closes\n"
	"       fdtool poll-ofd PATH START LEN         how often it could be had\n"
	"                                              until stdin closes\n"
	"       fdtool kcmp PID1 FD1 PID2 FD2\n"
	"       fdtool find-fd PID DEV INO\n"
	"       fdtool truncate PATH SIZE\n"
	"       fdtool same-description PID1 PID2 DEV INO\n";

static unsigned long long number(const char *text)
{
	char *end = NULL;
	unsigned long long value = 0;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0') {
		fprintf(stderr, "fdtool: \"%s\" is no number\n", text);
		exit(2);
	}
	return value;
}

/* Leaves the file open, and so the lock in place. */
static int lock(char **arguments)
{
	struct flock range = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)number(arguments[1]),
		.l_len = (off_t)number(arguments[2]),
	};
	int fd = open(arguments[0], O_RDWR | O_CLOEXEC);

	if (fd == -1) {
		fprintf(stderr, "fdtool: cannot open %s: %s\n", arguments[0],
			strerror(errno));
		return 2;
	}
	if (fcntl(fd, F_OFD_SETLK, &range) == 0) {
		puts("locked");
		return 0;
	}
	if (errno == EAGAIN || errno == EACCES) {
		puts("busy");
		return 1;
	}
	fprintf(stderr, "fdtool: cannot lock %s: %s\n", arguments[0],
		strerror(errno));
	return 2;
}

/*
 * Whether a lock could be had. Only asks, since to open the file for writing
 * would end a durable handle that is away (docs/local-access.md).
 */
static int try_lock(char **arguments, short type)
{
	struct flock range = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)number(arguments[1]),
		.l_len = (off_t)number(arguments[2]),
	};
	int fd = open(arguments[0], O_RDONLY | O_CLOEXEC);

	if (fd == -1 || fcntl(fd, F_OFD_GETLK, &range) == -1) {
		fprintf(stderr, "fdtool: cannot ask about %s: %s\n",
			arguments[0], strerror(errno));
		return 2;
	}
	puts(range.l_type == F_UNLCK ? "locked" : "busy");
	return range.l_type == F_UNLCK ? 0 : 1;
}

static int hold_lock(char **arguments)
{
	char ignored[256] = "";
	int status = lock(arguments);

	fflush(stdout);
	while (status == 0 &&
	       read(STDIN_FILENO, ignored, sizeof(ignored)) > 0) {
		continue;
	}
	return status;
}

/* Tries again and again, so that a lock that is free for a moment is seen. */
static int poll_lock(char **arguments)
{
	struct flock range = {
		.l_whence = SEEK_SET,
		.l_start = (off_t)number(arguments[1]),
		.l_len = (off_t)number(arguments[2]),
	};
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	int fd = open(arguments[0], O_RDWR | O_CLOEXEC);
	unsigned long tries = 0;
	unsigned long locked = 0;

	if (fd == -1) {
		fprintf(stderr, "fdtool: cannot open %s: %s\n", arguments[0],
			strerror(errno));
		return 2;
	}
	puts("polling");
	fflush(stdout);
	for (tries = 0; poll(&input, 1, 0) == 0; tries++) {
		range.l_type = F_WRLCK;
		if (fcntl(fd, F_OFD_SETLK, &range) == 0) {
			locked++;
			range.l_type = F_UNLCK;
			(void)fcntl(fd, F_OFD_SETLK, &range);
		}
		(void)usleep(20); /* leaves the processor to those it watches */
	}
	printf("tries %lu locked %lu\n", tries, locked);
	return 0;
}

/* -1 when the kernel does not tell. */
static long compare(int pid1, int fd1, int pid2, int fd2)
{
	long order = syscall(SYS_kcmp, pid1, pid2, KCMP_FILE, fd1, fd2);

	if (order == -1) {
		fprintf(stderr, "fdtool: kcmp: %s\n", strerror(errno));
	}
	return order;
}

static int compare_two(char **arguments)
{
	long order = compare((int)number(arguments[0]),
			     (int)number(arguments[1]),
			     (int)number(arguments[2]),
			     (int)number(arguments[3]));

	if (order == -1) {
		return 2;
	}
	puts(order == 0 ? "same" : "different");
	return order == 0 ? 0 : 1;
}

/* How many descriptors of the process are the file; -1: it cannot be told. */
static int find(const char *pid, dev_t dev, ino_t ino, int *found)
{
	struct dirent *item = NULL;
	struct stat st = { .st_ino = 0 };
	char path[64] = "";
	DIR *directory = NULL;
	int count = 0;

	(void)snprintf(path, sizeof(path), "/proc/%llu/fd", number(pid));
	directory = opendir(path);
	if (directory == NULL) {
		fprintf(stderr, "fdtool: cannot read %s: %s\n", path,
			strerror(errno));
		return -1;
	}
	while ((item = readdir(directory)) != NULL && count < MAX_FOUND) {
		if (item->d_name[0] != '.' &&
		    fstatat(dirfd(directory), item->d_name, &st, 0) == 0 &&
		    st.st_dev == dev && st.st_ino == ino) {
			found[count++] = atoi(item->d_name);
		}
	}
	(void)closedir(directory);
	return count;
}

static int print_found(char **arguments)
{
	static int found[MAX_FOUND];
	int count = find(arguments[0], number(arguments[1]),
			 number(arguments[2]), found);
	int i = 0;

	for (i = 0; i < count; i++) {
		printf("%d\n", found[i]);
	}
	return count > 0 ? 0 : count == 0 ? 1 : 2;
}

static int find_same(char **arguments)
{
	static int found1[MAX_FOUND];
	static int found2[MAX_FOUND];
	dev_t dev = number(arguments[2]);
	ino_t ino = number(arguments[3]);
	int count1 = find(arguments[0], dev, ino, found1);
	int count2 = find(arguments[1], dev, ino, found2);
	int i = 0;
	int j = 0;

	if (count1 < 0 || count2 < 0) {
		return 2;
	}
	for (i = 0; i < count1; i++) {
		for (j = 0; j < count2; j++) {
			long order = compare((int)number(arguments[0]),
					     found1[i],
					     (int)number(arguments[1]),
					     found2[j]);

			if (order == -1) {
				return 2;
			}
			if (order == 0) {
				printf("same %d %d\n", found1[i], found2[j]);
				return 0;
			}
		}
	}
	puts("different");
	return 1;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	char **arguments = argv + 2;

	if (strcmp(command, "ofd-lock") == 0 && argc == 5) {
		return try_lock(arguments, F_WRLCK);
	}
	if (strcmp(command, "ofd-lock") == 0 && argc == 6) {
		return try_lock(arguments,
				strcmp(argv[5], "r") == 0 ? F_RDLCK : F_WRLCK);
	}
	if (strcmp(command, "hold-ofd") == 0 && argc == 5) {
		return hold_lock(arguments);
	}
	if (strcmp(command, "poll-ofd") == 0 && argc == 5) {
		return poll_lock(arguments);
	}
	if (strcmp(command, "kcmp") == 0 && argc == 6) {
		return compare_two(arguments);
	}
	if (strcmp(command, "find-fd") == 0 && argc == 5) {
		return print_found(arguments);
	}
	if (strcmp(command, "same-description") == 0 && argc == 6) {
		return find_same(arguments);
	}
	if (strcmp(command, "truncate") == 0 && argc == 4) {
		return truncate(arguments[0],
				(off_t)number(arguments[1])) == 0 ? 0 : 2;
	}
	fputs(usage, stderr);
	return 2;
}
