// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * fdkeeper keeps descriptors for smbd children that may die, and gives them
 * back: the same open file description, with its offset, its OFD locks and
 * its data, even if the file was unlinked meanwhile. It decides nothing; who
 * may have what back is persistd's to say and the module's to carry out.
 *
 * One loop in one thread, and nothing in it waits for a peer. A process beside
 * it has the surrogates (surrogate.h), and another keeper can take its place
 * (handover.h).
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"
#include "handover.h"
#include "identity.h"
#include "log.h"
#include "nap.h"
#include "notify.h"
#include "peer.h"
#include "report.h"
#include "run_directory.h"
#include "surrogate.h"
#include "takeover.h"
#include "watch.h"

static const char usage[] =
	"usage: fdkeeper --run-dir DIR [--max-descriptors N] "
	"[--uid-allowed UID]... [--watch FACILITY]\n"
	"\n"
	"Keeps open file descriptors for smbd children.\n"
	"  --run-dir DIR        where its sockets are made (mode 0700)\n"
	"  --max-descriptors N  refuse deposits beyond N; by default as many\n"
	"                       as RLIMIT_NOFILE allows\n"
	"  --uid-allowed UID    let this user connect, beside root and the\n"
	"                       keeper's own\n"
	"  --watch FACILITY     what tells of local access to files: fanotify,\n"
	"                       inotify or none; by default the best there is\n"
	"\n"
	"SIGUSR2, or persistctl keeper upgrade, has it start the program that\n"
	"now lies where it was started from, which takes over everything. That\n"
	"one is asked with --can-take-over VERSION, started with --take-over=...\n";

struct options {
	const char *run_dir;
	uint32_t max_descriptors;
	const char *facility;
	bool takes_over;
	struct takeover takeover;
};

static bool parse_number(const char *option, const char *text, uint32_t *to)
{
	char *end = NULL;
	unsigned long value = 0;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' ||
	    value >= UINT32_MAX) {
		log_line("%s takes a number, not \"%s\"", option, text);
		return false;
	}
	*to = (uint32_t)value;
	return true;
}

static bool allow_uid(struct keeper *keeper, const char *text)
{
	if (keeper->allowed_uid_count == KEEPER_MAX_UIDS) {
		log_line("--uid-allowed can be given %d times at most",
			 KEEPER_MAX_UIDS);
		return false;
	}
	return parse_number("--uid-allowed", text,
		&keeper->allowed_uids[keeper->allowed_uid_count++]);
}

static bool parse_options(struct keeper *keeper, struct options *options,
			  int argc, char **argv)
{
	static const struct option known[] = {
		{ "run-dir", required_argument, NULL, 'r' },
		{ "max-descriptors", required_argument, NULL, 'm' },
		{ "uid-allowed", required_argument, NULL, 'u' },
		{ "watch", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ "can-take-over", required_argument, NULL, 'c' },
		{ HANDOVER_OPTION, required_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	bool good = true;
	int option = 0;

	while (good &&
	       (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'r':
			options->run_dir = optarg;
			break;
		case 'm':
			good = parse_number("--max-descriptors", optarg,
					    &options->max_descriptors);
			break;
		case 'u':
			good = allow_uid(keeper, optarg);
			break;
		case 'w':
			options->facility = optarg;
			break;
		case 'c':
			exit(takeover_possible(optarg));
		case 't':
			options->takes_over = true;
			good = takeover_parse(&options->takeover, optarg);
			break;
		case 'h':
			(void)fputs(usage, stdout);
			exit(0);
		default:
			good = false;
			break;
		}
	}
	if (!good || options->run_dir == NULL || optind != argc) {
		(void)fputs(usage, stderr);
		return false;
	}
	return true;
}

/* As many descriptors as the hard limit gives, less what the keeper needs. */
static bool raise_limit(struct keeper *keeper, uint32_t wanted)
{
	struct rlimit limit = { .rlim_cur = 0 };

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1) {
		log_line("cannot read RLIMIT_NOFILE: %s", strerror(errno));
		return false;
	}
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1) {
		log_line("cannot raise RLIMIT_NOFILE to %" PRIu64 ": %s",
			 (uint64_t)limit.rlim_max, strerror(errno));
		return false;
	}
	if (limit.rlim_cur <= KEEPER_SPARE_DESCRIPTORS) {
		log_line("RLIMIT_NOFILE is %" PRIu64 ", the keeper itself "
			 "needs %d; raise it (LimitNOFILE= in its unit)",
			 (uint64_t)limit.rlim_cur, KEEPER_SPARE_DESCRIPTORS);
		return false;
	}
	keeper->nofile_limit = limit.rlim_cur > INT32_MAX ?
			       INT32_MAX : (uint32_t)limit.rlim_cur;
	keeper->max_descriptors = keeper->nofile_limit -
				  KEEPER_SPARE_DESCRIPTORS;
	if (wanted > keeper->max_descriptors) {
		log_line("--max-descriptors %u is more than RLIMIT_NOFILE "
			 "allows; %u it is", wanted, keeper->max_descriptors);
	} else if (wanted > 0) {
		keeper->max_descriptors = wanted;
	}
	return true;
}

