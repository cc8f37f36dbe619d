// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "../../vfs_module/fault.h"
#include "control.h"
#include "identity.h"
#include "log.h"
#include "report.h"

#define COALESCE_NS 20000000

struct reporter {
	struct source timer;
	struct link waiting;
	struct link due;
	/* On `due` while a LIST is being answered, behind its last entry. */
	struct link list_end;
	uint32_t list_seq;
	uint32_t list_count;
};

static void make_due(struct reporter *reporter, struct kept *kept)
{
	/* One that is due stays in its place, before LIST_END. */
	if (kept->report_state == REPORT_DUE) {
		return;
	}
	link_remove(&kept->report);
	link_append(&reporter->due, &kept->report);
	kept->report_state = REPORT_DUE;
}

static void not_due(struct kept *kept)
{
	link_remove(&kept->report);
	kept->report_state = REPORT_NONE;
}

static void end_waiting(struct reporter *reporter)
{
	while (!link_alone(&reporter->waiting)) {
		make_due(reporter, link_owner(reporter->waiting.next,
					      struct kept, report));
	}
}

static void timer_ready(struct source *source, uint32_t events)
{
	uint64_t expirations = 0;

	(void)events;
	if (read(source->fd, &expirations, sizeof(expirations)) != -1) {
		end_waiting(source->context);
	}
}

void report_deposit(struct keeper *keeper, struct kept *kept)
{
	struct reporter *reporter = keeper->reporter;
	struct itimerspec in = { .it_value = { .tv_nsec = COALESCE_NS } };

	if (!control_connected(keeper) ||
	    kept->report_state != REPORT_NONE) {
		return;
	}
	if (link_alone(&reporter->waiting)) {
		(void)timerfd_settime(reporter->timer.fd, 0, &in, NULL);
	}
	link_append(&reporter->waiting, &kept->report);
	kept->report_state = REPORT_WAITING;
}

void report_change(struct keeper *keeper, struct kept *kept)
{
	if (control_connected(keeper)) {
		make_due(keeper->reporter, kept);
	}
}

void report_gone(struct keeper *keeper, struct kept *kept)
{
	not_due(kept);
	if (kept->reported) {
		control_send(keeper, KEEPER_CONTROL_GONE, 0, kept->cookie,
			     NULL, 0);
	}
}

void report_refused(struct keeper *keeper, const uint8_t *cookie,
		    int32_t status)
{
	control_send(keeper, KEEPER_CONTROL_REFUSED, 0, cookie, &status,
		     sizeof(status));
}

void report_all(struct keeper *keeper, uint32_t seq)
{
	struct reporter *reporter = keeper->reporter;
	struct link *link = NULL;

	fault_point("keeper.before-list");
	for (link = keeper->table.all.next; link != &keeper->table.all;
	     link = link->next) {
		make_due(reporter, link_owner(link, struct kept, in_table));
	}
	link_append(&reporter->due, &reporter->list_end);
	reporter->list_seq = seq;
	reporter->list_count = 0;
}

bool report_listing(const struct keeper *keeper)
{
	return !link_alone(&keeper->reporter->list_end);
}

bool report_pending(const struct keeper *keeper)
{
	return !link_alone(&keeper->reporter->due);
}

void report_forget(struct keeper *keeper)
{
	struct link *link = NULL;

	link_remove(&keeper->reporter->list_end);
	for (link = keeper->table.all.next; link != &keeper->table.all;
	     link = link->next) {
		struct kept *kept = link_owner(link, struct kept, in_table);

		not_due(kept);
		kept->reported = false;
	}
}

static int64_t timestamp_ns(const struct statx_timestamp *time)
{
	return time->tv_sec * 1000000000 + time->tv_nsec;
}

static size_t add(uint8_t *payload, size_t size, const void *bytes,
		  size_t count)
{
	if (count > 0) {
		memcpy(payload + size, bytes, count);
	}
	return size + count;
}

/* Makes the payload of an ENTRY; returns its size. */
static size_t describe(const struct kept *kept, uint8_t *payload)
{
	struct keeper_entry entry = {
		.state = (uint8_t)kept->state,
		.owner_pid = kept->owner_pid,
		.since_monotonic_ns = kept->since_monotonic_ns,
		.since_realtime_ns = kept->since_realtime_ns,
		.dev = kept->dev,
		.ino = kept->ino,
		.record_length = kept->record_length,
	};
	struct file_handle_copy handle = { .length = 0 };
	struct statx st = { .stx_mask = 0 };
	const char *identity = "";
	size_t size = 0;

	if (statx(kept->fd, "", AT_EMPTY_PATH,
		  STATX_BASIC_STATS | STATX_MNT_ID, &st) == 0) {
		entry.nlink = st.stx_nlink;
		entry.size_bytes = st.stx_size;
		entry.mtime_ns = timestamp_ns(&st.stx_mtime);
		entry.ctime_ns = timestamp_ns(&st.stx_ctime);
		identity = identity_file_system(kept->fd, kept->dev,
				(st.stx_mask & STATX_MNT_ID) != 0 ?
				st.stx_mnt_id : 0);
		identity_file_handle(kept->fd, &handle);
	} else {
		log_line("cannot stat a kept descriptor (dev %llu, ino %llu): "
			 "%s", (unsigned long long)kept->dev,
			 (unsigned long long)kept->ino, strerror(errno));
	}
	entry.file_handle_type = handle.type;
	entry.file_handle_length = handle.length;
	entry.identity_length = (uint16_t)strlen(identity);

	size = add(payload, size, &entry, sizeof(entry));
	size = add(payload, size, handle.bytes, handle.length);
	size = add(payload, size, identity, entry.identity_length);
	size = add(payload, size, kept->record, kept->record_length);
	return size;
}

bool report_next(struct keeper *keeper)
{
	static uint8_t payload[KEEPER_MAX_PAYLOAD];
	struct reporter *reporter = keeper->reporter;
	struct link *next = reporter->due.next;
	struct kept *kept = NULL;
	uint32_t seq = 0;

	if (next == &reporter->due) {
		return false;
	}
	if (next == &reporter->list_end) {
		link_remove(next);
		control_send(keeper, KEEPER_CONTROL_LIST_END,
			     reporter->list_seq, NULL, &reporter->list_count,
			     sizeof(reporter->list_count));
		fault_point("keeper.after-list");
		return true;
	}
	if (report_listing(keeper)) {
		reporter->list_count++;
		seq = reporter->list_seq;
	}
	kept = link_owner(next, struct kept, report);
	not_due(kept);
	kept->reported = true;
	fault_point("keeper.before-entry");
	control_send(keeper, KEEPER_CONTROL_ENTRY, seq, kept->cookie, payload,
		     describe(kept, payload));
	fault_point("keeper.after-entry");
	return true;
}

void report_now(struct keeper *keeper)
{
	end_waiting(keeper->reporter);
	while (report_next(keeper)) {
		continue;
	}
}

int report_init(struct keeper *keeper)
{
	static struct reporter reporter;

	link_init(&reporter.waiting);
	link_init(&reporter.due);
	link_init(&reporter.list_end);
	reporter.timer.ready = timer_ready;
	reporter.timer.context = &reporter;
	reporter.timer.fd = timerfd_create(CLOCK_MONOTONIC,
					   TFD_NONBLOCK | TFD_CLOEXEC);
	if (reporter.timer.fd == -1) {
		return -errno;
	}
	keeper->reporter = &reporter;
	return loop_add(&keeper->loop, &reporter.timer, EPOLLIN);
}
