// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <string.h>

#include "../../vfs_module/fault.h"
#include "data.h"
#include "log.h"
#include "report.h"

/* A request that has no reply and makes no sense: counted, else ignored. */
static void ignore(struct peer *peer, const char *request, const char *why)
{
	peer->keeper->protocol_errors++;
	log_line("smbd child %d: ignored %s: %s", (int)peer->pid, request,
		 why);
}

static bool owns(const struct peer *peer, const struct kept *kept)
{
	return kept->owner == &peer->owned;
}

static bool held_by_another(const struct peer *peer, const struct kept *kept)
{
	return kept->state == KEEPER_HELD && !owns(peer, kept);
}

static void drop(struct keeper *keeper, struct kept *kept)
{
	fault_point("keeper.before-drop");
	report_gone(keeper, kept);
	table_remove(&keeper->table, kept);
	fault_point("keeper.after-drop");
}

/* Takes the one descriptor of `packet` out of it if it keeps it. */
static int deposit(struct peer *peer, struct packet *packet)
{
	static const uint8_t no_cookie[KEEPER_COOKIE_SIZE];
	struct keeper *keeper = peer->keeper;
	const uint8_t *cookie = packet->header.cookie;
	struct kept *kept = NULL;
	bool was_orphaned = false;
	int result = 0;

	if (packet->fds_lost || packet->fd_count != 1) {
		return -EBADMSG;
	}
	if (packet->header.length > KEEPER_MAX_RECORD) {
		return -EMSGSIZE;
	}
	if (memcmp(cookie, no_cookie, sizeof(no_cookie)) == 0) {
		return -EINVAL;
	}
	kept = table_find(&keeper->table, cookie);
	if (kept == NULL) {
		if (keeper_is_full(keeper)) {
			return -EMFILE;
		}
		result = table_insert(&keeper->table, cookie, packet->fds[0],
				      &kept);
		if (result < 0) {
			return result;
		}
		packet->fd_count = 0;
		result = kept_set_record(kept, packet->payload,
					 (uint16_t)packet->header.length);
		if (result < 0) {
			table_remove(&keeper->table, kept);
			return result;
		}
	} else {
		/* A child that lost its connection deposits all anew. */
		was_orphaned = kept->state == KEEPER_ORPHANED;
		if (!was_orphaned && !owns(peer, kept)) {
			return -EEXIST;
		}
		result = kept_set_record(kept, packet->payload,
					 (uint16_t)packet->header.length);
		if (result < 0) {
			return result;
		}
		result = table_replace_fd(&keeper->table, kept,
					  packet->fds[0]);
		if (result < 0) {
			return result;
		}
		packet->fd_count = 0;
	}
	table_hold(&keeper->table, kept, &peer->owned, (uint32_t)peer->pid);
	if (was_orphaned) {
		report_change(keeper, kept);
	} else {
		report_deposit(keeper, kept);
	}
	return 0;
}

static void serve_deposit(struct peer *peer, struct packet *packet)
{
	static int last_refusal;
	struct keeper *keeper = peer->keeper;
	int result = 0;

	fault_point("keeper.before-deposit");
	result = deposit(peer, packet);
	fault_point("keeper.after-deposit");
	if (result < 0) {
		keeper->refused++;
		/* Once per cause: a full table refuses every deposit. */
		if (result != last_refusal) {
			log_line("refused a deposit of smbd child %d: %s (%u "
				 "of %u descriptors kept)", (int)peer->pid,
				 strerror(-result), keeper->table.count,
				 keeper->max_descriptors);
		}
		peer_status(peer, packet, result);
		report_refused(keeper, packet->header.cookie, result);
	}
	last_refusal = result;
}

/* A thread for `kept`; -EAGAIN, whatever the cause, if there can be none. */
static int protect(struct peer *peer, struct kept *kept)
{
	static int last_failure;
	int result = 0;

	fault_point("keeper.before-surrogate");
	result = surrogate_start(&kept->surrogate);
	fault_point("keeper.after-surrogate");

	/* Once per cause, like refusals. */
	if (result < 0 && result != last_failure) {
		log_line("cannot make a thread to protect a descriptor of "
			 "smbd child %d: %s (raise TasksMax= in the unit)",
			 (int)peer->pid, strerror(-result));
	}
	last_failure = result;
	return result < 0 ? -EAGAIN : 0;
}

