// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"
#include "keeper.h"
#include "log.h"
#include "peer.h"
#include "watch.h"
#include "watch_facility.h"

/* The best first; one that cannot watch a file leaves it to the next. */
static const struct watch_facility *const facilities[] = {
	&watch_fanotify,
	&watch_inotify,
};

#define FACILITIES (sizeof(facilities) / sizeof(facilities[0]))

static struct keeper *keeper;

/* By number of the facility; the descriptor is -1 for one that is not used. */
static struct source sources[FACILITIES];

/* All marked files: a tsearch(3) tree by key. */
static void *marked;

static int compare_files(const void *a, const void *b)
{
	const struct watched *one = a;
	const struct watched *other = b;

	if (one->facility != other->facility) {
		return one->facility->number < other->facility->number ? -1 : 1;
	}
	if (one->key_size != other->key_size) {
		return one->key_size < other->key_size ? -1 : 1;
	}
	return memcmp(one->key, other->key, one->key_size);
}

struct watched *watch_find(const struct watch_facility *facility,
			   const void *key, size_t size)
{
	struct watched like = { .facility = facility, .key_size = size };
	struct watched **found = NULL;

	memcpy(like.key, key, size);
	found = tfind(&like, &marked, compare_files);
	return found == NULL ? NULL : *found;
}

static int facility_fd(const struct watch_facility *facility)
{
	size_t i = 0;

	while (facilities[i] != facility) {
		i++;
	}
	return sources[i].fd;
}

static int64_t ns(const struct timespec *time)
{
	return time->tv_sec * 1000000000 + time->tv_nsec;
}

static void leave_file(struct kept *kept)
{
	struct watched *file = kept->watch.file;

	link_remove(&kept->watch.in_file);
	kept->watch.file = NULL;
	if (!link_alone(&file->watches)) {
		return;
	}
	file->facility->remove(facility_fd(file->facility), file, kept->fd);
	(void)tdelete(file, &marked, compare_files);
	openers_end(&file->openers);
	free(file);
}

void watch_tell_again(const struct kept *kept)
{
	if (kept->watch.touched.how != 0) {
		control_send(keeper, KEEPER_CONTROL_TOUCHED, 0, kept->cookie,
			     &kept->watch.touched,
			     sizeof(kept->watch.touched));
	}
}

static bool is_changed(const struct kept *kept)
{
	struct stat st = { .st_size = 0 };

	return fstat(kept->fd, &st) == 0 &&
	       ((uint64_t)st.st_size != kept->watch.size_bytes ||
		ns(&st.st_mtim) != kept->watch.mtime_ns);
}

/* By the name that it had when it opened the file, if it is gone. */
static void name_process(struct keeper_touched *touched,
			 const struct opener *opener)
{
	process_name((pid_t)touched->pid, touched->process);
	if (touched->process[0] == '\0' && opener != NULL) {
		memcpy(touched->process, opener->name,
		       sizeof(touched->process));
	}
}

/*
 * Tell it of all watches of a file, or of those only whose file is not as it
 * was when they began. The file goes with its last watch.
 */
static void touch(struct watched *file, uint8_t how, pid_t pid,
		  bool only_changed)
{
	struct keeper_touched touched = { .how = how, .pid = (uint32_t)pid };
	struct link *link = file->watches.next;
	bool last = false;

	name_process(&touched, openers_find(&file->openers, pid));
	while (!last) {
		struct kept *kept = link_owner(link, struct kept,
					       watch.in_file);

		link = link->next;
		last = link == &file->watches;
		if (!only_changed || is_changed(kept)) {
			kept->watch.touched = touched;
			watch_tell_again(kept);
			leave_file(kept);
		}
	}
}

bool watch_inode_changed(struct watched *watched)
{
	const struct kept *kept = link_owner(watched->watches.next,
					     const struct kept, watch.in_file);
	struct stat st = { .st_size = 0 };
	int64_t before = watched->ctime_ns;

	if (fstat(kept->fd, &st) == 0) {
		watched->ctime_ns = ns(&st.st_ctim);
	}
	return watched->ctime_ns != before;
}

/* Of smbd children, `contend` tells persistd. */
static bool is_local(pid_t pid)
{
	return pid != getpid() && !peer_is_known(pid);
}

void watch_saw_writer(struct watched *watched, const struct opener *opener)
{
	touch(watched, KEEPER_TOUCHED_OPENED, opener->pid, false);
}

/*
 * It had the file open for writing. If it opened it since the watch began, but
 * was too quick to be seen, that was local access, unless it only set times or
 * the like. If it had it before, it may have written through a mapping.
 */
static void closed(struct watched *file, const struct opener *opener,
		   pid_t pid)
{
	if (opener != NULL && !opener->set_attributes) {
		touch(file, KEEPER_TOUCHED_OPENED, pid, false);
	} else {
		touch(file, KEEPER_TOUCHED_MODIFIED, pid, true);
	}
}

void watch_saw(struct watched *watched, unsigned int what, pid_t pid)
{
	struct openers *openers = &watched->openers;
	bool changed = watch_inode_changed(watched);
	struct opener *opener = NULL;

	if (pid != 0 && !is_local(pid)) {
		return;
	}
	if ((what & WATCH_OPENED) != 0) {
		openers_add(openers, pid);
	}
	opener = openers_find(openers, pid);
	if (opener != NULL) {
		opener->set_attributes |= changed;
	}
	if ((what & WATCH_MODIFIED) != 0) {
		touch(watched, KEEPER_TOUCHED_MODIFIED, pid, false);
	} else if ((what & WATCH_CLOSED) != 0) {
		closed(watched, opener, pid);
	}
}

