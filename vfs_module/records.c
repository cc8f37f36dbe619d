/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Share-mode entries (locking.tdb), and what concerns entry and locks both. */
#include <poll.h>
#include <sys/pidfd.h>

#include "samba_compat.h"
#include "fault.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_LOCKING

struct db_context *records_open_db(const char *name, int hash_size,
				   int tdb_flags, mode_t mode,
				   enum dbwrap_lock_order lock_order)
{
	char *path = lock_path(talloc_tos(), name);
	struct db_context *db = NULL;

	if (path == NULL) {
		return NULL;
	}
	become_root();
	db = db_open(NULL, path, hash_size,
		     TDB_DEFAULT|TDB_CLEAR_IF_FIRST|TDB_INCOMPATIBLE_HASH|
		     tdb_flags, O_RDWR|O_CREAT, mode, lock_order,
		     DBWRAP_FLAG_NONE);
	unbecome_root();
	if (db == NULL) {
		DBG_ERR("cannot open %s: %s\n", path, strerror(errno));
	}
	TALLOC_FREE(path);
	return db;
}

uint64_t records_share_file_id(uint64_t persistent_id, uint32_t disconnects)
{
	uint64_t before = disconnects > 0 ? disconnects - 1 : 0;

	return (persistent_id & UINT32_MAX) | (before << 32);
}

struct find_state {
	struct server_id pid;
	uint64_t share_file_id;
	struct share_mode_entry *e;
	bool found;
	bool delete;
};

static bool find_fn(struct share_mode_entry *e, bool *modified,
		    void *private_data)
{
	struct find_state *state = private_data;

	if (e->share_file_id != state->share_file_id ||
	    !server_id_equal(&e->pid, &state->pid)) {
		return false;
	}
	state->found = true;
	if (state->e != NULL) {
		*state->e = *e;
	}
	e->stale = state->delete;
	return true;
}

bool records_find_entry(struct share_mode_lock *lck, struct server_id pid,
			uint64_t share_file_id, struct share_mode_entry *e)
{
	struct find_state state = {
		.pid = pid,
		.share_file_id = share_file_id,
		.e = e,
	};

	return share_mode_forall_entries(lck, find_fn, &state) && state.found;
}

bool records_find_disconnected(struct share_mode_lock *lck,
			       uint64_t persistent_id, uint32_t disconnects,
			       struct share_mode_entry *e)
{
	struct server_id pid = { 0 };

	server_id_set_disconnected(&pid);
	return records_find_entry(lck, pid,
				  records_share_file_id(persistent_id,
							disconnects), e) ||
	       records_find_entry(lck, pid,
				  records_share_file_id(persistent_id, 1), e);
}

struct ids_state {
	TALLOC_CTX *mem_ctx;
	uint32_t *ids;
	bool ok;
};

static bool ids_fn(struct share_mode_entry *e, bool *modified,
		   void *private_data)
{
	struct ids_state *state = private_data;
	size_t n = talloc_array_length(state->ids);
	uint32_t *ids = NULL;

	if (!server_id_is_disconnected(&e->pid)) {
		return false;
	}
	ids = talloc_realloc(state->mem_ctx, state->ids, uint32_t, n + 1);
	if (ids == NULL) {
		state->ok = false;
		return true;
	}
	ids[n] = e->share_file_id & UINT32_MAX;
	state->ids = ids;
	return false;
}

bool records_disconnected_ids(TALLOC_CTX *mem_ctx,
			      struct share_mode_lock *lck, uint32_t **ids)
{
	struct ids_state state = { .mem_ctx = mem_ctx, .ok = true };
	bool ok = share_mode_forall_entries(lck, ids_fn, &state);

	*ids = state.ids;
	return ok && state.ok;
}

static bool delete_entry(struct share_mode_lock *lck, struct server_id pid,
			 uint64_t share_file_id)
{
	struct find_state state = {
		.pid = pid,
		.share_file_id = share_file_id,
		.delete = true,
	};

	return share_mode_forall_entries(lck, find_fn, &state) && state.found;
}

/*
 * set_share_mode() takes the entry's owner from the connection of the fsp
 * that it is given, so it is given a stand-in for one: just the fields that
 * it reads.
 */
