/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "descriptors.h"
#include "fault.h"
#include "handle.h"
#include "kernel_locks.h"
#include "open_name.h"
#include "persistd.h"
#include "records.h"
#include "resume.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/* All waiting of one SMB operation together; docs/protocol.md 1.1. */
#define RESUME_BUDGET_NS (200 * CLOCK_NS_PER_MS)

static void tell_failed(const uint8_t *cookie, const char *reason, bool final)
{
	msgpack_sbuffer event = { 0 };

	msgpack_sbuffer_init(&event);
	wire_event_resume_failed(&event, cookie, reason, final);
	link_queue(cookie, &event);
	link_flush();
}

static bool descriptor_allows(int fd, const struct share_mode_entry *e,
			      bool is_pathref)
{
	int flags = fcntl(fd, F_GETFL);
	int mode = flags & O_ACCMODE;
	bool needs_read = (e->access_mask & FILE_READ_DATA) != 0;
	bool needs_write = (e->access_mask &
			    (FILE_WRITE_DATA|FILE_APPEND_DATA)) != 0;

	if (flags == -1) {
		return false;
	}
	if (is_pathref) {
		return (flags & O_PATH) != 0 && !needs_read && !needs_write;
	}
	return (!needs_read || mode != O_WRONLY) &&
	       (!needs_write || mode != O_RDONLY);
}

static void set_from_entry(struct files_struct *fsp,
			   const struct share_mode_entry *e)
{
	fh_set_private_options(fsp->fh, e->private_options);
	fsp->open_time = e->time;
	fsp->access_mask = e->access_mask;
	fsp->fsp_flags.can_read = (e->access_mask & FILE_READ_DATA) != 0;
	fsp->fsp_flags.can_write =
		(e->access_mask & (FILE_WRITE_DATA|FILE_APPEND_DATA)) != 0;
	fsp->oplock_type = e->op_type;
	if ((e->flags & SHARE_MODE_FLAG_POSIX_OPEN) != 0) {
		fsp->posix_flags |= FSP_POSIX_FLAGS_OPEN;
	}
}

static void set_from_cookie(struct files_struct *fsp,
			    const struct vfs_default_durable_cookie *c)
{
	fsp->initial_allocation_size = c->initial_allocation_size;
	fh_set_position_information(fsp->fh, c->position_information);
	fsp->fsp_flags.update_write_time_triggered =
		c->update_write_time_triggered;
	fsp->fsp_flags.update_write_time_on_close =
		c->update_write_time_on_close;
	fsp->fsp_flags.write_time_forced = c->write_time_forced;
	fsp->close_write_time = nt_time_to_full_timespec(c->close_write_time);
}

/*
 * A break that was under way at the drop reached nobody. Stock leaves it so,
 * and every other opener waits in vain: it has completed (MS-SMB2 3.3.4.7).
 */
static bool complete_break(const struct share_mode_entry *e, uint32_t state,
			   uint16_t version, uint16_t epoch)
{
	NTSTATUS status = leases_db_set(&e->client_guid, &e->lease_key, state,
					false, 0, 0, version, epoch);

	return NT_STATUS_IS_OK(status);
}

/* NULL if all is well, else the reason (docs/protocol.md 1.3). */
static const char *attach_lease(struct files_struct *fsp,
				const struct share_mode_entry *e)
{
	uint32_t state = 0;
	uint32_t broken_to = 0;
	bool breaking = false;
	uint16_t version = 0;
	uint16_t epoch = 0;
	NTSTATUS status;

	if (e->op_type != LEASE_OPLOCK) {
		return NULL;
	}
	if (!GUID_equal(fsp_client_guid(fsp), &e->client_guid)) {
		return "client";
	}
	status = leases_db_get(&e->client_guid, &e->lease_key, &fsp->file_id,
			       &state, &breaking, &broken_to, NULL, &version,
			       &epoch);
	if (!NT_STATUS_IS_OK(status)) {
		return "superseded";
	}
	if (breaking) {
		state = broken_to;
		epoch += 1;
		if (!complete_break(e, state, version, epoch)) {
			return "records";
		}
	}
	fsp->lease = find_fsp_lease(fsp, &e->lease_key, state, version, epoch);
	return fsp->lease != NULL ? NULL : "out-of-memory";
}

