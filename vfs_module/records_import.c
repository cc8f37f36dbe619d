/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "fault.h"
#include "records.h"
#include "records_import.h"
#include "timeouts.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_LOCKING

/* One open on its way back. */
struct import {
	const struct records_import *in;
	const struct wire_record *record;
	TALLOC_CTX *mem_ctx;
	struct file_id id;
	struct smb_filename *name;
	struct share_mode_lock *lck;
	enum records_open_owner owner;
	struct smbXsrv_open_global0 *global;
	struct persistent_cookie cookie;
};

/* The importer's own may be another one: `path = /srv/%U`. */
static const char *name_in_share(const char *connect_path, const char *path)
{
	size_t len = strlen(connect_path);

	if (strncmp(path, connect_path, len) == 0 && path[len] == '/') {
		return path + len + 1;
	}
	return path; /* it has been moved out of the share */
}

/* The share-mode record of the file, made if smbd has none. */
static bool lock_file(struct import *im)
{
	struct timespec mtime = im->in->st.st_mtim;

	im->lck = get_share_mode_lock(im->mem_ctx, im->id,
				      im->record->connect_path, im->name,
				      &mtime);
	return im->lck != NULL;
}

static uint16_t op_type_of(const struct wire_record *record)
{
	switch (record->oplock) {
	case SMB2_OPLOCK_LEVEL_LEASE:
		return LEASE_OPLOCK;
	case SMB2_OPLOCK_LEVEL_BATCH:
		return BATCH_OPLOCK|EXCLUSIVE_OPLOCK;
	case SMB2_OPLOCK_LEVEL_EXCLUSIVE:
		return EXCLUSIVE_OPLOCK;
	case SMB2_OPLOCK_LEVEL_II:
		return LEVEL_II_OPLOCK;
	default:
		return NO_OPLOCK;
	}
}

static struct GUID guid_of(const uint8_t bytes[WIRE_GUID_SIZE])
{
	DATA_BLOB blob = data_blob_const(bytes, WIRE_GUID_SIZE);
	struct GUID guid = { 0 };

	(void)GUID_from_ndr_blob(&blob, &guid);
	return guid;
}

/* The entry as it was, as far as persistd knows. */
static struct share_mode_entry entry_from_record(struct import *im)
{
	const struct wire_record *r = im->record;
	struct timespec opened = {
		.tv_sec = r->opened_realtime_ns / 1000000000,
		.tv_nsec = r->opened_realtime_ns % 1000000000,
	};
	struct share_mode_entry e = {
		.op_type = op_type_of(r),
		.client_guid = guid_of(r->client_guid),
		.access_mask = r->access_mask,
		.share_access = r->share_access,
		.time = convert_timespec_to_timeval(opened),
		.uid = r->uid,
	};
	char *path = talloc_asprintf(im->mem_ctx, "%s/%s",
				     im->record->connect_path,
				     im->name->base_name);

	if (path != NULL) {
		(void)file_name_hash(im->in->conn, path, &e.name_hash);
	}
	if (r->lease_key != NULL) {
		e.lease_key.data[0] = BVAL(r->lease_key, 0);
		e.lease_key.data[1] = BVAL(r->lease_key, 8);
	}
	return e;
}

static struct server_id owner_then(const struct wire_record *record)
{
	return (struct server_id) {
		.pid = record->server_id.pid,
		.task_id = record->server_id.task_id,
		.vnn = record->server_id.vnn,
		.unique_id = record->server_id.unique_id,
	};
}

/*
 * What somebody opened after smbd had forgotten this open: would he have been
 * let in, and if so, without a break below handle caching? A break costs a
 * protected open its level only, at its resume.
 */
static bool in_conflict(struct import *im, const struct share_mode_entry *e)
{
	const bool caches_writes =
		EXCLUSIVE_OPLOCK_TYPE(e->op_type) ||
		(e->op_type == LEASE_OPLOCK &&
		 (im->record->lease_state & SMB2_LEASE_WRITE) != 0);

	return !records_has_room(im->lck, &im->id, e) ||
	       (caches_writes && !im->in->handle->protected &&
		records_has_others(im->lck, e));
}

static bool restore_lease(struct import *im, const struct share_mode_entry *e)
{
	const struct wire_record *r = im->record;
	bool breaking = false;
	uint32_t broken = 0;
	uint16_t version = 0;
	uint16_t epoch = 0;
	NTSTATUS status = leases_db_get(&e->client_guid, &e->lease_key,
					&im->id, NULL, &breaking, NULL,
					&broken, &version, &epoch);

	if (NT_STATUS_IS_OK(status) && breaking) {
		/* nobody can acknowledge it any more: it is broken */
		return NT_STATUS_IS_OK(leases_db_set(
			&e->client_guid, &e->lease_key, broken, false, 0, 0,
			version, epoch));
	}
	if (!NT_STATUS_IS_OK(status)) {
		status = leases_db_add(&e->client_guid, &e->lease_key, &im->id,
				       r->lease_state, r->lease_version,
				       r->lease_epoch,
				       im->record->connect_path,
				       im->name->base_name,
				       im->name->stream_name);
	}
	return NT_STATUS_IS_OK(status);
}