struct stand_in {
	struct files_struct fsp;
	struct connection_struct conn;
	struct smbd_server_connection sconn;
	struct smbXsrv_client client;
	struct smbXsrv_client_global0 client_global;
	/*
	 * struct messaging_context is private to Samba; the server id is its
	 * first member, which make_stand_in() verifies.
	 */
	struct server_id messaging_id;
};

static struct stand_in *make_stand_in(TALLOC_CTX *mem_ctx,
				      const struct share_mode_entry *e,
				      struct server_id pid,
				      uint64_t share_file_id)
{
	struct stand_in *s = talloc_zero(mem_ctx, struct stand_in);
	struct server_id told = { 0 };

	if (s == NULL) {
		return NULL;
	}
	s->messaging_id = pid;
	s->client_global.client_guid = e->client_guid;
	s->client.global = &s->client_global;
	s->sconn.client = &s->client;
	s->sconn.msg_ctx = (struct messaging_context *)&s->messaging_id;
	s->conn.sconn = &s->sconn;
	s->fsp.conn = &s->conn;
	s->fsp.open_time = e->time;
	s->fsp.name_hash = e->name_hash;
	if ((e->flags & SHARE_MODE_FLAG_POSIX_OPEN) != 0) {
		s->fsp.posix_flags = FSP_POSIX_FLAGS_OPEN;
	}
	s->fsp.fh = fd_handle_create(s);
	if (s->fsp.fh == NULL) {
		TALLOC_FREE(s);
		return NULL;
	}
	fh_set_gen_id(s->fsp.fh, share_file_id);
	fh_set_private_options(s->fsp.fh, e->private_options);

	told = messaging_server_id(s->sconn.msg_ctx);
	if (!server_id_equal(&told, &pid)) {
		DBG_ERR("this Samba's messaging_context is not as expected\n");
		TALLOC_FREE(s);
	}
	return s;
}

bool records_add_entry(struct share_mode_lock *lck,
		       const struct share_mode_entry *e, struct server_id pid,
		       uint64_t mid, uint64_t share_file_id)
{
	struct stand_in *s = make_stand_in(talloc_tos(), e, pid,
					   share_file_id);
	bool ok = false;

	if (s == NULL) {
		return false;
	}
	fault_point("entry.before-add");
	ok = set_share_mode(lck, &s->fsp, e->uid, mid, e->op_type,
			    &e->lease_key, e->share_access, e->access_mask);
	TALLOC_FREE(s);
	return ok;
}

bool records_move_entry(struct share_mode_lock *lck,
			const struct share_mode_entry *e,
			struct server_id pid, uint64_t mid,
			uint64_t share_file_id)
{
	if (e->share_file_id == share_file_id &&
	    server_id_equal(&e->pid, &pid)) {
		return true;
	}
	/* one that died between the two steps has left both */
	if (!records_find_entry(lck, pid, share_file_id, NULL) &&
	    !records_add_entry(lck, e, pid, mid, share_file_id)) {
		return false;
	}
	fault_point("entry.before-delete");
	return delete_entry(lck, e->pid, e->share_file_id);
}

bool records_disconnect(struct share_mode_lock *lck,
			const struct files_struct *fsp,
			uint64_t persistent_id, uint32_t disconnects)
{
	struct records_lock_owner none = records_no_owner();
	struct server_id self = messaging_server_id(fsp->conn->sconn->msg_ctx);
	struct share_mode_entry e = { 0 };
	struct lock_struct *locks = NULL;
	size_t num_locks = 0;
	bool ok = false;

	/* 4.17 marks the entry only if it is the file's only one */
	if (!records_find_entry(lck, self, fh_get_gen_id(fsp->fh), &e) &&
	    !records_find_disconnected(lck, persistent_id, disconnects, &e)) {
		return false;
	}
	if (!records_move_entry(lck, &e, none.pid, e.op_mid,
				records_share_file_id(persistent_id,
						      disconnects))) {
		return false;
	}
	ok = records_move_locks(talloc_tos(), &fsp->file_id, persistent_id,
				&none, &locks, &num_locks);
	TALLOC_FREE(locks);
	return ok;
}

struct server_id records_surrogate(uint64_t pid)
{
	return (struct server_id) {
		.pid = pid,
		.vnn = NONCLUSTER_VNN,
		.unique_id = SERVERID_UNIQUE_ID_NOT_TO_VERIFY,
	};
}

