// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../vfs_module/fault.h"
#include "control.h"
#include "handover.h"
#include "keeper_state.h"
#include "log.h"
#include "notify.h"
#include "takeover.h"

/* For the question whether it can take over; everybody is served meanwhile. */
#define CHECK_S 5

/* For taking over; nobody is served meanwhile. */
#define TAKE_OVER_MS 2000

#define TEXT_SIZE 512

/* What is known of a program that says nothing. */
#define SILENT "it ended without a word"

static char program[PATH_MAX];
static char **arguments;

static bool running;

/* The question whether the program can take over. */
static struct {
	pid_t pid;
	int words_fd;
	struct source ended; /* a pidfd */
	struct source timer;
} check = { .words_fd = -1, .ended.fd = -1, .timer.fd = -1 };

void handover_init(char **argv)
{
	arguments = argv;
	/* not what it leads to now: an upgrade may be a symlink that changes */
	if (argv[0][0] == '/' ||
	    readlink("/proc/self/exe", program, sizeof(program) - 1) == -1) {
		(void)snprintf(program, sizeof(program), "%s", argv[0]);
	}
}

/* To persistd: `why` no other keeper serves. */
static void answer(struct keeper *keeper, uint32_t seq, int status,
		   const char *why)
{
	struct {
		struct keeper_upgrade upgrade;
		char why[TEXT_SIZE];
	} __attribute__((packed)) reply = {
		.upgrade = { .status = status, .pid = (uint32_t)getpid() },
	};

	(void)snprintf(reply.why, sizeof(reply.why), "%s", why);
	control_send(keeper, KEEPER_CONTROL_UPGRADE | KEEPER_REPLY, seq, NULL,
		     &reply, sizeof(reply.upgrade) + strlen(reply.why));
}

