// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <string.h>

#include "control.h"
#include "keeper_state.h"
#include "peer.h"
#include "report.h"
#include "run_directory.h"
#include "surrogate.h"
#include "watch.h"
#include "watch_facility.h"

/* The records, in the order in which they come. */
enum state_type {
	STATE_KEEPER = 1,  /* struct keeper_part and the keeper's descriptors */
	STATE_GONE = 2,    /* a pid: an smbd child that went a moment ago */
	STATE_PEER = 3,    /* behind each: the KEPT that it holds */
	STATE_KEPT = 4,    /* those that nobody holds are behind all PEERs */
	STATE_OPENERS = 5, /* behind the first KEPT of a file that is watched */
	STATE_CONTROL = 6, /* persistd's connection, if it is there */
	STATE_END = 7      /* the number of KEPT */
};

struct keeper_part {
	uint32_t version; /* STATE_VERSION */
	uint32_t upgrade_seq;
	uint64_t refused;
	uint64_t protocol_errors;
	uint8_t upgrade_asked;
	uint8_t zero[7];
};

struct peer_part {
	int32_t pid;
	uint32_t unsent_size;
};

struct kept_part {
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	uint64_t dev;
	uint64_t ino;
	uint64_t since_monotonic_ns;
	uint64_t since_realtime_ns;
	uint64_t watch_size_bytes;
	int64_t watch_mtime_ns;
	struct keeper_touched touched;
	uint32_t owner_pid;
	uint32_t surrogate;
	uint16_t record_length;
	uint16_t note_length;
	uint8_t state;
	uint8_t is_reported;
	uint8_t is_watched;
	uint8_t zero[5];
};

struct openers_part {
	int64_t ctime_ns;
	struct opener_state openers[OPENERS_MAX];
};

static void save_keeper(struct keeper *keeper, struct state_writer *writer)
{
	const struct keeper_part part = {
		.version = STATE_VERSION,
		.upgrade_seq = keeper->upgrade_seq,
		.upgrade_asked = keeper->upgrade_asked,
		.refused = keeper->refused,
		.protocol_errors = keeper->protocol_errors,
	};
	int watches[WATCH_FACILITIES];
	size_t i = 0;

	state_begin(writer, STATE_KEEPER);
	state_put(writer, &part, sizeof(part));
	state_put_fd(writer, run_directory_lock_fd());
	state_put_fd(writer, keeper->index.fd);
	state_put_fd(writer, peer_listener_fd());
	state_put_fd(writer, control_listener_fd());
	state_put_fd(writer, surrogates_host_fd());
	watch_facility_fds(watches);
	for (i = 0; i < WATCH_FACILITIES; i++) {
		state_put_fd(writer, watches[i]);
	}
}

static void save_gone(struct state_writer *writer)
{
	uint32_t pids[PEER_GONE_MAX];
	uint32_t count = peer_gone_lately(pids);
	uint32_t i = 0;

	for (i = 0; i < count; i++) {
		state_begin(writer, STATE_GONE);
		state_put(writer, &pids[i], sizeof(pids[i]));
	}
}

static void save_kept(const struct kept *kept, struct state_writer *writer)
{
	const struct watched *file = kept->watch.file;
	struct openers_part openers = { .ctime_ns = 0 };
	struct kept_part part = {
		.dev = kept->dev,
		.ino = kept->ino,
		.since_monotonic_ns = kept->since_monotonic_ns,
		.since_realtime_ns = kept->since_realtime_ns,
		.watch_size_bytes = kept->watch.size_bytes,
		.watch_mtime_ns = kept->watch.mtime_ns,
		.touched = kept->watch.touched,
		.owner_pid = kept->owner_pid,
		.surrogate = kept->surrogate,
		.record_length = kept->record_length,
		.note_length = kept->note_length,
		.state = (uint8_t)kept->state,
		.is_reported = kept->reported,
		.is_watched = file != NULL,
	};

	memcpy(part.cookie, kept->cookie, sizeof(part.cookie));
	state_begin(writer, STATE_KEPT);
	state_put_fd(writer, kept->fd);
	state_put(writer, &part, sizeof(part));
	state_put(writer, kept->record, kept->record_length);
	state_put(writer, kept->note, kept->note_length);
	if (file != NULL && file->watches.next == &kept->watch.in_file) {
		openers.ctime_ns = file->ctime_ns;
		openers_save(&file->openers, openers.openers);
		state_begin(writer, STATE_OPENERS);
		state_put(writer, &openers, sizeof(openers));
	}
}