bool records_is_alive(const struct server_id *id)
{
	struct pollfd ended = { .events = POLLIN };
	int count = 0;

	if (!serverid_exists(id)) {
		return false;
	}
	/* pidfd_open(2): readable when the process has ended, reaped or not */
	ended.fd = pidfd_open((pid_t)id->pid, 0);
	if (ended.fd == -1) {
		/* a thread of the keeper, for one */
		return true;
	}
	count = poll(&ended, 1, 0);
	close(ended.fd);
	return count != 1;
}

void records_save_lease(const struct file_id *id,
			const struct share_mode_entry *e,
			struct persistent_surrogate *saved)
{
	NTSTATUS status;

	saved->lease_key = e->lease_key;
	status = leases_db_get(&e->client_guid, &e->lease_key, id,
			       &saved->lease_state, NULL, NULL, NULL,
			       &saved->lease_version, &saved->lease_epoch);
	if (!NT_STATUS_IS_OK(status)) {
		saved->lease_state = 0;
	}
}

bool records_protect(struct share_mode_lock *lck,
		     const struct files_struct *fsp, uint64_t persistent_id,
		     uint64_t surrogate_pid,
		     struct persistent_surrogate *saved)
{
	struct server_id self = messaging_server_id(fsp->conn->sconn->msg_ctx);
	struct records_lock_owner owner = records_no_owner();
	struct share_mode_entry e = { 0 };
	struct lock_struct *locks = NULL;
	size_t num_locks = 0;
	bool had_lease = false;
	bool ok = false;

	if (!records_find_entry(lck, self, fh_get_gen_id(fsp->fh), &e)) {
		return false;
	}
	*saved = (struct persistent_surrogate) {
		.pid = surrogate_pid,
		.op_type = e.op_type,
	};
	had_lease = e.op_type == LEASE_OPLOCK;
	if (had_lease) {
		records_save_lease(&fsp->file_id, &e, saved);
	}
	owner.pid = records_surrogate(surrogate_pid);
	e.op_type = NO_OPLOCK;
	if (!records_move_entry(lck, &e, owner.pid, e.op_mid, persistent_id)) {
		return false;
	}
	if (had_lease) {
		(void)remove_lease_if_stale(lck, &e.client_guid,
					    &e.lease_key);
	}
	/* who waited for the end of a break waits no longer */
	share_mode_wakeup_waiters(fsp->file_id);
	ok = records_move_locks(talloc_tos(), &fsp->file_id, persistent_id,
				&owner, &locks, &num_locks);
	TALLOC_FREE(locks);
	return ok;
}

bool records_find_away(struct share_mode_lock *lck, uint64_t persistent_id,
		       const struct persistent_cookie *c,
		       struct share_mode_entry *e)
{
	if (c->surrogate.pid == 0) {
		return records_find_disconnected(lck, persistent_id,
						 c->disconnects, e);
	}
	if (!records_find_entry(lck, records_surrogate(c->surrogate.pid),
				persistent_id, e)) {
		return false;
	}
	e->op_type = c->surrogate.op_type;
	e->lease_key = c->surrogate.lease_key;
	return true;
}

struct others_state {
	const struct share_mode_entry *mine;
	bool found;
};

static bool others_fn(struct share_mode_entry *e, bool *modified,
		      void *private_data)
{
	struct others_state *state = private_data;

	if (server_id_equal(&e->pid, &state->mine->pid) &&
	    e->share_file_id == state->mine->share_file_id) {
		return false;
	}
	state->found = !is_oplock_stat_open(e->access_mask) &&
		       records_is_alive(&e->pid);
	return state->found;
}

bool records_has_others(struct share_mode_lock *lck,
			const struct share_mode_entry *e)
{
	struct others_state state = { .mine = e };

	return !share_mode_forall_entries(lck, others_fn, &state) ||
	       state.found;
}

void records_note_open(struct share_mode_lock *lck,
		       const struct share_mode_entry *e, uint32_t lease_type)
{
	uint32_t access_mask = 0;
	uint32_t share_mode = 0;
	uint32_t leases = 0;

	share_mode_flags_get(lck, &access_mask, &share_mode, &leases);
	share_mode_flags_set(lck, access_mask | e->access_mask,
			     share_mode & e->share_access,
			     leases | lease_type, NULL);
}