static void refuse(struct keeper *keeper, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The end of an upgrade that is none: the old one goes on. */
static void refuse(struct keeper *keeper, int status, const char *format, ...)
{
	char why[TEXT_SIZE];
	va_list list;

	va_start(list, format);
	(void)vsnprintf(why, sizeof(why), format, list);
	va_end(list);
	log_line("not upgraded to %s: %s; this one goes on, all %u "
		 "descriptors are kept", program, why, keeper->table.count);
	if (keeper->upgrade_asked) {
		answer(keeper, keeper->upgrade_seq, status, why);
	}
	keeper->upgrade_asked = false;
	running = false;
}

/* 0 or a negative errno. */
static int write_state(const struct state_writer *writer, int fd)
{
	const uint8_t *bytes = writer->bytes.bytes;
	size_t left = queue_size(&writer->bytes);

	while (left > 0) {
		ssize_t size = write(fd, bytes, left);

		if (size == -1) {
			return -errno;
		}
		bytes += size;
		left -= (size_t)size;
	}
	return lseek(fd, 0, SEEK_SET) == -1 ? -errno : 0;
}

static bool is_own_argument(const char *argument)
{
	static const char option[] = "--" HANDOVER_OPTION "=";

	return strncmp(argument, option, strlen(option)) != 0;
}

/* In the child of the fork. */
static void become_new(const struct takeover *takeover,
		       const struct state_writer *writer)
{
	char **argv = NULL;
	char option[64];
	size_t offset = 0;
	size_t count = 0;
	int fd = -1;

	while (arguments[count] != NULL && is_own_argument(arguments[count])) {
		count++;
	}
	argv = calloc(count + 2, sizeof(*argv));
	if (argv == NULL) {
		_exit(127);
	}
	memcpy(argv, arguments, count * sizeof(*argv));
	(void)snprintf(option, sizeof(option), "--" HANDOVER_OPTION "=%d,%d,%d",
		       takeover->old_pid, takeover->state_fd,
		       takeover->reply_fd);
	argv[count] = option;
	for (offset = 0; offset < queue_size(&writer->descriptors);
	     offset += sizeof(fd)) {
		memcpy(&fd, writer->descriptors.bytes + offset, sizeof(fd));
		(void)fcntl(fd, F_SETFD, 0);
	}
	(void)fcntl(takeover->state_fd, F_SETFD, 0);
	(void)fcntl(takeover->reply_fd, F_SETFD, 0);
	(void)execv(program, argv);
	_exit(127);
}

/* An end that was asked for meanwhile is not lost with this process. */
static bool is_to_end(void)
{
	sigset_t pending;

	(void)sigpending(&pending);
	return sigismember(&pending, SIGTERM) == 1 ||
	       sigismember(&pending, SIGINT) == 1;
}

/* Whether the new one is ready; else `why` says why not. */
static bool await_ready(int fd, pid_t pid, char why[TEXT_SIZE])
{
	struct pollfd said = { .fd = fd, .events = POLLIN };
	int ready = poll(&said, 1, TAKE_OVER_MS);
	ssize_t size = 0;

	if (ready != 1) {
		(void)snprintf(why, TEXT_SIZE, "it did not take over within "
			       "%d ms", TAKE_OVER_MS);
		return false;
	}
	size = recv(fd, why, TEXT_SIZE - 1, 0);
	if (size <= 0) {
		(void)snprintf(why, TEXT_SIZE, SILENT);
		return false;
	}
	why[size] = '\0';
	if (strcmp(why, TAKEOVER_READY) != 0) {
		return false;
	}
	if (is_to_end()) {
		(void)snprintf(why, TEXT_SIZE, "it was asked to end");
		return false;
	}
	(void)snprintf(why, TEXT_SIZE, "it was killed");
	return waitpid(pid, NULL, WNOHANG) == 0;
}

/* Returns only if the new one has not taken over. */
static void fork_new(struct keeper *keeper, const struct state_writer *writer,
		     int state_fd)
{
	struct takeover takeover = {
		.old_pid = getpid(),
		.state_fd = state_fd,
	};
	char why[TEXT_SIZE] = SILENT;
	int ends[2] = { -1, -1 };
	pid_t pid = -1;
	int result = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == -1) {
		refuse(keeper, -errno, "%s", strerror(errno));
		return;
	}
	fault_point("handover.before-fork");
	takeover.reply_fd = ends[1];
	pid = fork();
	if (pid == 0) {
		become_new(&takeover, writer);
	}
	result = -errno;
	(void)close(ends[1]);
	fault_point("handover.after-fork");
	if (pid == -1) {
		refuse(keeper, result, "fork: %s", strerror(-result));
	} else if (await_ready(ends[0], pid, why)) {
		notify_main_process(pid);
		fault_point("handover.before-end");
		_exit(0);
	} else {
		/* it has touched nothing, and waits for our end */
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		refuse(keeper, -ECANCELED, "%s", why);
	}
	(void)close(ends[0]);
}

static void hand_over(struct keeper *keeper)
{
	struct state_writer writer = { .failed = false };
	int fd = memfd_create("fdkeeper state", MFD_CLOEXEC);
	int result = 0;

	keeper_state_save(keeper, &writer);
	if (fd == -1) {
		result = -errno;
	} else if (writer.failed) {
		result = -ENOMEM;
	} else {
		result = write_state(&writer, fd);
	}
	if (result == 0) {
		fork_new(keeper, &writer, fd);
	} else {
		refuse(keeper, result, "%s", strerror(-result));
	}
	if (fd != -1) {
		(void)close(fd);
	}
	state_free(&writer);
}

static void end_source(struct source *source)
{
	if (source->fd != -1) {
		(void)close(source->fd);
		source->fd = -1;
	}
}

/* The last line of what it said, without our name in front of it. */
static const char *last_words(char text[TEXT_SIZE])
{
	ssize_t size = read(check.words_fd, text, TEXT_SIZE - 1);
	char *line = NULL;

	while (size > 0 && text[size - 1] == '\n') {
		size--;
	}
	if (size <= 0) {
		return "nothing";
	}
	text[size] = '\0';
	line = strrchr(text, '\n');
	line = line == NULL ? text : line + 1;
	return strncmp(line, LOG_PREFIX, strlen(LOG_PREFIX)) == 0 ?
	       line + strlen(LOG_PREFIX) : line;
}

/* As wait(2) has it. */
static int end_check(void)
{
	int status = 0;

	end_source(&check.ended);
	end_source(&check.timer);
	(void)close(check.words_fd);
	return waitpid(check.pid, &status, 0) == check.pid ? status : -1;
}