/*
 * smbd counts in memory the Windows locks that it mirrors in the kernel, and
 * panics when one is released that it never counted. The kernel's locks
 * themselves came with the descriptor.
 */
static void count_posix_locks(struct files_struct *fsp,
			      struct lock_struct *locks, size_t num_locks)
{
	uint64_t id = fsp->op->global->open_persistent_id;
	int err = 0;
	size_t i = 0;

	if (lp_posix_locking(fsp->conn->params)) {
		kernel_locks_release_unknown(fsp_get_pathref_fd(fsp), id,
					     locks, num_locks);
	}
	fsp->current_lock_count = 0;
	for (i = 0; i < num_locks; i++) {
		struct lock_struct *l = &locks[i];

		if (l->context.smblctx != id) {
			continue;
		}
		fsp->current_lock_count += 1;
		if (lp_posix_locking(fsp->conn->params) &&
		    !set_posix_lock_windows_flavour(
			    fsp, l->start, l->size, l->lock_type, &l->context,
			    locks, num_locks, &err)) {
			DBG_WARNING("%s: kernel lock at %"PRIu64": %s\n",
				    fsp_str_dbg(fsp), l->start,
				    strerror(err));
		}
	}
}

/* The file has another name now: smbd's record of it follows. */
static void rename_records(struct share_mode_lock *lck,
			   struct files_struct *fsp,
			   struct share_mode_entry *e,
			   const struct smb_filename *now)
{
	struct connection_struct *conn = fsp->conn;
	char *path = handle_path(talloc_tos(), conn, now->base_name);
	uint32_t hash = 0;

	if (path == NULL ||
	    !NT_STATUS_IS_OK(file_name_hash(conn, path, &hash))) {
		return;
	}
	TALLOC_FREE(path);
	if (rename_share_filename(conn->sconn->msg_ctx, lck, fsp->file_id,
				  conn->connectpath, e->name_hash, hash,
				  now)) {
		e->name_hash = hash;
	}
}

/*
 * A protected open had no oplock or lease while it was away. It gets its own
 * back unless another open came between (MS-SMB2 3.3.4.6 and 3.3.4.7: the
 * break that nobody could acknowledge has completed with NONE).
 */
static const char *restore_level(const struct resume_request *req,
				 struct share_mode_lock *lck,
				 const struct files_struct *fsp, bool lost,
				 struct share_mode_entry *e)
{
	const struct persistent_surrogate *saved = &req->cookie.surrogate;

	if (e->op_type != LEASE_OPLOCK) {
		if (lost) {
			e->op_type = NO_OPLOCK;
		}
		return NULL;
	}
	if (!GUID_equal(fsp_client_guid(fsp), &e->client_guid)) {
		return "client";
	}
	return records_restore_lease(lck, fsp, e, saved,
				     lost ? 0 : saved->lease_state) ?
		       NULL : "records";
}

/*
 * Everything that happens while the file's share-mode record is locked. NULL
 * if the handle is the client's again, else the reason why not.
 */
static const char *rebind(const struct resume_request *req,
			  struct files_struct *fsp, int fd,
			  const struct smb_filename *now, bool level_lost,
			  uint32_t *share_access,
			  struct resume_result *result)
{
	struct smbXsrv_open *op = req->op;
	uint64_t id = op->global->open_persistent_id;
	struct records_lock_owner owner = records_owner(fsp);
	struct share_mode_lock *lck = NULL;
	struct share_mode_entry from = { 0 };
	struct share_mode_entry e = { 0 };
	struct lock_struct *locks = NULL;
	size_t num_locks = 0;
	const char *reason = "superseded";

