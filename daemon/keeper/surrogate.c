// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper.h"
#include "log.h"
#include "surrogate.h"
#include "surrogate_host.h"

/* The host needs microseconds; one that hangs must not hang the keeper. */
#define ANSWER_MS 1000

static struct keeper *keeper;
static struct source host = { .fd = -1 };

/* 0: it is no child of ours but of an earlier keeper. */
static pid_t host_pid;

static void host_is_gone(void)
{
	struct link *link = NULL;
	uint32_t unprotected = 0;

	(void)close(host.fd);
	host.fd = -1;
	if (host_pid != 0) {
		(void)waitpid(host_pid, NULL, 0);
		host_pid = 0;
	}
	for (link = keeper->table.all.next; link != &keeper->table.all;
	     link = link->next) {
		struct kept *kept = link_owner(link, struct kept, in_table);

		unprotected += kept->surrogate != 0;
		kept->surrogate = 0;
	}
	log_line("the surrogate host was killed: the share modes and locks of "
		 "%u resilient handles that are away are in force no more; "
		 "their clients can still come back", unprotected);
}

static void forget_late(const struct surrogate_packet *answer);

/* False if there is no answer in time. */
static bool receive(struct surrogate_packet *answer, int wait_ms)
{
	struct pollfd ready = { .fd = host.fd, .events = POLLIN };
	ssize_t size = 0;

	if (host.fd == -1 || poll(&ready, 1, wait_ms) != 1) {
		return false;
	}
	size = recv(host.fd, answer, sizeof(*answer), MSG_DONTWAIT);
	if (size == 0) {
		host_is_gone();
	}
	return size == (ssize_t)sizeof(*answer);
}

/* `packet` becomes the answer. 0 or a negative errno. */
static int ask(struct surrogate_packet *packet)
{
	static uint32_t last_seq;
	struct surrogate_packet answer = { .what = 0 };

	packet->seq = ++last_seq;
	if (send(host.fd, packet, sizeof(*packet),
		 MSG_DONTWAIT | MSG_NOSIGNAL) == -1) {
		return -errno;
	}
	while (receive(&answer, ANSWER_MS)) {
		if (answer.seq == packet->seq) {
			*packet = answer;
			return answer.status;
		}
		forget_late(&answer);
	}
	return -ETIMEDOUT;
}

/* One that nobody waited for any more: no record will name it. */
static void forget_late(const struct surrogate_packet *answer)
{
	if (answer->what == SURROGATE_START && answer->status == 0) {
		const struct surrogate_packet end = {
			.what = SURROGATE_END,
			.id = answer->id,
		};

		(void)send(host.fd, &end, sizeof(end),
			   MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

static void host_ready(struct source *source, uint32_t events)
{
	struct surrogate_packet answer = { .what = 0 };

	(void)source;
	(void)events;
	if (receive(&answer, 0)) {
		forget_late(&answer);
	}
}

int surrogates_take_over(struct keeper *the_keeper, int host_fd)
{
	keeper = the_keeper;
	host.fd = host_fd;
	host.ready = host_ready;
	return host_fd == -1 ? 0 : loop_add(&keeper->loop, &host, EPOLLIN);
}

/*
 * The host keeps nothing open that is not its own: not for a moment longer
 * than the fork, so the keeper waits until it answers.
 */
static void __attribute__((noreturn)) become_host(int socket_fd)
{
	int null_fd = open("/dev/null", O_RDWR);
	int fd = 0;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		(void)dup2(null_fd, fd);
	}
	(void)dup2(socket_fd, STDERR_FILENO + 1);
	(void)close_range(STDERR_FILENO + 2, ~0U, 0);
	surrogate_host(STDERR_FILENO + 1);
}

int surrogates_begin(struct keeper *the_keeper)
{
	struct surrogate_packet nothing = { .what = SURROGATE_END, .id = 0 };
	int ends[2] = { -1, -1 };
	int result = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == -1) {
		return -errno;
	}
	host_pid = fork();
	if (host_pid == 0) {
		become_host(ends[1]);
	}
	if (host_pid == -1) {
		result = -errno;
		host_pid = 0;
		(void)close(ends[0]);
		(void)close(ends[1]);
		return result;
	}
	(void)close(ends[1]);
	result = surrogates_take_over(the_keeper, ends[0]);
	if (result == 0 && ask(&nothing) != -ENOENT) {
		result = -ETIMEDOUT;
	}
	return result;
}

int surrogates_host_fd(void)
{
	return host.fd;
}

int surrogate_start(uint32_t *id)
{
	struct surrogate_packet packet = { .what = SURROGATE_START };
	int result = host.fd == -1 ? surrogates_begin(keeper) : 0;

	if (result == 0) {
		result = ask(&packet);
	}
	*id = result == 0 ? packet.id : 0;
	return result;
}

void surrogate_end(uint32_t id)
{
	struct surrogate_packet packet = { .what = SURROGATE_END, .id = id };

	if (id != 0 && host.fd != -1) {
		(void)ask(&packet);
	}
}