static bool orphan_fn(struct share_mode_entry *e, bool *modified,
		      void *private_data)
{
	struct find_state *state = private_data;

	if (!server_id_is_disconnected(&e->pid) ||
	    (e->share_file_id & UINT32_MAX) != state->share_file_id) {
		return false;
	}
	*state->e = *e;
	state->found = true;
	e->stale = true;
	return true;
}

void records_forget_orphan(struct share_mode_lock *lck,
			   const struct file_id *id, uint32_t persistent_id)
{
	struct share_mode_entry e = { 0 };
	struct find_state state = { .share_file_id = persistent_id, .e = &e };

	(void)records_delete_locks(id, persistent_id);
	if (share_mode_forall_entries(lck, orphan_fn, &state) &&
	    state.found && e.op_type == LEASE_OPLOCK) {
		(void)remove_lease_if_stale(lck, &e.client_guid,
					    &e.lease_key);
	}
}

static struct share_mode_lock *lock_by_cookie(TALLOC_CTX *mem_ctx,
					      const DATA_BLOB *stock_cookie,
					      struct file_id *id)
{
	struct vfs_default_durable_cookie c = { .magic = "" };
	enum ndr_err_code err = ndr_pull_struct_blob(
		stock_cookie, mem_ctx, &c,
		(ndr_pull_flags_fn_t)ndr_pull_vfs_default_durable_cookie);

	if (!NDR_ERR_CODE_IS_SUCCESS(err)) {
		return NULL;
	}
	*id = c.id;
	return get_existing_share_mode_lock(mem_ctx, c.id);
}

void records_stock_form(const DATA_BLOB *stock_cookie, uint64_t persistent_id,
			uint32_t disconnects)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct file_id id = { 0 };
	struct share_mode_entry e = { 0 };
	struct share_mode_lock *lck = NULL;

	if (disconnects > 1) {
		lck = lock_by_cookie(frame, stock_cookie, &id);
	}
	if (lck != NULL &&
	    records_find_disconnected(lck, persistent_id, disconnects, &e)) {
		(void)records_move_entry(
			lck, &e, e.pid, e.op_mid,
			records_share_file_id(persistent_id, 1));
	}
	TALLOC_FREE(frame);
}

void records_forget(const DATA_BLOB *stock_cookie, uint64_t persistent_id,
		    uint32_t disconnects)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct file_id id = { 0 };
	struct share_mode_entry e = { 0 };
	struct share_mode_lock *lck =
		lock_by_cookie(frame, stock_cookie, &id);

	if (lck != NULL) {
		(void)records_delete_locks(&id, persistent_id);
	}
	if (lck != NULL &&
	    records_find_disconnected(lck, persistent_id, disconnects, &e)) {
		(void)delete_entry(lck, e.pid, e.share_file_id);
		if (e.op_type == LEASE_OPLOCK) {
			remove_lease_if_stale(lck, &e.client_guid,
					      &e.lease_key);
		}
	}
	TALLOC_FREE(frame);
}

struct phantom_state {
	struct smbd_server_connection *sconn;
	struct file_id id;
	struct share_mode_entry e;
	bool found;
};

static bool phantom_fn(struct share_mode_entry *e, bool *modified,
		       void *private_data)
{
	struct phantom_state *state = private_data;
	struct server_id self = messaging_server_id(state->sconn->msg_ctx);

	if (!server_id_equal(&e->pid, &self) ||
	    file_find_dif(state->sconn, state->id, e->share_file_id) != NULL) {
		return false;
	}
	state->e = *e;
	state->found = true;
	e->stale = true;
	return true;
}

void records_forget_phantom(const DATA_BLOB *stock_cookie,
			    struct smbd_server_connection *sconn,
			    uint64_t persistent_id)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct phantom_state state = { .sconn = sconn };
	struct share_mode_lock *lck =
		lock_by_cookie(frame, stock_cookie, &state.id);

	if (lck != NULL &&
	    share_mode_forall_entries(lck, phantom_fn, &state) &&
	    state.found) {
		(void)records_delete_locks(&state.id, persistent_id);
		if (state.e.op_type == LEASE_OPLOCK) {
			(void)remove_lease_if_stale(lck, &state.e.client_guid,
						    &state.e.lease_key);
		}
	}
	TALLOC_FREE(frame);
}