	lck = get_existing_share_mode_lock(talloc_tos(), fsp->file_id);
	if (lck == NULL) {
		goto out;
	}
	if (!records_find_away(lck, id, &req->cookie, &e)) {
		/* one whose claim had lapsed may have been quicker after all */
		result->have_holder =
			records_find_holder(lck, id, &result->holder);
		reason = result->have_holder ? "connected" : "superseded";
		goto out;
	}
	fault_point("resume.locked");
	reason = "read-only";
	if ((e.access_mask & (FILE_WRITE_DATA|FILE_APPEND_DATA)) != 0 &&
	    !CAN_WRITE(fsp->conn)) {
		goto out;
	}
	reason = "descriptor";
	if (!descriptor_allows(fd, &e, req->cookie.is_pathref)) {
		goto out;
	}
	reason = NULL;
	from = e;
	if (req->cookie.surrogate.pid != 0) {
		e.client_guid = op->global->client_guid;
		level_lost |= records_has_others(lck, &from);
		reason = restore_level(req, lck, fsp, level_lost, &e);
	} else {
		/* what broke it may have been told to nobody */
		level_lost |= EXCLUSIVE_OPLOCK_TYPE(e.op_type) &&
			      records_has_others(lck, &from);
		if (level_lost &&
		    !records_lose_level(lck, &fsp->file_id, &e)) {
			reason = "records";
		}
	}
	if (reason != NULL) {
		goto out;
	}
	set_from_entry(fsp, &e);
	reason = attach_lease(fsp, &e);
	if (reason != NULL) {
		goto out;
	}
	if (now != NULL) {
		rename_records(lck, fsp, &e, now);
	}
	fault_point("resume.before-entry");
	reason = "records";
	op->compat = fsp;
	fsp->op = op;
	if (!records_move_entry(lck, &e, owner.pid, req->smb1req->mid,
				fh_get_gen_id(fsp->fh))) {
		goto out;
	}
	fault_point("resume.after-entry");
	if (!records_move_locks(talloc_tos(), &fsp->file_id, id, &owner,
				&locks, &num_locks)) {
		goto out;
	}
	fault_point("resume.after-locks");
	count_posix_locks(fsp, locks, num_locks);
	reason = "superseded";
	if ((uint32_t)fsp->current_lock_count != req->cookie.lock_count) {
		goto out;
	}
	records_note_open(lck, &e, fsp_lease_type(fsp));
	(void)set_file_oplock(fsp);
	*share_access = e.share_access;
	reason = NULL;
out:
	TALLOC_FREE(locks);
	fault_point("resume.before-unlock");
	TALLOC_FREE(lck);
	fault_point("resume.after-unlock");
	return reason;
}

static struct files_struct *new_fsp(const struct resume_request *req, int fd,
				    const struct smb_filename *name)
{
	struct connection_struct *conn = req->vfs->conn;
	struct files_struct *fsp = NULL;
	NTSTATUS status = fsp_new(conn, conn, &fsp);

	if (!NT_STATUS_IS_OK(status)) {
		return NULL;
	}
	fsp->file_pid = req->smb1req->smbpid;
	fsp->vuid = req->smb1req->vuid;
	fsp->fnum = req->op->local_id;
	fh_set_gen_id(fsp->fh, records_resumed_file_id(
				       req->op->global->open_persistent_id));
	fsp->fsp_flags.can_lock = true;
	fsp->fsp_flags.have_proc_fds = conn->have_proc_fds;
	fsp->fsp_flags.is_pathref = req->cookie.is_pathref;
	status = fsp_set_smb_fname(fsp, name);
	if (!NT_STATUS_IS_OK(status)) {
		file_free(req->smb1req, fsp);
		return NULL;
	}
	fsp_set_fd(fsp, fd);
	if (SMB_VFS_FSTAT(fsp, &fsp->fsp_name->st) == -1 ||
	    !S_ISREG(fsp->fsp_name->st.st_ex_mode)) {
		fsp_set_fd(fsp, -1);
		file_free(req->smb1req, fsp);
		return NULL;
	}
	fsp->file_id = vfs_file_id_from_sbuf(conn, &fsp->fsp_name->st);
	return fsp;
}

/* The next cookie of the same handle. */
static bool renew_cookie(const struct resume_request *req,
			 struct files_struct *fsp, DATA_BLOB *blob)
{
	struct persistent_cookie c = req->cookie;
	NTSTATUS status = handle_stock_cookie(req->vfs, fsp, req->mem_ctx,
					      &c.stock);

	if (NT_STATUS_IS_OK(status)) {
		status = cookie_push(req->mem_ctx, &c, blob);
	}
	data_blob_free(&c.stock);
	return NT_STATUS_IS_OK(status);
}

