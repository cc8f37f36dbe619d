/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The byte-range locks of opens that are away: brlock.tdb. */
#include "samba_compat.h"
#include "fault.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_LOCKING

struct records_lock_owner records_no_owner(void)
{
	struct records_lock_owner none = {
		.tid = TID_FIELD_INVALID,
		.fnum = FNUM_FIELD_INVALID,
	};

	server_id_set_disconnected(&none.pid);
	return none;
}

struct records_lock_owner records_owner(const struct files_struct *fsp)
{
	return (struct records_lock_owner) {
		.pid = messaging_server_id(fsp->conn->sconn->msg_ctx),
		.tid = fsp->conn->cnum,
		.fnum = fsp->fnum,
	};
}

static struct db_context *lock_db(void)
{
	static struct db_context *db = NULL;

	if (db == NULL) {
		db = records_open_db("brlock.tdb",
				     SMB_OPEN_DATABASE_TDB_HASH_SIZE,
				     TDB_VOLATILE|TDB_SEQNUM, 0644,
				     DBWRAP_LOCK_ORDER_2);
	}
	return db;
}

struct locks_state {
	TALLOC_CTX *mem_ctx;
	uint64_t persistent_id;
	const struct records_lock_owner *to; /* NULL: delete */
	struct lock_struct *locks;
	size_t num_locks;
	bool ok;
};

static void change_locks_fn(struct db_record *rec, TDB_DATA value,
			    void *private_data)
{
	struct locks_state *state = private_data;
	size_t num = value.dsize / sizeof(struct lock_struct);
	size_t changed = 0;
	size_t kept = 0;
	size_t i = 0;
	TDB_DATA out = { 0 };
	NTSTATUS status;

	state->ok = true;
	if (num == 0) {
		return;
	}
	state->locks = talloc_memdup(state->mem_ctx, value.dptr,
				     num * sizeof(struct lock_struct));
	if (state->locks == NULL) {
		state->ok = false;
		return;
	}
	for (i = 0; i < num; i++) {
		struct lock_struct *l = &state->locks[i];

		if (l->context.smblctx == state->persistent_id) {
			changed += 1;
			if (state->to == NULL) {
				continue;
			}
			l->context.pid = state->to->pid;
			l->context.tid = state->to->tid;
			l->fnum = state->to->fnum;
		}
		state->locks[kept++] = *l;
	}
	state->num_locks = kept;
	if (changed == 0) {
		return;
	}
	if (kept == 0) {
		status = dbwrap_record_delete(rec);
	} else {
		out = make_tdb_data((uint8_t *)state->locks,
				    kept * sizeof(struct lock_struct));
		status = dbwrap_record_store(rec, out, TDB_REPLACE);
	}
	state->ok = NT_STATUS_IS_OK(status);
}

static bool change_locks(const struct file_id *id, struct locks_state *state)
{
	struct db_context *db = lock_db();
	struct file_id key = *id;
	NTSTATUS status;

	if (db == NULL) {
		return false;
	}
	fault_point("locks.before-change");
	status = dbwrap_do_locked(
		db, make_tdb_data((uint8_t *)&key, sizeof(key)),
		change_locks_fn, state);
	fault_point("locks.after-change");
	return NT_STATUS_IS_OK(status) && state->ok;
}

bool records_move_locks(TALLOC_CTX *mem_ctx, const struct file_id *id,
			uint64_t persistent_id,
			const struct records_lock_owner *to,
			struct lock_struct **locks, size_t *num_locks)
{
	struct locks_state state = {
		.mem_ctx = mem_ctx,
		.persistent_id = persistent_id,
		.to = to,
	};
	bool ok = change_locks(id, &state);

	*locks = state.locks;
	*num_locks = state.num_locks;
	return ok;
}

bool records_delete_locks(const struct file_id *id, uint64_t persistent_id)
{
	struct locks_state state = {
		.mem_ctx = talloc_tos(),
		.persistent_id = persistent_id,
	};
	bool ok = change_locks(id, &state);

	TALLOC_FREE(state.locks);
	return ok;
}

struct count_state {
	uint64_t persistent_id;
	uint32_t count;
};

static void count_locks_fn(TDB_DATA key, TDB_DATA value, void *private_data)
{
	struct count_state *state = private_data;
	size_t num = value.dsize / sizeof(struct lock_struct);
	size_t i = 0;

	for (i = 0; i < num; i++) {
		struct lock_struct l = { .start = 0 };

		memcpy(&l, value.dptr + i * sizeof(l), sizeof(l));
		state->count +=
			l.context.smblctx == state->persistent_id;
	}
}

