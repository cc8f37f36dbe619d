/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * vfs_persistent: SMB clients keep their open files.
 *
 * Stock smbd closes a file when its client drops off the network, opens it
 * again by name when the client returns, and gives up if anything about it
 * changed meanwhile. With this module the open file itself, the kernel's file
 * description, is given into keeping (to fdkeeper) when a durable handle is
 * granted, and handed back when the client returns. persistd is told of each
 * step and decides who may have what; docs/architecture.md has the whole.
 *
 *	[global]
 *		persistent:socket directory = /run/persistd
 *	[projects]
 *		vfs objects = persistent
 *		persistent:durable timeout = 120
 *		persistent:durable timeout max = 300
 *		persistent:durability = host
 *
 * The module never waits without a bound, and when persistd or fdkeeper is
 * away the share works as on stock Samba.
 */
#include "samba_compat.h"
#include "app_instance.h"
#include "clock.h"
#include "contend.h"
#include "descriptors.h"
#include "disconnect.h"
#include "fault.h"
#include "guard.h"
#include "handle.h"
#include "import.h"
#include "keep.h"
#include "lock_sequence.h"
#include "persistd.h"
#include "records.h"
#include "resilient.h"
#include "resume.h"
#include "strength.h"
#include "unsafe.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define DEFAULT_RUN_DIR "/run/persistd"
#define SETTLE_MS 100

/* persistd is back. */
static void resync(void)
{
	handles_resync();
	unsafe_tell();
}

static const struct link_callbacks link_callbacks = {
	.resync = resync,
};

/* An smbd child serves one client. */
static struct smbd_server_connection *client_sconn;

static bool has_module(const struct connection_struct *conn);

/* What it held on the shares of this child's client comes back at once. */
static bool sibling_died(void)
{
	struct connection_struct *conn = NULL;
	bool done = true;

	become_root();
	for (conn = client_sconn->connections; conn != NULL;
	     conn = conn->next) {
		if (has_module(conn)) {
			done &= import_of_sibling(conn);
		}
	}
	unbecome_root();
	return done;
}

static const struct descriptors_callbacks descriptors_callbacks = {
	.died = sibling_died,
	.refused = handles_refused,
	.redeposit = handles_redeposit,
};

/*
 * The last call of every tree connect, as root: connects to our daemons, so
 * that ZeroMQ's thread has root's credentials and no CREATE pays for it.
 */
static uint32_t persistent_fs_capabilities(struct vfs_handle_struct *vfs,
					   enum timestamp_set_resolution *res)
{
	struct smbd_server_connection *sconn = vfs->conn->sconn;
	const char *run_dir = NULL;

	if (!is_clients_connection(vfs->conn)) {
		return SMB_VFS_NEXT_FS_CAPABILITIES(vfs, res);
	}
	client_sconn = sconn;
	run_dir = lp_parm_const_string(GLOBAL_SECTION_SNUM, "persistent",
				       "socket directory", DEFAULT_RUN_DIR);
	descriptors_open(sconn->ev_ctx, run_dir, &descriptors_callbacks);
	(void)descriptors_ready();
	(void)link_open(sconn->ev_ctx, sconn->msg_ctx, run_dir,
			&link_callbacks);
	import_at_connect(vfs->conn);
	app_instance_listen(sconn);
	return SMB_VFS_NEXT_FS_CAPABILITIES(vfs, res);
}

/* The end of a tree connect: persistd shall have heard all of it. */
static void persistent_disconnect(struct vfs_handle_struct *vfs)
{
	if (is_clients_connection(vfs->conn)) {
		(void)link_settle(SETTLE_MS);
	}
	SMB_VFS_NEXT_DISCONNECT(vfs);
}

/*
 * Of an open that may become a handle, or that another node may take over.
 * MS-SMB2 2.2.13.2.11: Timeout is the first field of DH2Q.
 */