NTSTATUS resume_cookie_again(struct persistent_handle *h, TALLOC_CTX *mem_ctx,
			     DATA_BLOB *cookie)
{
	/* what renew_cookie() made is what smbd has stored by now */
	const DATA_BLOB *stored = &h->fsp->op->global->backend_cookie;

	*cookie = data_blob_dup_talloc(mem_ctx, *stored);
	return cookie->data != NULL ? NT_STATUS_OK : NT_STATUS_NO_MEMORY;
}

static bool remember(const struct resume_request *req,
		     struct files_struct *fsp, uint32_t share_access,
		     struct smb_filename **now)
{
	struct persistent_handle *h = handle_add(
		req->vfs, fsp, req->cookie.durable_version);

	if (h == NULL) {
		return false;
	}
	h->state = HANDLE_RESUMED;
	h->cookie = req->cookie;
	h->cookie.stock = data_blob_null;
	h->share_access = share_access;
	h->create_guid = req->op->global->create_guid;
	h->true_name = talloc_move(NULL, now);
	return true;
}

static enum resume_outcome verdict_outcome(const struct resume_request *req,
					   const struct wire_verdict *v,
					   struct resume_result *result)
{
	DBG_NOTICE("resume of open 0x%08x refused: %s\n",
		   req->op->global->open_global_id, v->reason);
	/* "file": fdkeeper gave us the descriptor of another one */
	if (strcmp(v->reason, "unknown") == 0 ||
	    strcmp(v->reason, "file") == 0) {
		return RESUME_ASK_STOCK;
	}
	if (v->have_holder) {
		result->have_holder = true;
		result->holder = (struct server_id) {
			.pid = v->holder.pid,
			.task_id = v->holder.task_id,
			.vnn = v->holder.vnn,
			.unique_id = v->holder.unique_id,
		};
	}
	return v->final ? RESUME_ENDED : RESUME_REFUSED;
}

/* May this client have it? Asks persistd. */
static enum resume_outcome claim(const struct resume_request *req,
				 const struct stat *st, uint64_t deadline_ns,
				 struct resume_result *result,
				 bool *level_lost)
{
	const struct loadparm_substitution *lp_sub =
		loadparm_s3_global_substitution();
	struct connection_struct *conn = req->vfs->conn;
	struct wire_stat wire_st = handle_wire_stat(st);
	struct GUID_ndr_buf guid = { .buf = { 0 } };
	struct wire_reply reply = { .type = WIRE_REPLY_ERROR };
	msgpack_sbuffer question = { 0 };
	uint64_t seq = link_next_seq();
	char *share = lp_servicename(talloc_tos(), lp_sub, SNUM(conn));
	bool answered = false;

	if (share == NULL) {
		return RESUME_ASK_STOCK;
	}
	GUID_to_ndr_buf(&conn->sconn->client->global->client_guid, &guid);
	msgpack_sbuffer_init(&question);
	wire_pack_claim(&question, seq, req->cookie.cookie, link_self(), share,
			guid.buf, &wire_st, clock_monotonic_ns());
	fault_point("resume.before-claim");
	answered = link_ask(&question, seq, deadline_ns, WIRE_REPLY_VERDICT,
			    &reply);
	fault_point("resume.after-claim");
	msgpack_sbuffer_destroy(&question);
	TALLOC_FREE(share);
	if (!answered) {
		return RESUME_ASK_STOCK;
	}
	if (reply.verdict.kind == WIRE_VERDICT_REFUSE) {
		return verdict_outcome(req, &reply.verdict, result);
	}
	*level_lost = reply.verdict.level_lost;
	return RESUME_DONE;
}

static bool put_back(const struct resume_request *req,
		     struct share_mode_lock *lck,
		     const struct files_struct *fsp)
{
	uint64_t id = req->op->global->open_persistent_id;
	struct persistent_surrogate same = { .pid = 0 };

	if (req->cookie.surrogate.pid != 0) {
		return records_protect(lck, fsp, id,
				       req->cookie.surrogate.pid, &same);
	}
	return records_disconnect(lck, fsp, id, req->cookie.disconnects);
}

