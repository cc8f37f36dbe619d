// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "opener.h"
#include "process.h"
#include "watch_facility.h"

#define LOOK_AFTER_NS 25000000u
#define NS_PER_S 1000000000u

/* Who sets attributes is looked at so often before it counts as a writer. */
#define PATIENCE 2

static struct source timer;

/* Those to be looked at, the first to be due first. */
static struct link due = { .prev = &due, .next = &due };

static uint64_t now_ns(void)
{
	struct timespec now = { .tv_sec = 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* For the first; a timer that has expired without need finds nobody due. */
static void set_timer(void)
{
	struct itimerspec at = { .it_value = { .tv_sec = 0 } };
	const struct opener *first = NULL;

	if (!link_alone(&due)) {
		first = link_owner(due.next, const struct opener, due);
		at.it_value.tv_sec = (time_t)(first->due_ns / NS_PER_S);
		at.it_value.tv_nsec = (long)(first->due_ns % NS_PER_S);
	}
	(void)timerfd_settime(timer.fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void look_later(struct opener *opener)
{
	bool is_first = link_alone(&due);

	opener->due_ns = now_ns() + LOOK_AFTER_NS;
	link_append(&due, &opener->due);
	if (is_first) {
		set_timer();
	}
}

static void forget(struct opener *opener)
{
	link_remove(&opener->due);
	opener->pid = 0;
}

void openers_init(struct openers *openers, struct watched *file)
{
	unsigned int i = 0;

	for (i = 0; i < OPENERS_MAX; i++) {
		openers->all[i].file = file;
		link_init(&openers->all[i].due);
	}
}

void openers_end(struct openers *openers)
{
	unsigned int i = 0;

	for (i = 0; i < OPENERS_MAX; i++) {
		forget(&openers->all[i]);
	}
}

struct opener *openers_find(struct openers *openers, pid_t pid)
{
	unsigned int i = 0;

	while (i < OPENERS_MAX && openers->all[i].pid != pid) {
		i++;
	}
	return pid != 0 && i < OPENERS_MAX ? &openers->all[i] : NULL;
}

void openers_add(struct openers *openers, pid_t pid)
{
	struct opener *opener = openers_find(openers, pid);

	if (pid == 0) {
		return;
	}
	if (opener == NULL) {
		opener = &openers->all[openers->next];
		openers->next = (openers->next + 1) % OPENERS_MAX;
	}
	forget(opener);
	opener->pid = pid;
	process_name(pid, opener->name);
	opener->set_attributes = false;
	opener->looks = 0;
	look_later(opener);
}

void openers_save(const struct openers *openers,
		  struct opener_state state[OPENERS_MAX])
{
	unsigned int i = 0;

	for (i = 0; i < OPENERS_MAX; i++) {
		const struct opener *opener = &openers->all[i];

		state[i] = (struct opener_state) {
			.pid = opener->pid,
			.set_attributes = opener->set_attributes,
			.is_due = !link_alone(&opener->due),
			.looks = opener->looks,
		};
		memcpy(state[i].name, opener->name, sizeof(state[i].name));
	}
}

void openers_restore(struct openers *openers,
		     const struct opener_state state[OPENERS_MAX])
{
	unsigned int i = 0;

	for (i = 0; i < OPENERS_MAX; i++) {
		struct opener *opener = &openers->all[i];

		opener->pid = (pid_t)state[i].pid;
		memcpy(opener->name, state[i].name, sizeof(opener->name));
		opener->set_attributes = state[i].set_attributes != 0;
		opener->looks = state[i].looks;
		if (state[i].is_due != 0) {
			look_later(opener);
		}
	}
}

static void look(struct opener *opener)
{
	if (!process_writes(opener->pid, &opener->file->file)) {
		return;
	}
	opener->looks++;
	opener->set_attributes |= watch_inode_changed(opener->file);
	if (opener->set_attributes && opener->looks < PATIENCE) {
		look_later(opener);
	} else {
		watch_saw_writer(opener->file, opener);
	}
}

/* One at a time: smbd children wait meanwhile. */
static void timer_ready(struct source *source, uint32_t events)
{
	struct opener *first = NULL;
	uint64_t expirations = 0;

	(void)events;
	if (read(source->fd, &expirations, sizeof(expirations)) == -1) {
		return;
	}
	if (!link_alone(&due)) {
		first = link_owner(due.next, struct opener, due);
		if (first->due_ns <= now_ns()) {
			link_remove(&first->due);
			look(first);
		}
	}
	set_timer();
}

int openers_start(struct loop *loop)
{
	timer.ready = timer_ready;
	timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timer.fd == -1) {
		return -errno;
	}
	return loop_add(loop, &timer, EPOLLIN);
}
