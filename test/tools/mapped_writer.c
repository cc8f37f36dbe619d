// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * mapped_writer PATH: a local process that writes through a shared mapping.
 * Says "mapped"; writes a byte at the first line on stdin and says "written";
 * unmaps and closes at the next and says "closed".
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void say(const char *word)
{
	(void)puts(word);
	(void)fflush(stdout);
}

static void wait_for_line(void)
{
	int c = getchar();

	while (c != '\n' && c != EOF) {
		c = getchar();
	}
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
	char *bytes = MAP_FAILED;

	if (fd != -1) {
		bytes = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	if (bytes == MAP_FAILED) {
		err(2, "mapped_writer");
	}
	say("mapped");
	wait_for_line();
	bytes[0] = 'M';
	say("written");
	wait_for_line();
	(void)munmap(bytes, 1);
	(void)close(fd);
	say("closed");
	wait_for_line();
	return 0;
}
