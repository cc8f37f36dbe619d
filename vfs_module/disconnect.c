/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "descriptors.h"
#include "disconnect.h"
#include "fault.h"
#include "handle.h"
#include "persistd.h"
#include "records.h"
#include "timeouts.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/* Under a share-mode lock, so that the next opener sees it parked. */
#define PARK_BUDGET_NS (50 * CLOCK_NS_PER_MS)

/* Under none; a promise hangs on it. */
#define PROTECT_BUDGET_NS (200 * CLOCK_NS_PER_MS)

/*
 * A durable handle. Stock's disconnect does its part (write times, its cookie,
 * the closing of smbd's copy of the descriptor); then the open's records are
 * put right where stock's way of marking them falls short.
 */
static NTSTATUS disconnect_durable(struct vfs_handle_struct *vfs,
				   struct persistent_handle *h,
				   struct share_mode_lock *lck,
				   const DATA_BLOB stock_cookie,
				   TALLOC_CTX *mem_ctx, DATA_BLOB *new_stock)
{
	struct files_struct *fsp = h->fsp;
	int locks = fsp->current_lock_count;
	NTSTATUS status;

	/* stock gives up when others have locks on the file, too */
	fsp->current_lock_count = 0;
	/* and takes an unlinked file's stat for none */
	if (fsp->fsp_name->st.st_ex_nlink == 0) {
		fsp->fsp_name->st.st_ex_nlink = 1;
	}
	fault_point("disconnect.before-stock");
	status = SMB_VFS_NEXT_DURABLE_DISCONNECT(vfs, fsp, stock_cookie,
						 mem_ctx, new_stock);
	fault_point("disconnect.after-stock");
	fsp->current_lock_count = locks;
	if (!NT_STATUS_IS_OK(status)) {
		if (fsp_get_pathref_fd(fsp) == -1) {
			/* smbd closes the file, but not by our close_fn */
			handle_closed(h, "failed");
		}
		return status;
	}
	handle_put_known_name(h, mem_ctx, new_stock);
	if (!records_disconnect(lck, fsp,
				fsp->op->global->open_persistent_id,
				h->cookie.disconnects)) {
		DBG_ERR("cannot mark %s as disconnected\n", fsp_str_dbg(fsp));
	}
	fault_point("disconnect.before-park");
	/* before the lock is gone, so that the next opener sees it parked */
	if (h->deposited &&
	    !descriptors_park(h->cookie.cookie,
			      clock_monotonic_ns() + PARK_BUDGET_NS)) {
		DBG_NOTICE("fdkeeper did not confirm %s\n", fsp_str_dbg(fsp));
	}
	fault_point("disconnect.after-park");
	return NT_STATUS_OK;
}

/*
 * The last write time as stock's disconnect sets it; before the keeper looks at
 * the file, so that it is not taken for another's change.
 */
static bool settle_write_time(struct files_struct *fsp)
{
	struct share_mode_lock *lck =
		get_existing_share_mode_lock(talloc_tos(), fsp->file_id);
	struct smb_file_time ft;

	if (lck == NULL) {
		return false;
	}
	init_smb_file_time(&ft);
	if (fsp->fsp_flags.write_time_forced) {
		ft.mtime = nt_time_to_full_timespec(
			share_mode_changed_write_time(lck));
	} else if (fsp->fsp_flags.update_write_time_on_close) {
		ft.mtime = fsp->close_write_time;
		if (is_omit_timespec(&ft.mtime)) {
			ft.mtime = timespec_current();
		}
	}
	if (!is_omit_timespec(&ft.mtime)) {
		round_timespec(fsp->conn->ts_res, &ft.mtime);
		(void)file_ntimes(fsp->conn, fsp, &ft);
	}
	TALLOC_FREE(lck);
	return true;
}

/*
 * smbd sets the time of the last write when it closes an open. Of the others that
 * it has of the file, and may be about to close, it sets it now: later that would
 * look like somebody else's change of this one's file.
 */
static void settle_others_write_times(const struct files_struct *fsp)
{
	struct files_struct *other = file_find_di_first(
		fsp->conn->sconn, fsp->file_id, false);

	while (other != NULL) {
		if (other != fsp &&
		    other->fsp_flags.update_write_time_on_close) {
			fsp_flush_write_time_update(other);
		}
		other = file_find_di_next(other, false);
	}
}

static bool may_be_protected(const struct files_struct *fsp)
{
	return !fsp->fsp_flags.initial_delete_on_close &&
	       !fsp->fsp_flags.delete_on_close;
}

/* One whose resume fails after all is still parked, and has its surrogate. */
static bool surrogate_for(struct persistent_handle *h, uint64_t *pid)
{
	if (h->state == HANDLE_RESUMED) {
		*pid = h->cookie.surrogate.pid;
		return true;
	}
	fault_point("protect.before-park");
	if (!descriptors_park_protected(h->cookie.cookie,
					clock_monotonic_ns() +
						PROTECT_BUDGET_NS, pid)) {
		DBG_ERR("fdkeeper does not keep %s, it is closed\n",
			fsp_str_dbg(h->fsp));
		return false;
	}
	fault_point("protect.after-park");
	return true;
}

/*
 * A resilient or persistent handle is kept whatever its oplock or lease, and its
 * share mode and locks stay in force: stock's disconnect can do neither.
 */
