// SPDX-License-Identifier: GPL-3.0-or-later
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "log.h"

void log_line(const char *format, ...)
{
	/* A pipe that polls writable takes PIPE_BUF (4096) bytes at once. */
	struct pollfd stderr_poll = { .fd = STDERR_FILENO, .events = POLLOUT };
	char line[1024] = LOG_PREFIX;
	size_t used = sizeof(LOG_PREFIX) - 1;
	va_list arguments;
	int wanted = 0;

	va_start(arguments, format);
	wanted = vsnprintf(line + used, sizeof(line) - used - 1, format,
			arguments);
	va_end(arguments);
	if (wanted < 0) {
		return;
	}
	used += (size_t)wanted;
	if (used > sizeof(line) - 2) {
		used = sizeof(line) - 2;
	}
	line[used++] = '\n';

	if (poll(&stderr_poll, 1, 0) == 1 &&
	    (stderr_poll.revents & POLLOUT) != 0 &&
	    write(STDERR_FILENO, line, used) < 0) {
		return; /* there is nowhere left to tell it */
	}
}
