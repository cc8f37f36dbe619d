/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "descriptors.h"
#include "durability.h"
#include "fault.h"
#include "handle.h"
#include "import.h"
#include "lock_sequence.h"
#include "persistd.h"
#include "records.h"
#include "records_import.h"
#include "unsafe.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/* For each question to the keeper, and of one open. */
#define IMPORT_ANSWER_NS (200 * CLOCK_NS_PER_MS)

/* For each answer, at a tree connect where probably nothing is to be done. */
#define IMPORT_LOOK_NS (100 * CLOCK_NS_PER_MS)

/* Where handles are known to be missing. */
#define IMPORT_PATIENCE_NS (5 * CLOCK_NS_PER_S)

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

/* Which handles are to be put right. */
struct wanted {
	struct connection_struct *conn;
	const char *share; /* all of it; NULL: only those of the file */
	uint64_t dev;
	uint64_t ino;
	bool missed;       /* import_missed() */
};

/* What the keeper has of it is no descriptor of this file. NULL: it is. */
static const char *unfit(const struct wire_record *r,
			 const struct descriptors_look *look)
{
	if (look->status == -ENOENT) {
		return "descriptor-lost";
	}
	if (look->st.st_dev != r->dev || look->st.st_ino != r->ino) {
		return "file";
	}
	return NULL;
}

/* False: without the keeper nothing is known; the next one tries again. */
static bool import_one(const struct wanted *w,
		       const struct wire_import *handle,
		       const struct descriptors_look *look)
{
	const struct records_import in = {
		.conn = w->conn,
		.handle = handle,
		.entry_just_deleted = w->missed,
		.st = look->st,
		.sequence = lock_sequence_read(&look->note),
		.surrogate = look->surrogate,
	};
	enum records_import_result result = RECORDS_IMPORT_FAILED;
	const char *failure = NULL;

	if (look->status == -EPERM) {
		return true; /* an smbd child has just got it */
	}
	if (look->status != 0 && look->status != -ENOENT) {
		return false;
	}
	if (look->status == 0 && handle->protected && look->surrogate == 0) {
		return false;
	}
	failure = unfit(&handle->record, look);
	if (failure != NULL && is_held(&handle->record)) {
		return true;
	}
	if (failure == NULL) {
		result = records_import(&in);
		failure = failure_of(result);
	}
	fault_point("import.before-event");
	/* about one that a living child still has, that child tells */
	if (result != RECORDS_IMPORT_HELD) {
		tell(&handle->record, failure);
	}
	fault_point("import.after-event");
	return true;
}

static bool import_each(const struct wanted *w,
			const struct wire_imports *imports)
{
	const struct wire_import *handles[WIRE_IMPORTS_MAX] = { NULL };
	struct descriptors_look looks[WIRE_IMPORTS_MAX] = { 0 };
	size_t done = 0;
	size_t n = 0;
	size_t i = 0;

	for (i = 0; i < imports->count; i++) {
		const struct wire_import *handle = &imports->handles[i];

		/* this child's own would be parked */
		if (handle_find(handle->record.cookie) == NULL) {
			looks[n].cookie = handle->record.cookie;
			looks[n].protect = handle->protected;
			handles[n++] = handle;
		}
	}
	fault_point("import.before-look");
	descriptors_look_at(looks, n, clock_monotonic_ns() + IMPORT_ANSWER_NS);
	fault_point("import.after-look");
	for (i = 0; i < n; i++) {
		done += import_one(w, handles[i], &looks[i]);
	}
	return done == n;
}

/* link_ask(), link_try() or link_insist() */
typedef bool (*link_asker)(const msgpack_sbuffer *question, uint64_t seq,
			   uint64_t deadline_ns,
			   enum wire_reply_type expected,
			   struct wire_reply *reply);

enum imported {
	IMPORTED_ALL,
	IMPORTED_SOME,   /* there are more */
	IMPORTED_NOTHING, /* persistd or the keeper is away */
};

