/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "descriptors.h"
#include "durability.h"
#include "import.h"
#include "lock_sequence.h"
#include "persistd.h"
#include "records.h"
#include "records_import.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/* For each question to the keeper, and of one open. */
#define IMPORT_ANSWER_NS (200 * CLOCK_NS_PER_MS)

/* Of a tree connect, where probably nothing is to be done. */
#define IMPORT_LOOK_NS (100 * CLOCK_NS_PER_MS)

/* Of a tree connect, where handles are known to be missing. */
#define IMPORT_CONNECT_NS (5 * CLOCK_NS_PER_S)

static void tell(const struct wire_record *record, const char *failure)
{
	msgpack_sbuffer event = { 0 };

	msgpack_sbuffer_init(&event);
	if (failure == NULL) {
		wire_event_imported(&event, record->cookie, records_epoch());
	} else {
		DBG_WARNING("the handle of %s on %s cannot be brought back: "
			    "%s\n", record->user, record->path, failure);
		wire_event_import_failed(&event, record->cookie, failure);
	}
	link_queue(record->cookie, &event);
}

/* By a living smbd child, which tells of it itself. */
static bool is_held(const struct wire_record *record)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct smbXsrv_open_global0 *global = NULL;
	bool alive = records_open_read(frame, record->persistent_id,
				       &global) == RECORDS_OPEN_ALIVE;

	TALLOC_FREE(frame);
	return alive;
}

/* False: it does not answer. */
static bool ask_keeper(const struct wire_import *handle, uint64_t deadline_ns,
		       struct records_import *in, const char **failure)
{
	const struct wire_record *r = &handle->record;
	struct descriptors_note note = { .length = 0 };
	int fd = -1;
	int status = descriptors_take(r->cookie, deadline_ns, &fd, &note);

	if (status != 0) {
		*failure = "descriptor-lost";
		return status == -ENOENT;
	}
	if (fstat(fd, &in->st) == -1 || in->st.st_dev != r->dev ||
	    in->st.st_ino != r->ino) {
		*failure = "file";
	}
	close(fd);
	in->sequence = lock_sequence_read(&note);
	if (*failure != NULL) {
		return true;
	}
	if (handle->protected) {
		return descriptors_park_protected(r->cookie, deadline_ns,
						  &in->surrogate);
	}
	return descriptors_park(r->cookie, deadline_ns);
}

static const char *failure_of(enum records_import_result result)
{
	switch (result) {
	case RECORDS_IMPORT_DONE:
	case RECORDS_IMPORT_HELD:
		return NULL;
	case RECORDS_IMPORT_SUPERSEDED:
		return "superseded";
	case RECORDS_IMPORT_FAILED:
		return "records";
	}
	return "records";
}

/* False: without the keeper nothing is known; the next one tries again. */
static bool import_one(struct connection_struct *conn,
		       const struct wire_import *handle)
{
	struct records_import in = { .conn = conn, .handle = handle };
	uint64_t deadline_ns = clock_monotonic_ns() + IMPORT_ANSWER_NS;
	enum records_import_result result = RECORDS_IMPORT_FAILED;
	const char *failure = NULL;

	if (is_held(&handle->record)) {
		return true;
	}
	if (!ask_keeper(handle, deadline_ns, &in, &failure)) {
		return false;
	}
	if (failure == NULL) {
		result = records_import(&in);
		failure = failure_of(result);
	}
	/* about one that a living child still has, that child tells */
	if (result != RECORDS_IMPORT_HELD) {
		tell(&handle->record, failure);
	}
	return true;
}

/* link_ask() or link_try() */
typedef bool (*link_asker)(const msgpack_sbuffer *question, uint64_t seq,
			   uint64_t deadline_ns,
			   enum wire_reply_type expected,
			   struct wire_reply *reply);

enum imported {
	IMPORTED_ALL,
	IMPORTED_SOME,   /* there are more */
	IMPORTED_NOTHING, /* persistd or the keeper is away */
};