static void parse_locks(const struct file_id *id,
			void (*parser)(TDB_DATA, TDB_DATA, void *),
			void *private_data)
{
	struct db_context *db = lock_db();
	struct file_id key = *id;

	if (db != NULL) {
		(void)dbwrap_parse_record(
			db, make_tdb_data((uint8_t *)&key, sizeof(key)),
			parser, private_data);
	}
}

uint32_t records_count_locks(const struct file_id *id, uint64_t persistent_id)
{
	struct count_state state = { .persistent_id = persistent_id };

	parse_locks(id, count_locks_fn, &state);
	return state.count;
}

struct conflict_state {
	const struct lock_struct *plock;
	bool found;
};

static bool overlap(const struct lock_struct *a, const struct lock_struct *b)
{
	/* a lock of no bytes lies between two (MS-FSA 2.1.4.10) */
	if (a->size == 0 || b->size == 0) {
		return false;
	}
	return a->start <= b->start + (b->size - 1) &&
	       b->start <= a->start + (a->size - 1);
}

/* Of a disconnected open, or of a handle whose smbd child has just died. */
static bool is_away(const struct lock_struct *l)
{
	TALLOC_CTX *frame = NULL;
	struct smbXsrv_open_global0 *global = NULL;
	struct persistent_cookie c = { .is_pathref = false };
	bool died = false;

	if (server_id_is_disconnected(&l->context.pid)) {
		return true;
	}
	if (records_is_alive(&l->context.pid)) {
		return false;
	}
	frame = talloc_stackframe();
	died = records_open_read(frame, l->context.smblctx, &global) ==
		       RECORDS_OPEN_DEAD &&
	       cookie_pull(&global->backend_cookie, &c);
	TALLOC_FREE(frame);
	return died;
}

static void find_conflict_fn(TDB_DATA key, TDB_DATA value, void *private_data)
{
	struct conflict_state *state = private_data;
	const struct lock_struct *want = state->plock;
	size_t num = value.dsize / sizeof(struct lock_struct);
	size_t i = 0;

	for (i = 0; i < num && !state->found; i++) {
		struct lock_struct l = { .start = 0 };

		memcpy(&l, value.dptr + i * sizeof(l), sizeof(l));
		state->found = l.context.smblctx != want->context.smblctx &&
			       (l.lock_type != READ_LOCK ||
				want->lock_type != READ_LOCK) &&
			       overlap(&l, want) && is_away(&l);
	}
}

bool records_lock_away(const struct file_id *id,
			       const struct lock_struct *plock)
{
	struct conflict_state state = { .plock = plock };

	parse_locks(id, find_conflict_fn, &state);
	return state.found;
}

struct add_state {
	const struct lock_struct *add;
	size_t num;
	bool ok;
};

static void add_locks_fn(struct db_record *rec, TDB_DATA value,
			 void *private_data)
{
	struct add_state *state = private_data;
	TDB_DATA bufs[] = {
		value,
		{
			.dptr = discard_const_p(uint8_t, state->add),
			.dsize = state->num * sizeof(*state->add),
		},
	};

	state->ok = NT_STATUS_IS_OK(
		dbwrap_record_storev(rec, bufs, ARRAY_SIZE(bufs), 0));
}

bool records_add_locks(const struct file_id *id, const struct lock_struct *add,
		       size_t num)
{
	struct add_state state = { .add = add, .num = num };
	struct db_context *db = lock_db();
	struct file_id key = *id;
	NTSTATUS status;

	if (db == NULL) {
		return false;
	}
	status = dbwrap_do_locked(
		db, make_tdb_data((uint8_t *)&key, sizeof(key)), add_locks_fn,
		&state);
	return NT_STATUS_IS_OK(status) && state.ok;
}

struct has_state {
	uint64_t persistent_id;
	uint64_t start;
	uint64_t size;
	bool found;
};

static void has_lock_fn(TDB_DATA key, TDB_DATA value, void *private_data)
{
	struct has_state *state = private_data;
	size_t num = value.dsize / sizeof(struct lock_struct);
	size_t i = 0;

	for (i = 0; i < num && !state->found; i++) {
		struct lock_struct l = { .start = 0 };

		memcpy(&l, value.dptr + i * sizeof(l), sizeof(l));
		state->found = l.context.smblctx == state->persistent_id &&
			       l.start == state->start &&
			       l.size == state->size;
	}
}

bool records_has_lock(const struct file_id *id, uint64_t persistent_id,
		      uint64_t start, uint64_t size)
{
	struct has_state state = {
		.persistent_id = persistent_id,
		.start = start,
		.size = size,
	};

	parse_locks(id, has_lock_fn, &state);
	return state.found;
}
