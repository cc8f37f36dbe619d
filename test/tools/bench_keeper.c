// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * bench_keeper SOCKET FILE COUNT: how long fdkeeper makes an smbd child wait.
 * Prints one JSON line: depositNs, the median of what a DEPOSIT keeps its
 * sender (one sendmsg, no answer); depositP99Ns; parkTakeNs, the median of a
 * PARK and a TAKE with their answers; depositsPerSecond, a DEPOSIT and a DROP
 * each, as fast as the keeper serves them.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../daemon/keeper/keeper_protocol.h"

/* About what the module's handle record takes. */
#define RECORD_SIZE 560

union room_for_descriptor {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static int keeper_fd = -1;

static void fail(const char *what)
{
	fprintf(stderr, "bench_keeper: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now = { .tv_sec = 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The number makes the cookie, which must not be zero. */
static void request(uint16_t type, uint64_t number, size_t payload, int fd)
{
	static uint8_t bytes[RECORD_SIZE];
	struct keeper_header header = {
		.magic = KEEPER_MAGIC,
		.version = KEEPER_VERSION,
		.type = type,
		.length = (uint32_t)payload,
	};
	struct iovec parts[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = bytes, .iov_len = payload },
	};
	union room_for_descriptor room;
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	memset(&room, 0, sizeof(room));
	memcpy(header.cookie, &number, sizeof(number));
	header.cookie[KEEPER_COOKIE_SIZE - 1] = 1;
	if (fd != -1) {
		message.msg_control = &room;
		message.msg_controllen = sizeof(room);
		room.align.cmsg_level = SOL_SOCKET;
		room.align.cmsg_type = SCM_RIGHTS;
		room.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&room.align), &fd, sizeof(int));
	}
	if (sendmsg(keeper_fd, &message, MSG_NOSIGNAL) == -1) {
		fail("sendmsg");
	}
}

/* Closes the descriptor that comes with the answer, if one does. */
static void expect_good_answer(void)
{
	struct {
		struct keeper_header header;
		int32_t status;
		uint8_t rest[64];
	} answer = { .status = -1 };
	struct iovec part = { .iov_base = &answer, .iov_len = sizeof(answer) };
	union room_for_descriptor room;
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &room,
		.msg_controllen = sizeof(room),
	};
	int fd = -1;

	if (recvmsg(keeper_fd, &message, MSG_CMSG_CLOEXEC) <= 0) {
		fail("recvmsg");
	}
	if (CMSG_FIRSTHDR(&message) != NULL) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
		(void)close(fd);
	}
	if (answer.status != 0) {
		errno = -answer.status;
		fail("the keeper refuses");
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a;
	uint64_t two = *(const uint64_t *)b;

	return (one > two) - (one < two);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint64_t *deposits = NULL;
	uint64_t *returns = NULL;
	uint64_t start = 0;
	uint64_t took = 0;
	uint64_t i = 0;
	uint64_t count = 0;
	int fd = -1;

	if (argc != 4 || strlen(argv[1]) >= sizeof(address.sun_path) ||
	    atoi(argv[3]) <= 0) {
		fputs("usage: bench_keeper SOCKET FILE COUNT\n", stderr);
		return 2;
	}
	count = (uint64_t)atoi(argv[3]);
	strcpy(address.sun_path, argv[1]);
	keeper_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (connect(keeper_fd, (struct sockaddr *)&address,
		    sizeof(address)) == -1) {
		fail(argv[1]);
	}
	fd = open(argv[2], O_RDWR | O_CLOEXEC);
	deposits = calloc(count, sizeof(*deposits));
	returns = calloc(count, sizeof(*returns));
	if (fd == -1 || deposits == NULL || returns == NULL) {
		fail(argv[2]);
	}

	for (i = 0; i < count; i++) {
		start = now_ns();
		request(KEEPER_DEPOSIT, i, RECORD_SIZE, fd);
		deposits[i] = now_ns() - start;
		start = now_ns();
		request(KEEPER_PARK, i, 1, -1);
		expect_good_answer();
		request(KEEPER_TAKE, i, 0, -1);
		expect_good_answer();
		returns[i] = now_ns() - start;
		request(KEEPER_DROP_SYNC, i, 0, -1);
		expect_good_answer();
	}
	qsort(deposits, count, sizeof(*deposits), by_value);
	qsort(returns, count, sizeof(*returns), by_value);

	start = now_ns();
	for (i = 0; i < count; i++) {
		request(KEEPER_DEPOSIT, i, RECORD_SIZE, fd);
		request(i + 1 < count ? KEEPER_DROP : KEEPER_DROP_SYNC, i, 0,
			-1);
	}
	expect_good_answer();
	took = now_ns() - start;
	printf("{\"depositNs\":%llu,\"depositP99Ns\":%llu,"
	       "\"parkTakeNs\":%llu,\"depositsPerSecond\":%.0f}\n",
	       (unsigned long long)deposits[count / 2],
	       (unsigned long long)deposits[count * 99 / 100],
	       (unsigned long long)returns[count / 2],
	       (double)count * 1e9 / (double)took);
	return 0;
}
