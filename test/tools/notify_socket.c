// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Stands for systemd: makes the socket that $NOTIFY_SOCKET names (sd_notify(3))
 * and prints each assignment that comes as a line, until stdin closes.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct pollfd sources[2] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0),
		  .events = POLLIN },
	};
	char text[512];

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path)) {
		fputs("usage: notify_socket PATH\n", stderr);
		return 2;
	}
	strcpy(address.sun_path, argv[1]);
	if (bind(sources[1].fd, (struct sockaddr *)&address,
		 sizeof(address)) == -1) {
		perror(argv[1]);
		return 1;
	}
	puts("listening");
	fflush(stdout);
	while (poll(sources, 2, -1) > 0 && sources[0].revents == 0) {
		ssize_t size = recv(sources[1].fd, text, sizeof(text), 0);

		if (size > 0) {
			fwrite(text, 1, (size_t)size, stdout);
			fflush(stdout);
		}
	}
	return 0;
}