static void note_durable_request(struct vfs_handle_struct *vfs,
				 struct files_struct *fsp,
				 const struct smb2_create_blobs *in,
				 const struct wire_app_instance *app,
				 struct smb2_create_blobs *out,
				 uint32_t share_access,
				 uint32_t create_options)
{
	struct smb2_create_blob *dhnq =
		smb2_create_blob_find(in, SMB2_CREATE_TAG_DHNQ);
	struct smb2_create_blob *dh2q =
		smb2_create_blob_find(in, SMB2_CREATE_TAG_DH2Q);
	struct persistent_handle *h = NULL;

	/* process locks (not OFD) would be lost with any copy's close */
	if ((dhnq == NULL && dh2q == NULL && !app->given) || fsp->op == NULL ||
	    !fsp->fsp_flags.use_ofd_locks ||
	    fsp->fsp_flags.is_directory || fsp_is_alternate_stream(fsp)) {
		return;
	}
	h = handle_add(vfs, fsp, dh2q != NULL ? 2 : dhnq != NULL ? 1 : 0);
	if (h == NULL) {
		return;
	}
	if (dh2q != NULL && dh2q->data.length >= 4) {
		h->asked_timeout_ms = IVAL(dh2q->data.data, 0);
	}
	h->out_context_blobs = out;
	h->share_access = share_access;
	h->cookie.create_options = create_options;
	h->cookie.app_instance = *app;
}

/* Opens it once more, if that has cost the file nothing. */
static bool opens_again(struct smb_request *req,
			const struct server_id *owners,
			uint32_t create_disposition,
			struct files_struct **result)
{
	if (create_disposition == FILE_SUPERSEDE ||
	    create_disposition == FILE_OVERWRITE ||
	    create_disposition == FILE_OVERWRITE_IF ||
	    !import_missed(*result, owners)) {
		return false;
	}
	close_file_free(req, result, ERROR_CLOSE);
	return true;
}

static NTSTATUS persistent_create_file(
	struct vfs_handle_struct *vfs, struct smb_request *req,
	struct files_struct *dirfsp, struct smb_filename *smb_fname,
	uint32_t access_mask, uint32_t share_access,
	uint32_t create_disposition, uint32_t create_options,
	uint32_t file_attributes, uint32_t oplock_request,
	const struct smb2_lease *lease, uint64_t allocation_size,
	uint32_t private_flags, struct security_descriptor *sd,
	struct ea_list *ea_list, struct files_struct **result, int *pinfo,
	const struct smb2_create_blobs *in_context_blobs,
	struct smb2_create_blobs *out_context_blobs)
{
	struct wire_app_instance app =
		app_instance_read(req, in_context_blobs);
	const struct keep_request req_keep = {
		.conn = vfs->conn,
		.st = &smb_fname->st,
		.access_mask = access_mask,
		.share_access = share_access,
		.create_disposition = create_disposition,
	};
	struct server_id *owners = NULL;
	NTSTATUS status;

	status = app_instance_arriving(vfs->conn, smb_fname, &app);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	contend_arriving(vfs->conn, smb_fname, lease, in_context_blobs);
	do {
		struct keep keep = { .away = NULL };
		const struct smb2_lease *asked_lease = lease;
		uint32_t asked_oplock = oplock_request;

		/* the last that may wait: smbd forgets the dead it meets */
		status = import_file(vfs->conn, smb_fname, talloc_tos(),
				     &owners);
		if (!NT_STATUS_IS_OK(status)) {
			break;
		}
		fault_point("create.before-open");
		keep_begin(&req_keep, &keep, &asked_oplock, &asked_lease);
		status = SMB_VFS_NEXT_CREATE_FILE(
			vfs, req, dirfsp, smb_fname, access_mask, share_access,
			create_disposition, create_options, file_attributes,
			asked_oplock, asked_lease, allocation_size,
			private_flags, sd, ea_list, result, pinfo,
			in_context_blobs, out_context_blobs);
		keep_end(&keep, NT_STATUS_IS_OK(status) ? *result : NULL);
	} while (NT_STATUS_IS_OK(status) &&
		 opens_again(req, owners, create_disposition, result));
	TALLOC_FREE(owners);
	if (!NT_STATUS_IS_OK(status)) {
		contend_refused(vfs->conn, &smb_fname->st, status);
		return status;
	}
	contend_opened(*result);
	if (in_context_blobs != NULL) {
		note_durable_request(vfs, *result, in_context_blobs, &app,
				     out_context_blobs, share_access,
				     create_options);
	}
	return status;
}