static void signal_ready(struct source *source, uint32_t events)
{
	struct keeper *keeper = source->context;
	struct signalfd_siginfo info = { .ssi_signo = 0 };

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != sizeof(info)) {
		return;
	}
	if (info.ssi_signo == SIGUSR2) {
		log_line("SIGUSR2 from pid %u: an upgrade is wanted",
			 info.ssi_pid);
		handover_begin(keeper, false, 0);
	} else {
		log_line("%s from pid %u: ends; %u descriptors are given up",
			 strsignal((int)info.ssi_signo), info.ssi_pid,
			 keeper->table.count);
		keeper->loop.stopped = true;
	}
}

/* 0 or a negative errno. */
static int watch_signals(struct keeper *keeper)
{
	static struct source source;
	sigset_t taken;

	/* A keeper outlives the terminal that it was started from. */
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	/* ignored, it would take from us what becomes of our children */
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigemptyset(&taken);
	(void)sigaddset(&taken, SIGTERM);
	(void)sigaddset(&taken, SIGINT);
	(void)sigaddset(&taken, SIGUSR2);
	if (sigprocmask(SIG_BLOCK, &taken, NULL) == -1) {
		return -errno;
	}
	source.fd = signalfd(-1, &taken, SFD_NONBLOCK | SFD_CLOEXEC);
	if (source.fd == -1) {
		return -errno;
	}
	source.ready = signal_ready;
	source.context = keeper;
	return loop_add(&keeper->loop, &source, EPOLLIN);
}

/* What every keeper has, however it began. */
static bool prepare(struct keeper *keeper)
{
	int result = loop_init(&keeper->loop);

	if (result == 0) {
		result = watch_signals(keeper);
	}
	if (result == 0) {
		result = table_init(&keeper->table, &keeper->index,
				    keeper->max_descriptors);
	}
	if (result == 0) {
		result = report_init(keeper);
	}
	if (result == 0) {
		result = nap_init(keeper);
	}
	if (result == 0) {
		result = identity_init();
	}
	if (result < 0) {
		log_line("cannot start: %s", strerror(-result));
	}
	return result == 0;
}

/* The index is there before anybody can connect and rely on it. */
static bool start(struct keeper *keeper, const char *facility)
{
	int result = surrogates_begin(keeper);

	if (result < 0) {
		log_line("cannot make the surrogate host: %s",
			 strerror(-result));
		return false;
	}
	if (!watch_start(keeper, facility)) {
		log_line("--watch takes fanotify, inotify or none, not \"%s\"",
			 facility);
		return false;
	}
	result = index_create(&keeper->index);
	if (result < 0) {
		log_line("cannot make " KEEPER_INDEX_NAME ": %s",
			 strerror(-result));
		return false;
	}
	result = peer_listen(keeper);
	if (result < 0) {
		log_line("cannot listen on " KEEPER_SOCKET_NAME ": %s",
			 strerror(-result));
		return false;
	}
	result = control_listen(keeper);
	if (result < 0) {
		log_line("cannot listen on " KEEPER_CONTROL_NAME ": %s",
			 strerror(-result));
		return false;
	}
	log_line("keeps up to %u descriptors", keeper->max_descriptors);
	return true;
}

/* The first keeper of a run directory. */
static bool begin(struct keeper *keeper, const struct options *options)
{
	/* One inherited by accident would stay open as long as the keeper. */
	(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	return raise_limit(keeper, options->max_descriptors) &&
	       run_directory_enter(options->run_dir) && prepare(keeper) &&
	       start(keeper, options->facility);
}

/* One in place of another: it is in the run directory already. */
static bool take_over(struct keeper *keeper, const struct options *options)
{
	if (!raise_limit(keeper, options->max_descriptors) ||
	    !prepare(keeper) ||
	    !takeover_load(keeper, &options->takeover, options->facility)) {
		return false;
	}
	takeover_command(keeper, &options->takeover);
	return true;
}

int main(int argc, char **argv)
{
	static struct keeper keeper;
	struct options options = { .run_dir = NULL };
	int result = 0;

	handover_init(argv);
	if (!parse_options(&keeper, &options, argc, argv)) {
		return 2;
	}
	(void)umask(077);
	if (!(options.takes_over ? take_over : begin)(&keeper, &options)) {
		return 1;
	}
	notify_ready();
	(void)puts("fdkeeper: ready");
	(void)fflush(stdout);

	while (!keeper.loop.stopped) {
		control_pump(&keeper);
		result = loop_turn(&keeper.loop);
		if (result < 0) {
			log_line("the loop failed: %s", strerror(-result));
			break;
		}
	}
	run_directory_leave();
	return result < 0 ? 1 : 0;
}