static enum imported import_some(struct connection_struct *conn,
				 const char *share, uint64_t dev, uint64_t ino,
				 uint64_t deadline_ns, link_asker ask)
{
	uint64_t seq = link_next_seq();
	struct wire_reply reply = { .type = WIRE_REPLY_ERROR };
	struct GUID_ndr_buf guid = { .buf = { 0 } };
	msgpack_sbuffer question = { 0 };
	enum imported result = IMPORTED_NOTHING;
	size_t done = 0;
	size_t i = 0;

	msgpack_sbuffer_init(&question);
	GUID_to_ndr_buf(&conn->sconn->client->global->client_guid, &guid);
	wire_pack_import(&question, seq, link_self(), records_epoch(),
			 guid.buf, share, dev, ino);
	if (ask(&question, seq, deadline_ns, WIRE_REPLY_IMPORTS, &reply)) {
		/* persistd knows of descriptors from the keeper only */
		if (reply.imports->count > 0) {
			(void)descriptors_ready_now();
		}
		for (i = 0; i < reply.imports->count; i++) {
			done += import_one(conn, &reply.imports->handles[i]);
		}
		if (done == reply.imports->count) {
			result = reply.imports->more ? IMPORTED_SOME :
						       IMPORTED_ALL;
		}
		wire_reply_free(&reply);
		link_flush();
	}
	msgpack_sbuffer_destroy(&question);
	return result;
}

static bool import_all(struct connection_struct *conn, const char *share,
		       uint64_t deadline_ns, link_asker ask)
{
	enum imported result = IMPORTED_SOME;

	while (result == IMPORTED_SOME && clock_monotonic_ns() < deadline_ns) {
		result = import_some(conn, share, 0, 0, deadline_ns, ask);
	}
	if (result == IMPORTED_ALL) {
		records_set_complete(share);
	}
	return result == IMPORTED_ALL;
}

/* Whether handles of the share may be about to be made again. */
static bool is_being_remade(const struct connection_struct *conn)
{
	return !descriptors_are_all() && durability_may_be_host(conn);
}

/* Whether handles of a share are away that smbd may know nothing of. */
static bool is_incomplete(const struct connection_struct *conn,
			  const char *share)
{
	return descriptors_any_orphaned() ||
	       (descriptors_any_away() && !records_are_complete(share)) ||
	       is_being_remade(conn);
}

static bool import_within(struct connection_struct *conn, uint64_t patient_ns)
{
	const struct loadparm_substitution *lp_sub =
		loadparm_s3_global_substitution();
	uint64_t now_ns = clock_monotonic_ns();
	TALLOC_CTX *frame = talloc_stackframe();
	char *share = lp_servicename(frame, lp_sub, SNUM(conn));
	bool done = true;

	/* without the keeper there is nothing to import, or not yet */
	if (share == NULL ||
	    (!descriptors_ready() && !is_being_remade(conn))) {
		goto out;
	}
	if (is_incomplete(conn, share)) {
		done = import_all(conn, share, now_ns + patient_ns, link_ask);
	} else if (descriptors_any_away()) {
		/* of one that has just gone: did its smbd child get that far? */
		(void)import_all(conn, share, now_ns + IMPORT_LOOK_NS,
				 link_try);
	} else {
		/* all that comes into smbd's databases now is known to it */
		records_set_complete(share);
	}
out:
	TALLOC_FREE(frame);
	return done;
}

void import_at_connect(struct connection_struct *conn)
{
	if (!import_within(conn, IMPORT_CONNECT_NS)) {
		DBG_ERR("handles that clients may come back to are not in "
			"smbd's records, since persistd or fdkeeper does not "
			"answer: whoever opens their files gets them\n");
	}
}

bool import_of_sibling(struct connection_struct *conn)
{
	return !link_is_lost() && import_within(conn, IMPORT_ANSWER_NS);
}

void import_file(struct connection_struct *conn, const SMB_STRUCT_STAT *st)
{
	uint64_t deadline_ns = clock_monotonic_ns() + IMPORT_ANSWER_NS;
	TALLOC_CTX *frame = NULL;
	struct file_id id = { 0 };

	if (!is_clients_connection(conn) || !VALID_STAT(*st) ||
	    !S_ISREG(st->st_ex_mode) ||
	    (!descriptors_maybe_kept(st->st_ex_dev, st->st_ex_ino) &&
	     !is_being_remade(conn))) {
		return;
	}
	frame = talloc_stackframe();
	id = vfs_file_id_from_sbuf(conn, st);
	if (records_owner_died(&id)) {
		while (import_some(conn, NULL, st->st_ex_dev, st->st_ex_ino,
				   deadline_ns, link_ask) == IMPORTED_SOME &&
		       clock_monotonic_ns() < deadline_ns) {
			continue;
		}
	}
	TALLOC_FREE(frame);
}