/* smbd is about to grant: stock's conditions are ours. */
static NTSTATUS persistent_durable_cookie(struct vfs_handle_struct *vfs,
					  struct files_struct *fsp,
					  TALLOC_CTX *mem_ctx,
					  DATA_BLOB *cookie)
{
	struct persistent_handle *h = handle_of(vfs, fsp);
	struct persistent_cookie c = { .is_pathref = false };
	NTSTATUS status;

	if (h != NULL && h->state == HANDLE_RESUMED) {
		/* DHnC with DHnQ beside it: the cookie is renewed already */
		return resume_cookie_again(h, mem_ctx, cookie);
	}
	status = SMB_VFS_NEXT_DURABLE_COOKIE(vfs, fsp, mem_ctx, cookie);
	if (!NT_STATUS_IS_OK(status) || h == NULL) {
		return status;
	}
	h->cookie.is_pathref = fsp->fsp_flags.is_pathref;
	c = h->cookie;
	c.kind = strength_kind(h);
	c.stock = *cookie;
	status = cookie_push(mem_ctx, &c, cookie);
	data_blob_free(&c.stock);
	if (NT_STATUS_IS_OK(status)) {
		h->cookie.kind = c.kind;
		h->state = HANDLE_GRANTED;
	}
	return status;
}

/* The last call before a CREATE is answered; called at other times, too. */
static uint64_t persistent_get_alloc_size(struct vfs_handle_struct *vfs,
					  struct files_struct *fsp,
					  const SMB_STRUCT_STAT *sbuf)
{
	/* sbuf may be part of fsp, and handle_announce() may rename fsp */
	uint64_t size = SMB_VFS_NEXT_GET_ALLOC_SIZE(vfs, fsp, sbuf);
	struct persistent_handle *h = handle_of(vfs, fsp);

	if (h != NULL && (h->state == HANDLE_GRANTED ||
			  h->state == HANDLE_RESUMED)) {
		handle_announce(h);
	} else if (h != NULL && h->state == HANDLE_ASKED) {
		handle_announce_plain(h);
	}
	return size;
}

static NTSTATUS persistent_durable_disconnect(struct vfs_handle_struct *vfs,
					      struct files_struct *fsp,
					      const DATA_BLOB old_cookie,
					      TALLOC_CTX *mem_ctx,
					      DATA_BLOB *new_cookie)
{
	struct persistent_handle *h = handle_of(vfs, fsp);
	struct persistent_cookie c = { .is_pathref = false };

	if (!cookie_pull(&old_cookie, &c)) {
		return SMB_VFS_NEXT_DURABLE_DISCONNECT(vfs, fsp, old_cookie,
						       mem_ctx, new_cookie);
	}
	if (h == NULL || !handle_is_kept(h)) {
		return SMB_VFS_NEXT_DURABLE_DISCONNECT(vfs, fsp, c.stock,
						       mem_ctx, new_cookie);
	}
	return disconnect_handle(vfs, h, c.stock, mem_ctx, new_cookie);
}

/*
 * The smbd child that had the descriptor closes it. Parked, the keeper's copy
 * lives on; otherwise the keeper's copy goes first, so that nobody who is let
 * in by this close can still feel its kernel locks.
 */
static int persistent_close(struct vfs_handle_struct *vfs,
			    struct files_struct *fsp)
{
	struct persistent_handle *h = handle_of(vfs, fsp);

	if (h != NULL && h->state != HANDLE_PARKED) {
		struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

		if (handle_is_kept(h) && fsp->fsp_flags.use_ofd_locks) {
			/* the locks are the description's, not the copy's */
			(void)fcntl(fsp_get_pathref_fd(fsp), F_OFD_SETLK,
				    &all);
		}
		handle_closed(h, h->close_reason != NULL ? h->close_reason :
							   "close");
	}
	return SMB_VFS_NEXT_CLOSE(vfs, fsp);
}

