// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "notify.h"

static void notify(const char *text)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = name == NULL ? 0 : strlen(name);
	int fd = -1;

	if (length == 0) {
		return;
	}
	if (length >= sizeof(address.sun_path)) {
		log_line("NOTIFY_SOCKET is too long: %s", name);
		return;
	}
	memcpy(address.sun_path, name, length);
	if (name[0] == '@') {
		address.sun_path[0] = '\0'; /* in the abstract namespace */
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1 ||
	    sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
		   (struct sockaddr *)&address,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			       length)) == -1) {
		log_line("cannot tell systemd (NOTIFY_SOCKET %s): %s", name,
			 strerror(errno));
	}
	if (fd != -1) {
		(void)close(fd);
	}
}

void notify_ready(void)
{
	notify("READY=1\n");
}

void notify_main_process(pid_t pid)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "MAINPID=%d\n", (int)pid);
	notify(text);
}