void watch_overflowed(void)
{
	struct link *link = keeper->table.all.next;

	log_line("lost events of local access, looking at all files");
	while (link != &keeper->table.all) {
		struct kept *kept = link_owner(link, struct kept, in_table);

		link = link->next;
		if (kept->watch.file != NULL) {
			touch(kept->watch.file, KEEPER_TOUCHED_MODIFIED, 0,
			      true);
		}
	}
}

static int mark_by(size_t facility, struct watched *file,
		   const struct kept *kept)
{
	int result = 0;

	file->facility = facilities[facility];
	result = file->facility->add(sources[facility].fd, file, kept->fd);
	if (result == 0 && tsearch(file, &marked, compare_files) == NULL) {
		file->facility->remove(sources[facility].fd, file, kept->fd);
		result = -ENOMEM;
	}
	return result;
}

/* A new file, marked by the first facility that can. */
static int mark(const struct kept *kept, struct watched **made)
{
	struct watched *file = calloc(1, sizeof(*file));
	int result = file == NULL ? -ENOMEM : -EOPNOTSUPP;
	size_t i = 0;

	if (file == NULL) {
		return result;
	}
	link_init(&file->watches);
	openers_init(&file->openers, file);
	file->file.dev = kept->dev;
	file->file.ino = kept->ino;
	(void)process_fdinfo_ino(kept->fd, &file->file.fdinfo_ino);
	for (i = 0; i < FACILITIES && result < 0; i++) {
		if (sources[i].fd != -1) {
			result = mark_by(i, file, kept);
		}
	}
	if (result < 0) {
		free(file);
		return result;
	}
	*made = file;
	return 0;
}

static struct watched *watched_already(const struct kept *kept)
{
	const struct link *others =
		table_file_list(&keeper->table, kept->dev, kept->ino);
	const struct link *link = NULL;

	for (link = others->next; link != others; link = link->next) {
		const struct kept *other = link_owner(link, const struct kept,
						      in_file);

		if (other->dev == kept->dev && other->ino == kept->ino &&
		    other->watch.file != NULL) {
			return other->watch.file;
		}
	}
	return NULL;
}

static int join_file(struct kept *kept)
{
	static int last_failure;
	struct watched *file = watched_already(kept);
	int result = file == NULL ? mark(kept, &file) : 0;

	if (result == 0) {
		kept->watch.file = file;
		link_append(&file->watches, &kept->watch.in_file);
		(void)watch_inode_changed(file);
	} else if (result != last_failure) {
		/* once per cause, like refusals */
		log_line("cannot watch a file for local access: %s",
			 strerror(-result));
	}
	last_failure = result;
	return result;
}

int watch_begin(struct kept *kept)
{
	struct watch *watch = &kept->watch;
	struct stat st = { .st_size = 0 };
	int result = 0;

	if (link_alone(&kept->in_file)) {
		return -EBUSY;
	}
	if (watch->file == NULL && watch->touched.how == 0) {
		result = join_file(kept);
	}
	/* behind the mark: what changes from now on is told */
	if (result == 0 && fstat(kept->fd, &st) == -1) {
		result = -errno;
	}
	watch->size_bytes = (uint64_t)st.st_size;
	watch->mtime_ns = ns(&st.st_mtim);
	return result;
}

void watch_end(struct kept *kept)
{
	if (kept->watch.file != NULL) {
		leave_file(kept);
	}
	kept->watch.touched.how = 0;
}

static void source_ready(struct source *source, uint32_t events)
{
	(void)events;
	((const struct watch_facility *)source->context)->ready(source->fd);
}

static int inherited[WATCH_FACILITIES] = { -1, -1, -1 };

void watch_facility_fds(int fds[WATCH_FACILITIES])
{
	size_t i = 0;

	for (i = 0; i < WATCH_FACILITIES; i++) {
		fds[i] = -1;
	}
	for (i = 0; i < FACILITIES; i++) {
		fds[facilities[i]->number] = sources[i].fd;
	}
}

void watch_take_over(const int fds[WATCH_FACILITIES])
{
	memcpy(inherited, fds, sizeof(inherited));
}

/* What is marked already is only found again. */
void watch_resume(struct kept *kept)
{
	(void)join_file(kept);
}

static void start_facility(size_t i)
{
	struct source *source = &sources[i];
	int fd = inherited[facilities[i]->number];

	source->ready = source_ready;
	source->context = (void *)(uintptr_t)facilities[i];
	source->fd = fd != -1 ? fd : facilities[i]->open();
	if (source->fd < 0) {
		log_line("%s: %s", facilities[i]->name, strerror(-source->fd));
		source->fd = -1;
	} else if (loop_add(&keeper->loop, source, EPOLLIN) < 0) {
		(void)close(source->fd);
		source->fd = -1;
	}
}

bool watch_start(struct keeper *the_keeper, const char *facility)
{
	bool known = facility == NULL || strcmp(facility, WATCH_NONE) == 0;
	size_t i = 0;

	keeper = the_keeper;
	if (openers_start(&keeper->loop) < 0) {
		log_line("cannot make a timer to look at openers of files");
	}
	for (i = 0; i < FACILITIES; i++) {
		bool named = facility != NULL &&
			     strcmp(facility, facilities[i]->name) == 0;

		sources[i].fd = -1;
		known = known || named;
		if (facility == NULL || named) {
			start_facility(i);
		}
	}
	for (i = 0; i < FACILITIES && sources[i].fd == -1; i++) {
		continue;
	}
	log_line("local access to files is told by %s",
		 i < FACILITIES ? facilities[i]->name : "nothing");
	return known;
}

uint32_t watch_facility(void)
{
	size_t i = 0;

	for (i = 0; i < FACILITIES; i++) {
		if (sources[i].fd != -1) {
			return facilities[i]->number;
		}
	}
	return KEEPER_FACILITY_NONE;
}