/*
 * Whether stock's reconnect may be tried. It must not meet locks that are
 * mirrored in the kernel (smbd 4.17 panics then), and knows no deadline.
 */
static bool stock_may_reconnect(const struct resume_request *req)
{
	const struct persistent_cookie *c = &req->cookie;
	NTTIME gone = req->op->global->disconnect_time;
	NTTIME now = timeval_to_nttime(&req->smb1req->request_time);

	if (c->disconnects == 0) {
		return true; /* none of ours */
	}
	if (c->lock_count > 0 && lp_posix_locking(req->vfs->conn->params)) {
		return false;
	}
	return gone == 0 || now < gone + (NTTIME)c->timeout_ms * 10000;
}

/* Stock's own reconnect: it opens the file by name and compares its stat. */
static NTSTATUS reconnect_as_stock(const struct resume_request *req,
				   struct files_struct **fsp,
				   DATA_BLOB *new_cookie)
{
	uint64_t id = req->op->global->open_persistent_id;
	NTSTATUS status = NT_STATUS_OBJECT_NAME_NOT_FOUND;

	if (!stock_may_reconnect(req)) {
		return status;
	}
	records_stock_form(&req->cookie.stock, id, req->cookie.disconnects);
	status = SMB_VFS_NEXT_DURABLE_RECONNECT(
		req->vfs, req->smb1req, req->op, req->cookie.stock,
		req->mem_ctx, fsp, new_cookie);
	if (NT_STATUS_IS_OK(status)) {
		/* another description: the one that was kept has had its day */
		(void)descriptors_drop(req->cookie.cookie);
		if (req->cookie.disconnects > 0) {
			req->op->global->durable_timeout_msec =
				req->cookie.timeout_ms;
		}
	} else {
		records_forget_phantom(&req->cookie.stock,
				       req->vfs->conn->sconn, id);
	}
	return status;
}

static NTSTATUS persistent_durable_reconnect(struct vfs_handle_struct *vfs,
					     struct smb_request *smb1req,
					     struct smbXsrv_open *op,
					     const DATA_BLOB old_cookie,
					     TALLOC_CTX *mem_ctx,
					     struct files_struct **fsp,
					     DATA_BLOB *new_cookie)
{
	struct resume_request req = {
		.vfs = vfs,
		.smb1req = smb1req,
		.op = op,
		.mem_ctx = mem_ctx,
	};
	struct resume_result result = { .have_holder = false };
	enum resume_outcome outcome = RESUME_ASK_STOCK;
	NTSTATUS status = NT_STATUS_OBJECT_NAME_NOT_FOUND;

	if (cookie_pull(&old_cookie, &req.cookie)) {
		outcome = resume(&req, &result);
	} else {
		req.cookie.stock = old_cookie;
	}

	switch (outcome) {
	case RESUME_DONE:
		*fsp = result.fsp;
		*new_cookie = result.cookie;
		return NT_STATUS_OK;
	case RESUME_ASK_STOCK:
		status = reconnect_as_stock(&req, fsp, new_cookie);
		if (!NT_STATUS_IS_OK(status)) {
			records_give_back(op, true, NULL);
		}
		return status;
	case RESUME_REFUSED:
		records_give_back(op, true,
				  result.have_holder ? &result.holder : NULL);
		return status;
	case RESUME_ENDED:
		records_forget(&req.cookie.stock,
			       op->global->open_persistent_id,
			       req.cookie.disconnects);
		records_give_back(op, false, NULL);
		return status;
	}
	return status;
}

static NTSTATUS persistent_brl_lock_windows(struct vfs_handle_struct *vfs,
					    struct byte_range_lock *br_lck,
					    struct lock_struct *plock)
{
	struct files_struct *fsp = brl_fsp(br_lck);
	struct persistent_handle *h = handle_of(vfs, fsp);
	struct descriptors_note note = { .length = 0 };
	NTSTATUS status = NT_STATUS_LOCK_NOT_GRANTED;