static NTSTATUS disconnect_protected(struct vfs_handle_struct *vfs,
				     struct persistent_handle *h,
				     struct share_mode_lock *lck,
				     uint64_t surrogate, TALLOC_CTX *mem_ctx,
				     DATA_BLOB *new_stock)
{
	struct files_struct *fsp = h->fsp;
	NTSTATUS status;

	status = vfs_stat_fsp(fsp);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	status = handle_stock_cookie(vfs, fsp, mem_ctx, new_stock);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	handle_put_known_name(h, mem_ctx, new_stock);
	fault_point("protect.before-records");
	if (!records_protect(lck, fsp, fsp->op->global->open_persistent_id,
			     surrogate, &h->cookie.surrogate)) {
		DBG_ERR("cannot protect %s\n", fsp_str_dbg(fsp));
		return NT_STATUS_INTERNAL_DB_ERROR;
	}
	fault_point("protect.before-close");
	status = fd_close(fsp);
	fault_point("protect.after-close");
	if (!NT_STATUS_IS_OK(status)) {
		/* the keeper has it, and the records say so */
		DBG_WARNING("close of %s: %s\n", fsp_str_dbg(fsp),
			    nt_errstr(status));
	}
	return NT_STATUS_OK;
}

static void announce(struct persistent_handle *h, const struct stat *st)
{
	const uint8_t *cookie = h->cookie.cookie;
	struct wire_stat wire_st = handle_wire_stat(st);
	msgpack_sbuffer event = { 0 };
	char *path = handle_path(talloc_tos(), h->fsp->conn,
				 h->fsp->fsp_name->base_name);

	msgpack_sbuffer_init(&event);
	if (h->state == HANDLE_RESUMED) {
		/* the CREATE that brought it back failed in a later check */
		wire_event_resume_failed(&event, cookie, "file", false);
	} else {
		wire_event_disconnect(&event, cookie, &wire_st,
				      path != NULL ? path : "",
				      clock_monotonic_ns(),
				      clock_realtime_ns());
	}
	fault_point("disconnect.before-event");
	link_queue(cookie, &event);
	link_flush();
	fault_point("disconnect.after-event");
	TALLOC_FREE(path);
}

/* Everything under one share-mode lock. */
static NTSTATUS disconnect_locked(struct vfs_handle_struct *vfs,
				  struct persistent_handle *h,
				  const DATA_BLOB stock_cookie,
				  TALLOC_CTX *mem_ctx, DATA_BLOB *new_stock)
{
	const bool protect = cookie_is_protected(&h->cookie);
	enum handle_state before = h->state;
	struct share_mode_lock *lck = NULL;
	uint64_t surrogate = 0;
	NTSTATUS status = NT_STATUS_NOT_SUPPORTED;

	fault_point("disconnect.begin");
	if (h->fsp->update_write_time_event != NULL) {
		fsp_flush_write_time_update(h->fsp);
	}
	settle_others_write_times(h->fsp);
	if (protect && (!may_be_protected(h->fsp) ||
			!settle_write_time(h->fsp) ||
			!surrogate_for(h, &surrogate))) {
		return status;
	}
	lck = get_existing_share_mode_lock(talloc_tos(), h->fsp->file_id);
	if (lck == NULL) {
		return status;
	}
	fault_point("disconnect.locked");
	/* so that the closing of smbd's copy is taken for what it is */
	h->state = HANDLE_PARKED;
	h->cookie.disconnects += 1;
	h->cookie.lock_count =
		records_count_locks(&h->fsp->file_id,
				    h->fsp->op->global->open_persistent_id);
	if (protect) {
		status = disconnect_protected(vfs, h, lck, surrogate, mem_ctx,
					      new_stock);
	} else {
		status = disconnect_durable(vfs, h, lck, stock_cookie,
					    mem_ctx, new_stock);
	}
	h->state = before;
	fault_point("disconnect.before-unlock");
	TALLOC_FREE(lck);
	fault_point("disconnect.after-unlock");
	return status;
}

/*
 * smbd's scavenger is to leave the open alone: the deadline is persistd's, and
 * an administrator may extend it.
 */
static void outlive_scavenger(struct persistent_handle *h)
{
	struct smbXsrv_open_global0 *global = h->fsp->op->global;

	h->cookie.timeout_ms = global->durable_timeout_msec;
	global->durable_timeout_msec = TIMEOUTS_LONGEST_MS;
}

NTSTATUS disconnect_handle(struct vfs_handle_struct *vfs,
			   struct persistent_handle *h,
			   const DATA_BLOB stock_cookie, TALLOC_CTX *mem_ctx,
			   DATA_BLOB *new_cookie)
{
	struct persistent_cookie c = { .is_pathref = false };
	struct stat st = { 0 };
	NTSTATUS status;
	/* to see what the file is like when its write time has been set */
	int fd = fcntl(fsp_get_pathref_fd(h->fsp), F_DUPFD_CLOEXEC, 0);

	if (fd == -1) {
		DBG_ERR("%s cannot be kept: %s\n", fsp_str_dbg(h->fsp),
			strerror(errno));
		return map_nt_error_from_unix(errno);
	}
	c.stock = data_blob_null;
	status = disconnect_locked(vfs, h, stock_cookie, mem_ctx, &c.stock);
	if (!NT_STATUS_IS_OK(status)) {
		goto out;
	}
	if (fstat(fd, &st) == -1) {
		DBG_WARNING("cannot fstat %s: %s\n", fsp_str_dbg(h->fsp),
			    strerror(errno));
	}
	announce(h, &st);
	outlive_scavenger(h);
	h->cookie.stock = c.stock;
	status = cookie_push(mem_ctx, &h->cookie, new_cookie);
	h->cookie.stock = data_blob_null;
out:
	data_blob_free(&c.stock);
	close(fd);
	return status;
}