static void save_peer(const struct peer *peer, struct state_writer *writer)
{
	const struct peer_part part = {
		.pid = peer->pid,
		.unsent_size = peer->unsent == NULL ?
			       0 : (uint32_t)peer->unsent_size,
	};
	const struct link *link = NULL;

	state_begin(writer, STATE_PEER);
	state_put_fd(writer, peer->source.fd);
	state_put_fd(writer, peer->unsent_fd);
	state_put(writer, &part, sizeof(part));
	state_put(writer, peer->unsent, part.unsent_size);
	for (link = peer->owned.next; link != &peer->owned;
	     link = link->next) {
		save_kept(link_owner(link, const struct kept, in_owner),
			  writer);
	}
}

void keeper_state_save(struct keeper *keeper, struct state_writer *writer)
{
	const struct link *link = NULL;

	/* first, since it makes reports of what is saved behind it */
	report_now(keeper);
	save_keeper(keeper, writer);
	save_gone(writer);
	for (link = peer_all()->next; link != peer_all(); link = link->next) {
		save_peer(link_owner(link, const struct peer, in_peers),
			  writer);
	}
	for (link = keeper->table.all.next; link != &keeper->table.all;
	     link = link->next) {
		const struct kept *kept = link_owner(link, const struct kept,
						     in_table);

		if (kept->state != KEEPER_HELD) {
			save_kept(kept, writer);
		}
	}
	control_save(keeper, writer, STATE_CONTROL);
	state_begin(writer, STATE_END);
	state_put(writer, &keeper->table.count, sizeof(keeper->table.count));
}

static int load_keeper(struct keeper *keeper, const char *facility,
		       struct state_reader *reader)
{
	struct keeper_part part = { .refused = 0 };
	int watches[WATCH_FACILITIES];
	int result = 0;
	size_t i = 0;
	int lock_fd = -1;
	int index_fd = -1;
	int keeper_fd = -1;
	int control_fd = -1;
	int host_fd = -1;

	state_get(reader, &part, sizeof(part));
	if (part.version != STATE_VERSION) {
		return -EPROTO;
	}
	keeper->upgrade_asked = part.upgrade_asked != 0;
	keeper->upgrade_seq = part.upgrade_seq;
	keeper->refused = part.refused;
	keeper->protocol_errors = part.protocol_errors;
	lock_fd = state_get_fd(reader);
	index_fd = state_get_fd(reader);
	keeper_fd = state_get_fd(reader);
	control_fd = state_get_fd(reader);
	host_fd = state_get_fd(reader);
	for (i = 0; i < WATCH_FACILITIES; i++) {
		watches[i] = state_get_fd(reader);
	}
	if (reader->failed) {
		return -EBADF;
	}
	run_directory_take_over(lock_fd);
	result = index_take_over(&keeper->index, index_fd);
	if (result == 0) {
		result = peer_take_over(keeper, keeper_fd);
	}
	if (result == 0) {
		result = control_take_over(keeper, control_fd);
	}
	if (result == 0) {
		result = surrogates_take_over(keeper, host_fd);
	}
	watch_take_over(watches);
	(void)watch_start(keeper, facility);
	return result;
}

static struct peer *load_peer(struct keeper *keeper,
			      struct state_reader *reader)
{
	struct peer_part part = { .pid = 0 };
	struct peer *peer = NULL;
	const uint8_t *unsent = NULL;
	int fd = state_get_fd(reader);
	int unsent_fd = state_get_fd(reader);

