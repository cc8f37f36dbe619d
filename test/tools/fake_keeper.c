// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * fake_keeper RUN_DIR silent|garbage|lavish|stranger: takes the keeper's place on
 * keeper.sock, and is no keeper:
 *
 *   silent    takes connections and packets, never answers
 *   garbage   answers each packet with one that is none, another each time
 *   lavish    answers each packet as if it were a TAKE, with two descriptors
 *   stranger  answers each TAKE with the descriptor of another file, and all
 *             else with success
 *
 * Prints "fake_keeper: ready"; ends with SIGTERM.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../daemon/keeper/keeper_protocol.h"

#define MAX_PEERS 64
#define MAX_FDS 2

struct packet {
	struct keeper_header header;
	uint8_t payload[KEEPER_MAX_PAYLOAD + 64];
};

static int null_fd = -1;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static int listen_on(const char *run_dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", run_dir,
		 KEEPER_SOCKET_NAME);
	(void)unlink(address.sun_path);
	if (fd == -1 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
	    listen(fd, MAX_PEERS) == -1) {
		die(address.sun_path);
	}
	return fd;
}

/* size bytes of packet with count copies of the descriptor of /dev/null */
static void put(int peer, const void *packet, size_t size, size_t count)
{
	struct iovec iov = {
		.iov_base = (void *)(uintptr_t)packet,
		.iov_len = size,
	};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control = { .bytes = { 0 } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count > 0) {
		struct cmsghdr *c = NULL;
		size_t i = 0;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		for (i = 0; i < count; i++) {
			memcpy(CMSG_DATA(c) + i * sizeof(int), &null_fd,
			       sizeof(int));
		}
	}
	/* a peer that is gone, or that does not read, is no matter here */
	(void)sendmsg(peer, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A correct answer with this status, to be spoilt. */
static struct packet answer_to(const struct keeper_header *asked, int32_t status)
{
	struct packet p = { .header = *asked };

	p.header.type |= KEEPER_REPLY;
	p.header.length = sizeof(status);
	memcpy(p.payload, &status, sizeof(status));
	return p;
}

static void put_garbage(int peer, const struct keeper_header *asked)
{
	static unsigned int turn;
	const size_t right = sizeof(struct keeper_header) + sizeof(int32_t);
	struct packet p = answer_to(asked, 0);

	switch (turn++ % 11) {
	case 0: /* random bytes */
		if (getrandom(&p, 200, 0) != 200) {
			die("getrandom");
		}
		put(peer, &p, 200, 0);
		break;
	case 1: /* cut off inside the header */
		put(peer, &p, sizeof(p.header) - 1, 0);
		break;
	case 2: /* an empty packet, which looks like the end */
		put(peer, &p, 0, 0);
		break;
	case 3:
		p.header.magic ^= 1;
		put(peer, &p, right, 0);
		break;
	case 4:
		p.header.version += 1;
		put(peer, &p, right, 1);
		break;
	case 5: /* a length that lies */
		p.header.length = UINT32_MAX;
		put(peer, &p, right, 0);
		break;
	case 6: /* longer than any packet may be */
		p.header.length = sizeof(p.payload);
		put(peer, &p, sizeof(p), 0);
		break;
	case 7: /* no status */
		p.header.length = 0;
		put(peer, &p, sizeof(p.header), 0);
		break;
	case 8: /* an answer to another question */
		p.header.seq += 1000;
		put(peer, &p, right, 1);
		break;
	case 9: /* success, and no descriptor */
		put(peer, &p, right, 0);
		break;
	case 10: /* a refusal of what nobody deposited, with a descriptor */
		p.header.type = KEEPER_REFUSED;
		memset(p.header.cookie, 0xee, sizeof(p.header.cookie));
		put(peer, &p, right, 1);
		break;
	}
}

static bool expects_answer(uint16_t type)
{
	return type == KEEPER_PARK || type == KEEPER_TAKE ||
	       type == KEEPER_LOOK ||
	       type == KEEPER_QUERY || type == KEEPER_DROP_SYNC;
}

static void put_descriptors(int peer, const struct keeper_header *asked)
{
	struct packet p = answer_to(asked, 0);

	put(peer, &p, sizeof(p.header) + sizeof(int32_t), MAX_FDS);
}

static void answer_as_stranger(int peer, const struct keeper_header *asked)
{
	struct packet p = answer_to(asked, 0);

	if (expects_answer(asked->type)) {
		put(peer, &p, sizeof(p.header) + sizeof(int32_t),
		    asked->type == KEEPER_TAKE ? 1 : 0);
	}
}

/* False when the peer is gone. */
static bool serve(int peer, const char *manner)
{
	struct packet p = { .header = { .magic = 0 } };
	ssize_t size = recv(peer, &p, sizeof(p), 0);

	if (size <= 0) {
		return false;
	}
	if (strcmp(manner, "garbage") == 0) {
		put_garbage(peer, &p.header);
	} else if (strcmp(manner, "lavish") == 0) {
		put_descriptors(peer, &p.header);
	} else if (strcmp(manner, "stranger") == 0) {
		answer_as_stranger(peer, &p.header);
	}
	return true;
}

int main(int argc, char **argv)
{
	struct pollfd fds[1 + MAX_PEERS] = { { .fd = -1 } };
	nfds_t count = 1;
	nfds_t i = 0;

	if (argc != 3) {
		fprintf(stderr,
			"usage: fake_keeper RUN_DIR "
			"silent|garbage|lavish|stranger\n");
		return 2;
	}
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[0] = (struct pollfd) { .fd = listen_on(argv[1]), .events = POLLIN };
	puts("fake_keeper: ready");
	fflush(stdout);

	for (;;) {
		if (poll(fds, count, -1) == -1 && errno != EINTR) {
			die("poll");
		}
		for (i = count - 1; i > 0; i--) {
			if (fds[i].revents != 0 && !serve(fds[i].fd, argv[2])) {
				close(fds[i].fd);
				fds[i] = fds[--count];
			}
		}
		if (fds[0].revents != 0 && count <= MAX_PEERS) {
			int peer = accept4(fds[0].fd, NULL, NULL, SOCK_CLOEXEC);

			if (peer != -1) {
				fds[count++] = (struct pollfd) {
					.fd = peer,
					.events = POLLIN,
				};
			}
		}
	}
}