static int park(struct peer *peer, struct kept *kept, uint8_t how)
{
	struct keeper *keeper = peer->keeper;
	int result = 0;

	if (kept == NULL) {
		return -ENOENT;
	}
	if (held_by_another(peer, kept)) {
		return -EPERM;
	}
	if (how > KEEPER_PARK_PROTECT) {
		return -EINVAL;
	}
	if (how == KEEPER_PARK_PROTECT && kept->surrogate == 0) {
		result = protect(peer, kept);
		if (result < 0) {
			return result;
		}
	}
	if (owns(peer, kept)) {
		table_release(&keeper->table, kept, KEEPER_PARKED);
	} else if (kept->state == KEEPER_ORPHANED) {
		table_park_abandoned(&keeper->table, kept);
	} else {
		/* parked already: an import looks after it, nothing is new */
		return 0;
	}
	report_change(keeper, kept);
	return 0;
}

static void serve_park(struct peer *peer, struct packet *packet)
{
	struct kept *kept = table_find(&peer->keeper->table,
				       packet->header.cookie);
	uint8_t how = packet->payload[0];
	struct reply *reply = NULL;
	int result = 0;

	fault_point("keeper.before-park");
	result = park(peer, kept, how);
	fault_point("keeper.after-park");
	if (result < 0 || how != KEEPER_PARK_PROTECT) {
		peer_status(peer, packet, result);
		return;
	}
	reply = peer_begin_reply(packet, 0);
	reply->surrogate = kept->surrogate;
	peer_reply(peer, reply, sizeof(reply->surrogate), -1);
}

/* For an import: PARK, and all that it has to know of the descriptor. */
static void serve_look(struct peer *peer, struct packet *packet)
{
	struct kept *kept = table_find(&peer->keeper->table,
				       packet->header.cookie);
	struct reply *reply = NULL;
	struct stat st;
	int result = 0;

	fault_point("keeper.before-look");
	result = park(peer, kept, packet->payload[0]);
	if (result == 0 && fstat(kept->fd, &st) == -1) {
		result = -errno;
	}
	fault_point("keeper.after-look");
	if (result < 0) {
		peer_status(peer, packet, result);
		return;
	}
	reply = peer_begin_reply(packet, 0);
	reply->look.surrogate = kept->surrogate;
	reply->look.st = st;
	if (kept->note_length > 0) {
		memcpy(reply->look.note, kept->note, kept->note_length);
	}
	peer_reply(peer, reply,
		   offsetof(struct reply, look.note) -
			   offsetof(struct reply, look) + kept->note_length,
		   -1);
}

static void serve_take(struct peer *peer, struct packet *packet)
{
	struct kept *kept = table_find(&peer->keeper->table,
				       packet->header.cookie);

	struct reply *reply = NULL;

	fault_point("keeper.before-take");
	if (kept == NULL) {
		peer_status(peer, packet, -ENOENT);
		return;
	}
	reply = peer_begin_reply(packet, 0);
	if (kept->note_length > 0) {
		memcpy(reply->note, kept->note, kept->note_length);
	}
	peer_reply(peer, reply, kept->note_length, kept->fd);
	fault_point("keeper.after-take");
}

/* Out of memory: what was noted before is stale, and worse than nothing. */
static void serve_note(struct peer *peer, struct packet *packet)
{
	struct kept *kept = table_find(&peer->keeper->table,
				       packet->header.cookie);

	if (kept == NULL) {
		return; /* it may cross the REFUSED of its deposit */
	}
	if (!owns(peer, kept)) {
		ignore(peer, "NOTE", "another smbd child holds it");
		return;
	}
	fault_point("keeper.before-note");
	if (kept_set_note(kept, packet->payload,
			  (uint16_t)packet->header.length) < 0) {
		(void)kept_set_note(kept, NULL, 0);
	}
	fault_point("keeper.after-note");
}