	state_get(reader, &part, sizeof(part));
	unsent = state_take(reader, part.unsent_size);
	if (reader->failed || fd == -1 ||
	    part.unsent_size > sizeof(*peer->unsent)) {
		return NULL;
	}
	peer = peer_restore(keeper, fd, (pid_t)part.pid);
	if (peer != NULL && part.unsent_size > 0) {
		peer_restore_unsent(peer, unsent, part.unsent_size, unsent_fd);
	}
	return peer;
}

/* NULL: not as it must be. `owner` may be NULL where nobody holds it. */
static struct kept *load_kept(struct keeper *keeper, struct peer *owner,
			      struct state_reader *reader)
{
	struct table *table = &keeper->table;
	struct kept_part part = { .dev = 0 };
	const uint8_t *record = NULL;
	const uint8_t *note = NULL;
	struct kept *kept = NULL;
	int fd = state_get_fd(reader);

	state_get(reader, &part, sizeof(part));
	record = state_take(reader, part.record_length);
	note = state_take(reader, part.note_length);
	if (reader->failed || part.state < KEEPER_HELD ||
	    part.state > KEEPER_ORPHANED ||
	    (part.state == KEEPER_HELD && owner == NULL) ||
	    table_find(table, part.cookie) != NULL ||
	    table_insert(table, part.cookie, fd, &kept) < 0 ||
	    kept->dev != part.dev || kept->ino != part.ino ||
	    kept_set_record(kept, record, part.record_length) < 0 ||
	    kept_set_note(kept, note, part.note_length) < 0) {
		return NULL;
	}
	if (part.state == KEEPER_HELD) {
		table_hold(table, kept, &owner->owned, part.owner_pid);
	} else {
		table_release(table, kept, (enum keeper_state)part.state);
	}
	kept->since_monotonic_ns = part.since_monotonic_ns;
	kept->since_realtime_ns = part.since_realtime_ns;
	kept->owner_pid = part.owner_pid;
	kept->surrogate = part.surrogate;
	kept->reported = part.is_reported != 0;
	if (part.is_watched != 0) {
		watch_resume(kept);
	}
	kept->watch.size_bytes = part.watch_size_bytes;
	kept->watch.mtime_ns = part.watch_mtime_ns;
	kept->watch.touched = part.touched;
	return kept;
}

static void load_openers(struct kept *kept, struct state_reader *reader)
{
	struct openers_part part = { .ctime_ns = 0 };

	state_get(reader, &part, sizeof(part));
	if (kept != NULL && kept->watch.file != NULL) {
		kept->watch.file->ctime_ns = part.ctime_ns;
		openers_restore(&kept->watch.file->openers, part.openers);
	}
}

const char *keeper_state_load(struct keeper *keeper, const char *facility,
			      struct state_reader *reader)
{
	struct peer *owner = NULL;
	struct kept *kept = NULL;
	uint32_t count = UINT32_MAX;
	uint32_t pid = 0;
	int result = 0;

	if (!state_next(reader) || reader->type != STATE_KEEPER) {
		return "it does not begin with the keeper itself";
	}
	result = load_keeper(keeper, facility, reader);
	if (result < 0) {
		return strerror(-result);
	}
	while (count == UINT32_MAX && state_next(reader)) {
		switch (reader->type) {
		case STATE_GONE:
			state_get(reader, &pid, sizeof(pid));
			peer_remember_gone((pid_t)pid);
			break;
		case STATE_PEER:
			owner = load_peer(keeper, reader);
			if (owner == NULL) {
				return "the connection of an smbd child";
			}
			break;
		case STATE_KEPT:
			kept = load_kept(keeper, owner, reader);
			if (kept == NULL) {
				return "a kept descriptor";
			}
			break;
		case STATE_OPENERS:
			load_openers(kept, reader);
			break;
		case STATE_CONTROL:
			control_restore(keeper, reader);
			break;
		case STATE_END:
			state_get(reader, &count, sizeof(count));
			break;
		default:
			return "a record of an unknown type";
		}
	}
	if (reader->failed || count != keeper->table.count) {
		return "it is not complete";
	}
	return NULL;
}
