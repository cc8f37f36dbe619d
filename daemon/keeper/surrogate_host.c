// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <search.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "surrogate_host.h"

/* The kernel needs microseconds; a host that waits longer serves nobody. */
#define MAX_YIELDS 1000

struct surrogate {
	pthread_t thread;
	pid_t id;
	sem_t started;
	sem_t ended;
};

/* All of them: a tsearch(3) tree by id. */
static void *surrogates;

static int compare_ids(const void *a, const void *b)
{
	pid_t one = ((const struct surrogate *)a)->id;
	pid_t other = ((const struct surrogate *)b)->id;

	return (one > other) - (one < other);
}

static void wait_for(sem_t *semaphore)
{
	while (sem_wait(semaphore) == -1 && errno == EINTR) {
		continue;
	}
}

static void *exist(void *context)
{
	struct surrogate *surrogate = context;

	(void)prctl(PR_SET_NAME, "surrogate");
	surrogate->id = gettid();
	(void)sem_post(&surrogate->started);
	wait_for(&surrogate->ended);
	return NULL;
}

/*
 * The thread calls so little that the smallest stack does; without a guard
 * page the stacks share their mappings, of which a process may have 65,530.
 */
static int set_attributes(pthread_attr_t *attributes)
{
	int error = pthread_attr_setstacksize(attributes,
			(size_t)sysconf(_SC_THREAD_STACK_MIN));

	if (error == 0) {
		error = pthread_attr_setguardsize(attributes, 0);
	}
	return error;
}

static int start_thread(struct surrogate *surrogate)
{
	pthread_attr_t attributes;
	int error = pthread_attr_init(&attributes);

	if (error != 0) {
		return error;
	}
	error = set_attributes(&attributes);
	if (error == 0) {
		error = pthread_create(&surrogate->thread, &attributes, exist,
				       surrogate);
	}
	(void)pthread_attr_destroy(&attributes);
	return error;
}

/*
 * A thread can be joined a little before its id is free (it is woken in
 * mm_release(), exit_notify() comes later), and who is answered now asks for
 * that id next.
 */
static void end_thread(struct surrogate *surrogate)
{
	unsigned int yields = 0;

	(void)sem_post(&surrogate->ended);
	(void)pthread_join(surrogate->thread, NULL);
	while (tgkill(getpid(), surrogate->id, 0) == 0 && yields < MAX_YIELDS) {
		(void)sched_yield();
		yields++;
	}
	(void)sem_destroy(&surrogate->started);
	(void)sem_destroy(&surrogate->ended);
	free(surrogate);
}

static int start(uint32_t *id)
{
	struct surrogate *surrogate = calloc(1, sizeof(*surrogate));
	int error = 0;

	if (surrogate == NULL) {
		return -ENOMEM;
	}
	(void)sem_init(&surrogate->started, 0, 0);
	(void)sem_init(&surrogate->ended, 0, 0);
	error = start_thread(surrogate);
	if (error != 0) {
		free(surrogate);
		return -error;
	}
	wait_for(&surrogate->started);
	if (tsearch(surrogate, &surrogates, compare_ids) == NULL) {
		end_thread(surrogate);
		return -ENOMEM;
	}
	*id = (uint32_t)surrogate->id;
	return 0;
}

static int end(uint32_t id)
{
	const struct surrogate like = { .id = (pid_t)id };
	struct surrogate **found = tfind(&like, &surrogates, compare_ids);
	struct surrogate *surrogate = NULL;

	if (found == NULL) {
		return -ENOENT;
	}
	surrogate = *found;
	(void)tdelete(&like, &surrogates, compare_ids);
	end_thread(surrogate);
	return 0;
}

static void serve(struct surrogate_packet *packet)
{
	switch (packet->what) {
	case SURROGATE_START:
		packet->status = start(&packet->id);
		break;
	case SURROGATE_END:
		packet->status = end(packet->id);
		break;
	default:
		packet->status = -ENOSYS;
		break;
	}
}

/*
 * Only the end of the last keeper ends it: no signal that a whole group of
 * processes is sent, since the keeper may have much to give up first.
 */
void surrogate_host(int socket_fd)
{
	struct surrogate_packet packet = { .what = 0 };
	sigset_t all;
	ssize_t size = 0;

	(void)prctl(PR_SET_NAME, "surrogate-host");
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	while ((size = recv(socket_fd, &packet, sizeof(packet), 0)) > 0 ||
	       (size == -1 && errno == EINTR)) {
		if (size == (ssize_t)sizeof(packet)) {
			serve(&packet);
			(void)send(socket_fd, &packet, sizeof(packet),
				   MSG_NOSIGNAL);
		}
	}
	_exit(0);
}