	if (contend_lock(fsp, plock)) {
		/* nobody wakes us when that handle ends: smbd is to poll */
		plock->context.smblctx = UINT64_MAX;
	} else {
		status = SMB_VFS_NEXT_BRL_LOCK_WINDOWS(vfs, br_lck, plock);
	}
	if (!NT_STATUS_IS_OK(status)) {
		contend_refused(vfs->conn, &fsp->fsp_name->st, status);
	} else if (h != NULL) {
		note = lock_sequence_note(h, plock, false);
		handle_locked(h, plock, &note);
	}
	return status;
}

/* Before a READ or WRITE: does a lock forbid it, does it break a lease? */
static bool persistent_strict_lock_check(struct vfs_handle_struct *vfs,
					 struct files_struct *fsp,
					 struct lock_struct *plock)
{
	if (lp_locking(fsp->conn->params) &&
	    lp_strict_locking(fsp->conn->params) &&
	    contend_io(fsp, plock)) {
		return false;
	}
	if (plock->lock_type == WRITE_LOCK) {
		contend_written(fsp->conn, &fsp->fsp_name->st);
	}
	return SMB_VFS_NEXT_STRICT_LOCK_CHECK(vfs, fsp, plock);
}

static bool persistent_brl_unlock_windows(struct vfs_handle_struct *vfs,
					  struct byte_range_lock *br_lck,
					  const struct lock_struct *plock)
{
	struct persistent_handle *h = handle_of(vfs, brl_fsp(br_lck));
	bool ok = SMB_VFS_NEXT_BRL_UNLOCK_WINDOWS(vfs, br_lck, plock);
	struct descriptors_note note = { .length = 0 };

	if (ok && h != NULL) {
		note = lock_sequence_note(h, plock, true);
		handle_unlocked(h, plock, &note);
	}
	return ok;
}

/*
 * Whether persistd wants to hear of a name's change: of a directory, since
 * handles may be anywhere below it, or of a file that has a handle.
 */
static bool has_handles(struct vfs_handle_struct *vfs,
			const SMB_STRUCT_STAT *st)
{
	struct file_id id = { 0 };

	if (!VALID_STAT(*st)) {
		return false;
	}
	if (S_ISDIR(st->st_ex_mode) ||
	    descriptors_maybe_parked(st->st_ex_dev, st->st_ex_ino)) {
		return true;
	}
	id = vfs_file_id_from_sbuf(vfs->conn, st);
	return file_find_di_first(vfs->conn->sconn, id, false) != NULL;
}

static char *path_at(TALLOC_CTX *mem_ctx, const struct files_struct *dir,
		     const struct smb_filename *name)
{
	struct smb_filename *full =
		full_path_from_dirfsp_atname(mem_ctx, dir, name);
	char *path = NULL;

	if (full != NULL) {
		path = handle_path(mem_ctx, dir->conn, full->base_name);
		TALLOC_FREE(full);
	}
	return path;
}

static int persistent_renameat(struct vfs_handle_struct *vfs,
			       struct files_struct *srcdir,
			       const struct smb_filename *src,
			       struct files_struct *dstdir,
			       const struct smb_filename *dst)
{
	int ret = SMB_VFS_NEXT_RENAMEAT(vfs, srcdir, src, dstdir, dst);
	int saved = errno;
	char *from = NULL;
	char *to = NULL;
	msgpack_sbuffer event = { 0 };

	if (ret == 0 && has_handles(vfs, &src->st)) {
		from = path_at(talloc_tos(), srcdir, src);
		to = path_at(talloc_tos(), dstdir, dst);
	}
	if (from != NULL && to != NULL) {
		msgpack_sbuffer_init(&event);
		wire_event_rename(&event, src->st.st_ex_dev,
				  src->st.st_ex_ino,
				  S_ISDIR(src->st.st_ex_mode), from, to);
		fault_point("rename.before-event");
		link_queue(NULL, &event);
		fault_point("rename.after-event");
	}
	if (ret == 0) {
		contend_renamed(vfs->conn, &src->st);
	}
	TALLOC_FREE(from);
	TALLOC_FREE(to);
	errno = saved;
	return ret;
}