static void check_ended(struct source *source, uint32_t events)
{
	struct keeper *keeper = source->context;
	char text[TEXT_SIZE];
	const char *words = last_words(text);
	int status = end_check();

	(void)events;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		hand_over(keeper);
	} else if (WIFSIGNALED(status)) {
		refuse(keeper, -ENOEXEC, "asked whether it can take over, it "
		       "was ended by signal %d (%s)", WTERMSIG(status),
		       strsignal(WTERMSIG(status)));
	} else {
		refuse(keeper, -ENOEXEC, "asked whether it can take over, it "
		       "says: %s", words);
	}
}

static void check_late(struct source *source, uint32_t events)
{
	struct keeper *keeper = source->context;

	(void)events;
	(void)kill(check.pid, SIGKILL);
	(void)end_check();
	refuse(keeper, -ETIMEDOUT, "asked whether it can take over, it gives "
	       "no answer for %d s", CHECK_S);
}

/*
 * Starts the program; what it says comes out at `words_fd`. The parent waits
 * in posix_spawn() until the child has closed all that is kept, so that no
 * description outlives its drop by it. 0 or a negative errno.
 */
static int spawn_check(int words_fd)
{
	char version[16];
	char option[] = "--can-take-over";
	char *argv[] = { arguments[0], option, version, NULL };
	posix_spawn_file_actions_t actions;
	int error = posix_spawn_file_actions_init(&actions);

	(void)snprintf(version, sizeof(version), "%d", STATE_VERSION);
	if (error != 0) {
		return -error;
	}
	error = posix_spawn_file_actions_adddup2(&actions, words_fd,
						 STDERR_FILENO);
	if (error == 0) {
		error = posix_spawn_file_actions_adddup2(&actions,
			STDERR_FILENO, STDOUT_FILENO);
	}
	if (error == 0) {
		error = posix_spawn_file_actions_addclosefrom_np(&actions,
			STDERR_FILENO + 1);
	}
	if (error == 0) {
		error = posix_spawn(&check.pid, program, &actions, NULL, argv,
				    environ);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	return -error;
}

static int add_source(struct keeper *keeper, struct source *source, int fd,
		      source_ready_fn ready)
{
	source->fd = fd;
	source->ready = ready;
	source->context = keeper;
	return fd == -1 ? -errno : loop_add(&keeper->loop, source, EPOLLIN);
}

/* Be told of its end, and of too long a wait for it. 0 or a negative errno. */
static int watch_check(struct keeper *keeper)
{
	const struct itimerspec in = { .it_value.tv_sec = CHECK_S };
	int result = add_source(keeper, &check.ended,
				(int)syscall(SYS_pidfd_open, check.pid, 0),
				check_ended);

	if (result < 0) {
		return result;
	}
	result = add_source(keeper, &check.timer,
			    timerfd_create(CLOCK_MONOTONIC,
					   TFD_NONBLOCK | TFD_CLOEXEC),
			    check_late);
	if (result == 0) {
		(void)timerfd_settime(check.timer.fd, 0, &in, NULL);
	}
	return result;
}

/* 0 or a negative errno. */
static int start_check(struct keeper *keeper)
{
	int ends[2] = { -1, -1 };
	int result = 0;

	if (pipe2(ends, O_CLOEXEC) == -1) {
		return -errno;
	}
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
	check.words_fd = ends[0];
	result = spawn_check(ends[1]);
	(void)close(ends[1]);
	if (result < 0) {
		(void)close(check.words_fd);
		return result;
	}
	result = watch_check(keeper);
	if (result < 0) {
		(void)kill(check.pid, SIGKILL);
		(void)end_check();
	}
	return result;
}

void handover_begin(struct keeper *keeper, bool asked, uint32_t seq)
{
	int result = 0;

	if (running) {
		if (asked) {
			answer(keeper, seq, -EALREADY,
			       "another upgrade is under way");
		}
		return;
	}
	running = true;
	keeper->upgrade_asked = asked;
	keeper->upgrade_seq = seq;
	result = start_check(keeper);
	if (result < 0) {
		refuse(keeper, result, "it cannot be executed: %s",
		       strerror(-result));
	}
}