/* What rebind() did is undone, except for a handle that has ended. */
static void abandon(const struct resume_request *req, struct files_struct *fsp)
{
	struct smbXsrv_open *op = req->op;
	struct share_mode_lock *lck = NULL;

	if (fsp->op != NULL) {
		lck = get_existing_share_mode_lock(talloc_tos(), fsp->file_id);
	}
	fault_point("abandon.before-records");
	if (lck != NULL && !put_back(req, lck, fsp)) {
		DBG_ERR("the records of open 0x%08x are lost\n",
			op->global->open_global_id);
	}
	TALLOC_FREE(lck);
	fault_point("abandon.after-records");
	op->compat = NULL;
	fsp->op = NULL;
	fsp_set_fd(fsp, -1);
	handle_remove(req->vfs, fsp);
	file_free(req->smb1req, fsp);
}

static bool is_final(const char *reason)
{
	return strcmp(reason, "superseded") == 0;
}

static enum resume_outcome build(const struct resume_request *req, int fd,
				 const struct stat *st, bool level_lost,
				 struct resume_result *result)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct vfs_default_durable_cookie stock = { .magic = "" };
	struct smb_filename *then = NULL;
	struct smb_filename *now = NULL;
	struct files_struct *fsp = NULL;
	enum resume_outcome outcome = RESUME_REFUSED;
	const char *reason = "out-of-memory";
	uint32_t share_access = 0;

	then = open_name_then(frame, &req->cookie.stock, &stock);
	if (then == NULL) {
		goto out;
	}
	now = open_name_if_changed(frame, req->vfs->conn, then, fd, st);

	fsp = new_fsp(req, fd, then);
	if (fsp == NULL) {
		goto out;
	}
	set_from_cookie(fsp, &stock);
	reason = rebind(req, fsp, fd, now, level_lost, &share_access, result);
	if (reason != NULL) {
		goto out;
	}
	(void)fdos_mode(fsp);
	reason = "out-of-memory";
	if (!renew_cookie(req, fsp, &result->cookie) ||
	    !remember(req, fsp, share_access, &now)) {
		goto out;
	}
	fsp->fsp_flags.is_fsa = true;
	req->smb1req->chain_fsp = fsp;
	req->smb1req->smb2req->compat_chain_fsp = fsp;
	req->op->global->durable_timeout_msec = req->cookie.timeout_ms;
	result->fsp = fsp;
	outcome = RESUME_DONE;
	reason = NULL;
out:
	if (reason != NULL) {
		DBG_NOTICE("open 0x%08x of %s is not resumed: %s\n",
			   req->op->global->open_global_id,
			   then != NULL ? then->base_name : "?", reason);
		tell_failed(req->cookie.cookie, reason, is_final(reason));
		if (is_final(reason)) {
			outcome = RESUME_ENDED;
		}
		if (fsp != NULL) {
			abandon(req, fsp);
		}
	}
	TALLOC_FREE(frame);
	return outcome;
}

enum resume_outcome resume(const struct resume_request *req,
			   struct resume_result *result)
{
	uint64_t deadline_ns = clock_monotonic_ns() + RESUME_BUDGET_NS;
	enum resume_outcome outcome = RESUME_ASK_STOCK;
	bool level_lost = false;
	struct stat st = { 0 };
	int fd = -1;

	fault_point("resume.before-take");
	/* persistd is asked in any case: it knows what has ended */
	if (descriptors_take(req->cookie.cookie, deadline_ns, &fd) == 0 &&
	    fstat(fd, &st) == -1) {
		DBG_WARNING("fstat of a kept descriptor: %s\n",
			    strerror(errno));
	}
	fault_point("resume.after-take");
	outcome = claim(req, &st, deadline_ns, result, &level_lost);
	if (outcome == RESUME_DONE && fd == -1) {
		tell_failed(req->cookie.cookie, "descriptor-lost", true);
		outcome = RESUME_ASK_STOCK;
	}
	if (outcome == RESUME_DONE) {
		outcome = build(req, fd, &st, level_lost, result);
	}
	if (outcome != RESUME_DONE && fd != -1) {
		close(fd);
	}
	return outcome;
}