/* What a protected open remembers of the level that it has not while away. */
static void save_level(struct import *im, const struct share_mode_entry *e)
{
	struct persistent_surrogate *saved = &im->cookie.surrogate;

	if (im->owner == RECORDS_OPEN_DISCONNECTED && saved->pid != 0) {
		saved->pid = im->in->surrogate;
		return;
	}
	*saved = (struct persistent_surrogate) {
		.pid = im->in->surrogate,
		.op_type = e->op_type,
	};
	if (e->op_type != LEASE_OPLOCK) {
		return;
	}
	records_save_lease(&im->id, e, saved);
	if (saved->lease_state == 0) {
		/* smbd has no record of it (any more) */
		saved->lease_state = im->record->lease_state;
		saved->lease_version = im->record->lease_version;
		saved->lease_epoch = im->record->lease_epoch;
	}
}

/* As disconnect.c leaves an entry: disconnected, or with its surrogate. */
static bool put_entry(struct import *im, const struct share_mode_entry *from,
		      bool is_new)
{
	uint64_t id = im->record->persistent_id;
	struct server_id pid = records_no_owner().pid;
	uint64_t share_file_id =
		records_share_file_id(id, im->cookie.disconnects);
	struct share_mode_entry e = *from;
	bool ok = false;

	if (im->in->surrogate != 0) {
		save_level(im, from);
		pid = records_surrogate(im->in->surrogate);
		share_file_id = id;
		e.op_type = NO_OPLOCK;
	} else if (e.op_type == LEASE_OPLOCK && !restore_lease(im, &e)) {
		return false;
	}
	ok = is_new ? records_add_entry(im->lck, &e, pid, UINT64_MAX,
					share_file_id) :
		      records_move_entry(im->lck, &e, pid, UINT64_MAX,
					 share_file_id);
	if (ok && im->in->surrogate != 0 && from->op_type == LEASE_OPLOCK) {
		(void)remove_lease_if_stale(im->lck, &from->client_guid,
					    &from->lease_key);
	}
	if (ok) {
		records_note_open(im->lck, &e,
				  im->in->surrogate != 0 ?
					  0 : im->record->lease_state);
	}
	return ok;
}

static struct records_lock_owner lock_owner(const struct import *im)
{
	struct records_lock_owner owner = records_no_owner();

	if (im->in->surrogate != 0) {
		owner.pid = records_surrogate(im->in->surrogate);
	}
	return owner;
}

static bool add_locks(struct import *im)
{
	const struct wire_import *h = im->in->handle;
	struct records_lock_owner owner = lock_owner(im);
	struct lock_struct *locks = talloc_zero_array(
		im->mem_ctx, struct lock_struct, h->num_locks + 1);
	size_t i = 0;

	if (locks == NULL) {
		return false;
	}
	for (i = 0; i < h->num_locks; i++) {
		locks[i].context.smblctx = im->record->persistent_id;
		locks[i].context.tid = owner.tid;
		locks[i].context.pid = owner.pid;
		locks[i].fnum = owner.fnum;
		locks[i].start = h->locks[i].start;
		locks[i].size = h->locks[i].count;
		locks[i].lock_type = h->locks[i].exclusive ? WRITE_LOCK :
							     READ_LOCK;
		locks[i].lock_flav = WINDOWS_LOCK;
	}
	return records_add_locks(&im->id, locks, h->num_locks);
}

static bool put_locks(struct import *im)
{
	struct records_lock_owner owner = lock_owner(im);
	struct lock_struct *all = NULL;
	size_t num = 0;
	uint64_t id = im->record->persistent_id;
	bool ok = false;

	if (im->owner == RECORDS_OPEN_MISSING &&
	    im->in->handle->num_locks > 0 &&
	    records_count_locks(&im->id, id) == 0) {
		ok = add_locks(im);
	} else {
		ok = records_move_locks(im->mem_ctx, &im->id, id, &owner,
					&all, &num);
	}
	im->cookie.lock_count = records_count_locks(&im->id, id);
	return ok;
}

/* Only what certainly happened may count as done. */
static void put_lock_sequence(struct import *im)
{
	const struct records_lock_sequence *s = &im->in->sequence;
	uint8_t *array = im->global->lock_sequence_array;
	bool locked = false;

	if (!s->known) {
		return;
	}
	memcpy(array, s->array, RECORDS_LOCK_SEQUENCES);
	locked = records_has_lock(&im->id, im->record->persistent_id,
				  s->start, s->size);
	if (locked == s->unlock && s->last < RECORDS_LOCK_SEQUENCES) {
		array[s->last] = 0xFF;
	}
}