static void serve_adopt(struct peer *peer, struct packet *packet)
{
	struct keeper *keeper = peer->keeper;
	struct kept *kept = table_find(&keeper->table, packet->header.cookie);

	fault_point("keeper.before-adopt");
	if (kept == NULL) {
		ignore(peer, "ADOPT", "no such cookie");
		return;
	}
	if (held_by_another(peer, kept)) {
		ignore(peer, "ADOPT", "another smbd child holds it");
		return;
	}
	/* Out of memory: the former record is better than none. */
	(void)kept_set_record(kept, packet->payload,
			      (uint16_t)packet->header.length);
	table_hold(&keeper->table, kept, &peer->owned, (uint32_t)peer->pid);
	report_change(keeper, kept);
	fault_point("keeper.after-adopt");
}

/* A DROP may cross the REFUSED of its deposit: not knowing it is no error. */
static void serve_drop(struct peer *peer, struct packet *packet)
{
	struct keeper *keeper = peer->keeper;
	struct kept *kept = table_find(&keeper->table, packet->header.cookie);

	if (kept == NULL) {
		return;
	}
	if (held_by_another(peer, kept)) {
		ignore(peer, "DROP", "another smbd child holds it");
		return;
	}
	drop(keeper, kept);
}

static void serve_drop_sync(struct peer *peer, struct packet *packet)
{
	struct keeper *keeper = peer->keeper;
	struct kept *kept = table_find(&keeper->table, packet->header.cookie);
	int32_t status = 0;

	if (kept == NULL) {
		status = -ENOENT;
	} else if (held_by_another(peer, kept)) {
		status = -EPERM;
	} else {
		drop(keeper, kept);
	}
	peer_status(peer, packet, status);
}

static void serve_query(struct peer *peer, struct packet *packet)
{
	struct reply *reply = peer_begin_reply(packet, 0);
	struct keeper_query query = { .dev = 0 };
	uint32_t count = 0;

	memcpy(&query, packet->payload, sizeof(query));
	count = table_query(&peer->keeper->table, query.dev, query.ino,
			    reply->cookies, REPLY_COOKIES);
	peer_reply(peer, reply, count * KEEPER_COOKIE_SIZE, -1);
}

static const struct request {
	uint32_t min_payload;
	uint32_t max_payload;
	void (*serve)(struct peer *peer, struct packet *packet);
} requests[] = {
	[KEEPER_DEPOSIT] = { 0, KEEPER_MAX_PAYLOAD, serve_deposit },
	[KEEPER_PARK] = { 1, 1, serve_park },
	[KEEPER_TAKE] = { 0, 0, serve_take },
	[KEEPER_ADOPT] = { 0, KEEPER_MAX_RECORD, serve_adopt },
	[KEEPER_DROP] = { 0, 0, serve_drop },
	[KEEPER_QUERY] = { sizeof(struct keeper_query),
			   sizeof(struct keeper_query), serve_query },
	[KEEPER_DROP_SYNC] = { 0, 0, serve_drop_sync },
	[KEEPER_NOTE] = { 1, KEEPER_MAX_NOTE, serve_note },
	[KEEPER_LOOK] = { 1, 1, serve_look },
};

/* What is wrong with the packet, in words, or NULL. */
static const char *packet_fault(const struct packet *packet)
{
	const struct keeper_header *header = &packet->header;
	const struct request *request = NULL;
	const char *fault = header_fault(header);

	if (fault != NULL) {
		return fault;
	}
	if (header->type >= sizeof(requests) / sizeof(requests[0]) ||
	    requests[header->type].serve == NULL) {
		return "unknown type";
	}
	request = &requests[header->type];
	if (header->length < request->min_payload ||
	    header->length > request->max_payload) {
		return "payload of the wrong size for its type";
	}
	if (header->type != KEEPER_DEPOSIT &&
	    (packet->fd_count > 0 || packet->fds_lost)) {
		return "a descriptor where none belongs";
	}
	return NULL;
}

const char *data_serve(struct peer *peer, struct packet *packet)
{
	const char *fault = packet_fault(packet);

	if (fault == NULL) {
		requests[packet->header.type].serve(peer, packet);
	}
	return fault;
}
