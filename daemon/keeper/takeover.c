// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../vfs_module/fault.h"
#include "control.h"
#include "keeper_state.h"
#include "log.h"
#include "takeover.h"

bool takeover_parse(struct takeover *takeover, const char *text)
{
	int end = 0;

	return sscanf(text, "%d,%d,%d%n", &takeover->old_pid,
		      &takeover->state_fd, &takeover->reply_fd, &end) == 3 &&
	       text[end] == '\0' && takeover->old_pid > 0 &&
	       takeover->state_fd > STDERR_FILENO &&
	       takeover->reply_fd > STDERR_FILENO;
}

int takeover_possible(const char *version)
{
	char *end = NULL;
	long asked = strtol(version, &end, 10);

	if (end != version && *end == '\0' && asked == STATE_VERSION) {
		return 0;
	}
	log_line("it takes over state of version %d, not %s; restart fdkeeper "
		 "when no handle waits for its client", STATE_VERSION, version);
	return 1;
}

static void reply(const struct takeover *takeover, const char *text)
{
	(void)send(takeover->reply_fd, text, strlen(text),
		   MSG_DONTWAIT | MSG_NOSIGNAL);
}

static const char *load(struct keeper *keeper, const char *facility, int fd)
{
	struct state_reader reader = { .failed = false };
	struct stat st = { .st_size = 0 };
	const char *fault = NULL;
	void *mapped = MAP_FAILED;

	if (fstat(fd, &st) == -1 || st.st_size == 0) {
		return "there is no state";
	}
	mapped = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (mapped == MAP_FAILED) {
		return strerror(errno);
	}
	reader.bytes = mapped;
	reader.left = (size_t)st.st_size;
	fault = keeper_state_load(keeper, facility, &reader);
	(void)munmap(mapped, (size_t)st.st_size);
	return fault;
}

bool takeover_load(struct keeper *keeper, const struct takeover *takeover,
		   const char *facility)
{
	char text[256];
	const char *fault = NULL;

	fault_point("takeover.before-load");
	/* what was inherited goes no further than to this keeper */
	fault = close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == -1 ?
		strerror(errno) :
		load(keeper, facility, takeover->state_fd);
	(void)close(takeover->state_fd);
	fault_point("takeover.after-load");
	if (fault != NULL) {
		(void)snprintf(text, sizeof(text), "it cannot take over the "
			       "state of pid %d: %s", takeover->old_pid, fault);
		log_line("%s", text);
		reply(takeover, text);
		return false;
	}
	return true;
}

/*
 * Returns when all that it had open is closed: what is dropped from then on is
 * open nowhere else.
 */
static void await_end(pid_t old)
{
	struct pollfd ended = {
		.fd = (int)syscall(SYS_pidfd_open, old, 0),
		.events = POLLIN,
	};

	/* it is our parent, unless it has ended: nobody else has its pid */
	if (ended.fd != -1 && getppid() == old) {
		while (poll(&ended, 1, -1) == -1 && errno == EINTR) {
			continue;
		}
	}
	if (ended.fd != -1) {
		(void)close(ended.fd);
	}
}

static void answer_asker(struct keeper *keeper)
{
	const struct keeper_upgrade done = { .pid = (uint32_t)getpid() };

	if (keeper->upgrade_asked) {
		control_send(keeper, KEEPER_CONTROL_UPGRADE | KEEPER_REPLY,
			     keeper->upgrade_seq, NULL, &done, sizeof(done));
	}
	keeper->upgrade_asked = false;
}

void takeover_command(struct keeper *keeper, const struct takeover *takeover)
{
	reply(takeover, TAKEOVER_READY);
	await_end((pid_t)takeover->old_pid);
	(void)close(takeover->reply_fd);
	index_publish(&keeper->index);
	answer_asker(keeper);
	log_line("took over %u descriptors from pid %d", keeper->table.count,
		 (int)takeover->old_pid);
	fault_point("takeover.in-command");
}