/* vfs_default's own cookie, as far as persistd knows what was in it. */
static bool make_stock_cookie(struct import *im, DATA_BLOB *blob)
{
	struct vfs_default_durable_cookie c = {
		.allow_reconnect = true,
		.id = im->id,
		.servicepath = im->record->connect_path,
		.base_name = im->record->known_as != NULL ?
				     im->record->known_as : im->name->base_name,
	};
	SMB_STRUCT_STAT st = { .st_ex_nlink = 0 };

	init_stat_ex_from_stat(&st, &im->in->st, false);
	c.stat_info.st_ex_dev = st.st_ex_dev;
	c.stat_info.st_ex_ino = st.st_ex_ino;
	c.stat_info.st_ex_mode = st.st_ex_mode;
	c.stat_info.st_ex_nlink = st.st_ex_nlink;
	c.stat_info.st_ex_size = st.st_ex_size;
	c.stat_info.st_ex_mtime = st.st_ex_mtime;
	return NDR_ERR_CODE_IS_SUCCESS(ndr_push_struct_blob(
		blob, im->mem_ctx, &c,
		(ndr_push_flags_fn_t)ndr_push_vfs_default_durable_cookie));
}

/* smbd has no record: a new one with the old ids. */
static bool make_open(struct import *im)
{
	const struct wire_record *r = im->record;
	struct smbXsrv_open_global0 *g =
		talloc_zero(im->mem_ctx, struct smbXsrv_open_global0);
	struct persistent_cookie *c = &im->cookie;

	if (g == NULL || !string_to_sid(&g->open_owner, r->owner_sid)) {
		return false;
	}
	g->open_global_id = r->persistent_id;
	g->open_persistent_id = r->persistent_id;
	g->open_time = full_timespec_to_nt_time(&(struct timespec) {
		.tv_sec = r->opened_realtime_ns / 1000000000,
		.tv_nsec = r->opened_realtime_ns % 1000000000,
	});
	g->create_guid = guid_of(r->create_guid);
	g->client_guid = guid_of(r->client_guid);
	memset(g->lock_sequence_array, 0xFF, sizeof(g->lock_sequence_array));
	im->global = g;

	*c = (struct persistent_cookie) {
		.durable_version = r->durable_version,
		.create_options = r->create_options,
		.app_instance = r->app_instance,
	};
	memcpy(c->cookie, r->cookie, sizeof(c->cookie));
	return make_stock_cookie(im, &c->stock);
}

/* The record as it is, if it is this handle's. */
static bool use_open(struct import *im)
{
	return cookie_pull(&im->global->backend_cookie, &im->cookie) &&
	       memcmp(im->cookie.cookie, im->record->cookie,
		      sizeof(im->cookie.cookie)) == 0;
}

static bool put_open(struct import *im)
{
	struct smbXsrv_open_global0 *g = im->global;
	uint64_t gone_ns = im->in->handle->disconnected_realtime_ns;
	NTSTATUS status;

	im->cookie.timeout_ms = im->record->timeout_ms;
	status = cookie_push(g, &im->cookie, &g->backend_cookie);
	if (!NT_STATUS_IS_OK(status)) {
		return false;
	}
	server_id_set_disconnected(&g->server_id);
	g->disconnect_time = full_timespec_to_nt_time(&(struct timespec) {
		.tv_sec = gone_ns / 1000000000,
		.tv_nsec = gone_ns % 1000000000,
	});
	g->durable_timeout_msec = TIMEOUTS_LONGEST_MS;
	g->durable = true;
	return records_open_write(g);
}

/* An smbd child may have died in the middle of its resume. */
static bool find_half_back(struct import *im, struct share_mode_entry *e)
{
	return im->owner == RECORDS_OPEN_DEAD &&
	       records_find_entry(
		       im->lck, im->global->server_id,
		       records_resumed_file_id(im->record->persistent_id), e);
}

/* Its smbd child may have died in the middle of a disconnect. */
static bool find_half_gone(struct import *im, struct share_mode_entry *e)
{
	uint64_t id = im->record->persistent_id;
	struct share_mode_entry before = { 0 };

	if (records_find_disconnected(im->lck, id, im->cookie.disconnects + 1,
				      e)) {
		return true;
	}
	if (im->in->surrogate == 0 ||
	    !records_find_entry(im->lck, records_surrogate(im->in->surrogate),
				id, e)) {
		return false;
	}
	before = entry_from_record(im);
	e->op_type = before.op_type;
	e->lease_key = before.lease_key;
	e->client_guid = before.client_guid;
	return true;
}