static void pack_question(const struct wanted *w, uint64_t seq,
			  uint64_t round, msgpack_sbuffer *question)
{
	struct GUID_ndr_buf guid = { .buf = { 0 } };

	GUID_to_ndr_buf(&w->conn->sconn->client->global->client_guid, &guid);
	msgpack_sbuffer_init(question);
	wire_pack_import(question, seq, link_self(), records_epoch(),
			 guid.buf, w->share, w->dev, w->ino, round);
}

/* In a new round: what was told in the one before is to be told again. */
static bool ask_now(const struct wanted *w, uint64_t deadline_ns,
		    link_asker ask, uint64_t *round, struct wire_reply *reply)
{
	uint64_t seq = link_next_seq();
	msgpack_sbuffer question = { 0 };
	bool ok = false;

	*round = seq;
	pack_question(w, seq, seq, &question);
	fault_point("import.before-question");
	ok = ask(&question, seq, deadline_ns, WIRE_REPLY_IMPORTS, reply);
	fault_point("import.after-answer");
	msgpack_sbuffer_destroy(&question);
	return ok;
}

/* persistd finds the next ones while these are done. */
static void ask_ahead(const struct wanted *w, uint64_t round)
{
	uint64_t seq = link_next_seq();
	msgpack_sbuffer question = { 0 };

	pack_question(w, seq, round, &question);
	link_ask_ahead(&question, seq);
	msgpack_sbuffer_destroy(&question);
}

static enum imported import_these(const struct wanted *w, uint64_t round,
				  const struct wire_imports *imports)
{
	bool done = true;

	if (imports->count > 0) {
		/* persistd knows of descriptors from the keeper only */
		(void)descriptors_ready_now();
		if (imports->more) {
			ask_ahead(w, round);
		}
		done = import_each(w, imports);
		link_flush();
	}
	if (!done) {
		return IMPORTED_NOTHING;
	}
	return imports->more ? IMPORTED_SOME : IMPORTED_ALL;
}

/* silence_ns: for each answer of persistd */
static bool import_while_answered(const struct wanted *w, uint64_t budget_ns,
				  uint64_t silence_ns, link_asker ask)
{
	uint64_t now_ns = clock_monotonic_ns();
	uint64_t end_ns = now_ns + budget_ns;
	enum imported result = IMPORTED_SOME;
	uint64_t round = 0;

	while (result == IMPORTED_SOME && now_ns < end_ns) {
		struct wire_reply reply = { .type = WIRE_REPLY_ERROR };
		uint64_t deadline_ns = MIN(end_ns, now_ns + silence_ns);

		if (!link_answer_ahead(deadline_ns, WIRE_REPLY_IMPORTS,
				       &reply) &&
		    !ask_now(w, deadline_ns, ask, &round, &reply)) {
			break;
		}
		result = import_these(w, round, reply.imports);
		wire_reply_free(&reply);
		now_ns = clock_monotonic_ns();
	}
	link_forget_ahead();
	if (result == IMPORTED_ALL && w->share != NULL) {
		records_set_complete(w->share);
	}
	return result == IMPORTED_ALL;
}

static bool import_wanted(const struct wanted *w, uint64_t budget_ns,
			  link_asker ask)
{
	return import_while_answered(w, budget_ns, budget_ns, ask);
}

/*
 * Whether handles of the share may be about to be made again. Where there is no
 * keeper, only those that outlive the host are worth a wait for one.
 */
static bool is_being_remade(const struct connection_struct *conn)
{
	return !descriptors_are_all() &&
	       (descriptors_ready() || durability_may_be_host(conn));
}

/* Whether handles of a share are away that smbd may know nothing of. */
static bool lacks_records(const char *share)
{
	return share != NULL && descriptors_any_away() &&
	       !records_are_complete(share);
}

