// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "listener.h"
#include "log.h"

#define ACCEPT_MAX 128

/*
 * Given up for a moment when the table of descriptors is full, so that a
 * connection can be taken and closed: one that stays in the backlog would
 * make the loop spin and its peer wait.
 */
static int spare_fd = -1;

static void open_spare(void)
{
	spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void turn_away(const struct listener *listener)
{
	int fd = -1;

	(void)close(spare_fd);
	fd = accept4(listener->source.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd != -1) {
		(void)close(fd);
	}
	open_spare();
	log_line("%s: no descriptor left for a new connection, closed it; "
		 "raise the keeper's RLIMIT_NOFILE", listener->name);
}

static bool peer_allowed(const struct keeper *keeper, uid_t uid)
{
	uint32_t i = 0;

	if (uid == 0 || uid == geteuid()) {
		return true;
	}
	for (i = 0; i < keeper->allowed_uid_count; i++) {
		if (keeper->allowed_uids[i] == uid) {
			return true;
		}
	}
	return false;
}

static void listener_ready(struct source *source, uint32_t events)
{
	struct listener *listener = source->context;
	struct ucred peer = { .pid = 0 };
	socklen_t size = sizeof(peer);
	int fd = accept4(source->fd, NULL, NULL,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd == -1) {
		if (errno == EMFILE || errno == ENFILE) {
			turn_away(listener);
		}
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1) {
		log_line("%s: cannot tell who connected: %s", listener->name,
			 strerror(errno));
		(void)close(fd);
		return;
	}
	if (!peer_allowed(listener->keeper, peer.uid)) {
		log_line("%s: refused uid %u (pid %d): only root and the "
			 "keeper's own user may connect", listener->name,
			 (unsigned int)peer.uid, (int)peer.pid);
		(void)close(fd);
		return;
	}
	listener->accepted(listener->keeper, fd, peer.pid);
}

void listener_accept(struct listener *listener)
{
	struct pollfd waiting = {
		.fd = listener->source.fd,
		.events = POLLIN,
	};
	int left = ACCEPT_MAX;

	while (left-- > 0 && poll(&waiting, 1, 0) == 1) {
		listener_ready(&listener->source, EPOLLIN);
	}
}

int listener_take_over(struct listener *listener, struct keeper *keeper,
		       const char *name, int fd, accepted_fn accepted)
{
	if (spare_fd == -1) {
		open_spare();
	}
	listener->keeper = keeper;
	listener->name = name;
	listener->accepted = accepted;
	listener->source.ready = listener_ready;
	listener->source.context = listener;
	listener->source.fd = fd;
	return loop_add(&keeper->loop, &listener->source, EPOLLIN);
}

int listener_open(struct listener *listener, struct keeper *keeper,
		  const char *name, int socket_type, accepted_fn accepted)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, socket_type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result = 0;

	if (fd == -1) {
		return -errno;
	}
	/* keeper.lock is held, so a socket that is there serves nobody. */
	(void)unlink(name);
	memcpy(address.sun_path, name, strlen(name) + 1);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
	    listen(fd, SOMAXCONN) == -1) {
		result = -errno;
	} else {
		result = listener_take_over(listener, keeper, name, fd,
					    accepted);
	}
	if (result < 0) {
		(void)close(fd);
	}
	return result;
}