/* The entry that the open has now, whoever owned it. */
static bool find_entry(struct import *im, struct share_mode_entry *e)
{
	if (im->owner == RECORDS_OPEN_DISCONNECTED) {
		return records_find_away(im->lck, im->record->persistent_id,
					 &im->cookie, e);
	}
	return find_half_back(im, e) ||
	       records_find_entry(im->lck, owner_then(im->record),
				  im->record->share_file_id, e) ||
	       find_half_gone(im, e);
}

/* Disconnected, and protected by the very surrogate that it has now. */
static bool in_order(const struct import *im)
{
	return im->owner == RECORDS_OPEN_DISCONNECTED &&
	       im->cookie.surrogate.pid == im->in->surrogate;
}

static enum records_import_result put_back(struct import *im)
{
	struct share_mode_entry e = { 0 };
	bool found = find_entry(im, &e);

	if (found && in_order(im)) {
		return RECORDS_IMPORT_DONE;
	}
	if (!found) {
		e = entry_from_record(im);
		if ((im->owner != RECORDS_OPEN_MISSING &&
		     !im->in->entry_just_deleted) ||
		    in_conflict(im, &e)) {
			return RECORDS_IMPORT_SUPERSEDED;
		}
	}
	if (im->owner != RECORDS_OPEN_DISCONNECTED) {
		im->cookie.disconnects += 1;
	}
	if (im->in->handle->protected) {
		im->cookie.kind = cookie_kind_named(im->record->kind);
	}
	fault_point("import.before-entry");
	if (!put_entry(im, &e, !found)) {
		return RECORDS_IMPORT_FAILED;
	}
	fault_point("import.before-locks");
	if (!put_locks(im)) {
		return RECORDS_IMPORT_FAILED;
	}
	put_lock_sequence(im);
	/* who waits for the dead one to give way waits no longer */
	share_mode_wakeup_waiters(im->id);
	fault_point("import.before-open");
	return put_open(im) ? RECORDS_IMPORT_DONE : RECORDS_IMPORT_FAILED;
}

/* Under the file's share-mode lock, so that two children do not both do it. */
static enum records_import_result import_locked(struct import *im)
{
	im->owner = records_open_read(im->mem_ctx, im->record->persistent_id,
				      &im->global);
	if (im->owner == RECORDS_OPEN_ALIVE) {
		return RECORDS_IMPORT_HELD;
	}
	if (!(im->owner == RECORDS_OPEN_MISSING ? make_open(im) :
						  use_open(im))) {
		DBG_ERR("open 0x%08"PRIx64" cannot be brought back\n",
			im->record->persistent_id);
		return RECORDS_IMPORT_FAILED;
	}
	return put_back(im);
}

enum records_import_result records_import(const struct records_import *in)
{
	SMB_STRUCT_STAT st = { .st_ex_nlink = 0 };
	struct import im = {
		.in = in,
		.record = &in->handle->record,
		.mem_ctx = talloc_stackframe(),
	};
	enum records_import_result result = RECORDS_IMPORT_FAILED;

	init_stat_ex_from_stat(&st, &in->st, false);
	im.id = vfs_file_id_from_sbuf(in->conn, &st);
	im.name = synthetic_smb_fname(
		im.mem_ctx,
		name_in_share(im.record->connect_path, im.record->path), NULL,
		NULL, 0, 0);
	if (im.name != NULL && lock_file(&im)) {
		result = import_locked(&im);
		TALLOC_FREE(im.lck);
	}
	TALLOC_FREE(im.mem_ctx);
	return result;
}

struct owners_state {
	TALLOC_CTX *mem_ctx;
	struct server_id *owners;
	bool died;
};

static bool owners_fn(struct share_mode_entry *e, bool *modified,
		      void *private_data)
{
	struct owners_state *state = private_data;
	size_t n = talloc_array_length(state->owners);
	struct server_id *owners = NULL;

	if (server_id_is_disconnected(&e->pid)) {
		return false;
	}
	if (!records_is_alive(&e->pid)) {
		state->died = true;
		return true;
	}
	owners = talloc_realloc(state->mem_ctx, state->owners,
				struct server_id, n + 1);
	if (owners != NULL) {
		state->owners = owners;
		owners[n] = e->pid;
	}
	return false;
}

bool records_owner_died(TALLOC_CTX *mem_ctx, const struct file_id *id,
			struct server_id **owners)
{
	struct owners_state state = { .mem_ctx = mem_ctx };
	struct share_mode_lock *lck =
		fetch_share_mode_unlocked(talloc_tos(), *id);

	if (lck != NULL) {
		(void)share_mode_forall_entries(lck, owners_fn, &state);
		TALLOC_FREE(lck);
	}
	*owners = state.owners;
	return state.died;
}