/* patient_ns: for all answers; ask: where handles are known to be missing */
static bool import_within(struct connection_struct *conn, uint64_t patient_ns,
			  link_asker ask)
{
	const struct loadparm_substitution *lp_sub =
		loadparm_s3_global_substitution();
	TALLOC_CTX *frame = talloc_stackframe();
	char *share = lp_servicename(frame, lp_sub, SNUM(conn));
	const struct wanted w = { .conn = conn, .share = share };
	bool done = true;

	/* without the keeper there is nothing to import, or not yet */
	if (share == NULL ||
	    (!descriptors_ready() && !is_being_remade(conn))) {
		goto out;
	}
	if (descriptors_any_orphaned() || lacks_records(share) ||
	    is_being_remade(conn)) {
		done = import_wanted(&w, patient_ns, ask);
	} else if (descriptors_any_away()) {
		/* of one that has just gone: did its smbd child get that far? */
		(void)import_while_answered(&w, patient_ns, IMPORT_LOOK_NS,
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
	if (!import_within(conn, IMPORT_PATIENCE_NS, link_insist)) {
		DBG_ERR("handles that clients may come back to are not in "
			"smbd's records, since persistd or fdkeeper does not "
			"answer: persistent:unsafe decides who may open their "
			"files\n");
	}
}

bool import_of_sibling(struct connection_struct *conn)
{
	return !link_is_lost() &&
	       import_within(conn, IMPORT_ANSWER_NS, link_ask);
}

/*
 * An outage costs each smbd child one long wait. False: nobody knows what is
 * promised to whom.
 */
static bool import_patiently(const struct wanted *w, const struct file_id *id)
{
	static bool waited_in_vain;
	bool done = import_wanted(w, IMPORT_ANSWER_NS, link_insist);

	if (!done && w->share == NULL && !records_promised_to_dead(id)) {
		/* a durable handle gives way to the opener */
		return true;
	}
	if (!done && !waited_in_vain) {
		done = import_wanted(w, IMPORT_PATIENCE_NS, link_insist);
	}
	waited_in_vain = !done;
	return done;
}

NTSTATUS import_file(struct connection_struct *conn,
		     const struct smb_filename *smb_fname, TALLOC_CTX *mem_ctx,
		     struct server_id **owners)
{
	const struct loadparm_substitution *lp_sub =
		loadparm_s3_global_substitution();
	const SMB_STRUCT_STAT *st = &smb_fname->st;
	struct wanted w = {
		.conn = conn,
		.dev = st->st_ex_dev,
		.ino = st->st_ex_ino,
		.missed = *owners != NULL,
	};
	NTSTATUS status = NT_STATUS_OK;
	TALLOC_CTX *frame = NULL;
	struct file_id id = { 0 };

	TALLOC_FREE(*owners);
	if (!is_clients_connection(conn) || !VALID_STAT(*st) ||
	    !S_ISREG(st->st_ex_mode) ||
	    (!descriptors_maybe_kept(st->st_ex_dev, st->st_ex_ino) &&
	     !is_being_remade(conn))) {
		return NT_STATUS_OK;
	}
	frame = talloc_stackframe();
	id = vfs_file_id_from_sbuf(conn, st);
	w.share = lp_servicename(frame, lp_sub, SNUM(conn));
	if (lacks_records(w.share)) {
		w.missed = false;
	} else {
		w.share = NULL;
	}
	if ((records_owner_died(mem_ctx, &id, owners) || w.missed ||
	     w.share != NULL) &&
	    !import_patiently(&w, &id) &&
	    !unsafe_may_open(conn, smb_fname)) {
		status = unsafe_refusal(conn);
	}
	TALLOC_FREE(frame);
	return status;
}

bool import_missed(const struct files_struct *fsp,
		   const struct server_id *owners)
{
	size_t n = talloc_array_length(owners);
	size_t i = 0;

	while (i < n && records_is_alive(&owners[i])) {
		i++;
	}
	return i < n && records_promised_to_dead(&fsp->file_id);
}
