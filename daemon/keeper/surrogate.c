// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "surrogate.h"

/* The kernel needs microseconds; a keeper that waits longer serves nobody. */
#define MAX_YIELDS 1000

struct surrogate {
	pthread_t thread;
	pid_t id;
	sem_t started;
	sem_t ended;
};

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
 * No signal is taken here: they are the main thread's, by signalfd. The
 * thread calls so little that the smallest stack does; without a guard page
 * the stacks share their mappings, of which a process may have 65,530.
 */
static int set_attributes(pthread_attr_t *attributes)
{
	sigset_t all;
	int error = 0;

	(void)sigfillset(&all);
	error = pthread_attr_setstacksize(attributes,
					  (size_t)sysconf(_SC_THREAD_STACK_MIN));
	if (error == 0) {
		error = pthread_attr_setguardsize(attributes, 0);
	}
	if (error == 0) {
		error = pthread_attr_setsigmask_np(attributes, &all);
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

int surrogate_start(struct surrogate **surrogate)
{
	struct surrogate *started = calloc(1, sizeof(*started));
	int error = 0;

	if (started == NULL) {
		return -ENOMEM;
	}
	(void)sem_init(&started->started, 0, 0);
	(void)sem_init(&started->ended, 0, 0);
	error = start_thread(started);
	if (error != 0) {
		free(started);
		return -error;
	}
	wait_for(&started->started);
	*surrogate = started;
	return 0;
}

uint32_t surrogate_id(const struct surrogate *surrogate)
{
	return (uint32_t)surrogate->id;
}

/*
 * A thread can be joined a little before its id is free (it is woken in
 * mm_release(), exit_notify() comes later), and who is answered now asks for
 * that id next.
 */
void surrogate_end(struct surrogate *surrogate)
{
	pid_t keeper = getpid();
	unsigned int yields = 0;

	if (surrogate == NULL) {
		return;
	}
	(void)sem_post(&surrogate->ended);
	(void)pthread_join(surrogate->thread, NULL);
	while (tgkill(keeper, surrogate->id, 0) == 0 && yields < MAX_YIELDS) {
		(void)sched_yield();
		yields++;
	}
	(void)sem_destroy(&surrogate->started);
	(void)sem_destroy(&surrogate->ended);
	free(surrogate);
}