static int persistent_unlinkat(struct vfs_handle_struct *vfs,
			       struct files_struct *dir,
			       const struct smb_filename *name, int flags)
{
	bool tell = (flags & AT_REMOVEDIR) == 0 && has_handles(vfs, &name->st);
	int ret = SMB_VFS_NEXT_UNLINKAT(vfs, dir, name, flags);
	int saved = errno;
	char *path = NULL;
	msgpack_sbuffer event = { 0 };

	if (ret == 0 && tell) {
		path = path_at(talloc_tos(), dir, name);
	}
	if (path != NULL) {
		msgpack_sbuffer_init(&event);
		wire_event_unlink(&event, name->st.st_ex_dev,
				  name->st.st_ex_ino, path);
		fault_point("unlink.before-event");
		link_queue(NULL, &event);
		fault_point("unlink.after-event");
		TALLOC_FREE(path);
	}
	if (ret == 0 && tell) {
		contend_renamed(vfs->conn, &name->st);
	}
	errno = saved;
	return ret;
}

static int persistent_fntimes(struct vfs_handle_struct *vfs,
			      struct files_struct *fsp,
			      struct smb_file_time *ft)
{
	if (ft != NULL) {
		contend_write_time(fsp, ft);
	}
	return SMB_VFS_NEXT_FNTIMES(vfs, fsp, ft);
}

/* FSCTL_LMR_REQUEST_RESILIENCY comes here, since stock smbd knows nothing of it. */
static NTSTATUS persistent_fsctl(struct vfs_handle_struct *vfs,
				 struct files_struct *fsp, TALLOC_CTX *mem_ctx,
				 uint32_t function, uint16_t req_flags,
				 const uint8_t *in, uint32_t in_len,
				 uint8_t **out, uint32_t max_out_len,
				 uint32_t *out_len)
{
	if (function == FSCTL_LMR_REQ_RESILIENCY) {
		*out_len = 0;
		return resilient_request(vfs, fsp, in, in_len);
	}
	return SMB_VFS_NEXT_FSCTL(vfs, fsp, mem_ctx, function, req_flags, in,
				  in_len, out, max_out_len, out_len);
}

static struct vfs_fn_pointers persistent_fns = {
	.fs_capabilities_fn = persistent_fs_capabilities,
	.disconnect_fn = persistent_disconnect,
	.create_file_fn = persistent_create_file,
	.durable_cookie_fn = persistent_durable_cookie,
	.get_alloc_size_fn = persistent_get_alloc_size,
	.durable_disconnect_fn = persistent_durable_disconnect,
	.durable_reconnect_fn = persistent_durable_reconnect,
	.close_fn = persistent_close,
	.fsctl_fn = persistent_fsctl,
	.brl_lock_windows_fn = persistent_brl_lock_windows,
	.brl_unlock_windows_fn = persistent_brl_unlock_windows,
	.strict_lock_check_fn = persistent_strict_lock_check,
	.renameat_fn = persistent_renameat,
	.unlinkat_fn = persistent_unlinkat,
	.fntimes_fn = persistent_fntimes,
};

static bool has_module(const struct connection_struct *conn)
{
	const struct vfs_handle_struct *vfs = conn->vfs_handles;

	while (vfs != NULL && vfs->fns != &persistent_fns) {
		vfs = vfs->next;
	}
	return vfs != NULL;
}

NTSTATUS samba_init_module(TALLOC_CTX *ctx);

NTSTATUS samba_init_module(TALLOC_CTX *ctx)
{
	if (!guard_this_samba()) {
		return NT_STATUS_INVALID_PARAMETER;
	}
	if (lp_clustering()) {
		DBG_ERR("vfs_persistent keeps handles on one node only: it "
			"does not work with clustering = yes\n");
		return NT_STATUS_NOT_SUPPORTED;
	}
	return smb_register_vfs(SMB_VFS_INTERFACE_VERSION, "persistent",
				&persistent_fns);
}
