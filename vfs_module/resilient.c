/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "fault.h"
#include "handle.h"
#include "records.h"
#include "resilient.h"
#include "timeouts.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/* What an open is before the request, to be restored if it cannot be met. */
struct before {
	uint8_t durable;
	uint32_t timeout_ms;
	DATA_BLOB cookie;
	enum persistent_kind kind;
	enum handle_state state;
};

static bool may_be_resilient(const struct files_struct *fsp)
{
	const struct smbXsrv_client *client = fsp->conn->sconn->client;

	return fsp->op != NULL && fsp->fsp_flags.use_ofd_locks &&
	       !fsp->fsp_flags.is_directory &&
	       !fsp_is_alternate_stream(fsp) &&
	       !is_fake_file(fsp->fsp_name) &&
	       S_ISREG(fsp->fsp_name->st.st_ex_mode) &&
	       client->connections->protocol >= PROTOCOL_SMB2_10;
}

static uint32_t share_access_of(const struct files_struct *fsp)
{
	struct server_id self = messaging_server_id(fsp->conn->sconn->msg_ctx);
	struct share_mode_entry e = { 0 };
	struct share_mode_lock *lck =
		get_existing_share_mode_lock(talloc_tos(), fsp->file_id);

	if (lck != NULL) {
		(void)records_find_entry(lck, self, fh_get_gen_id(fsp->fh),
					 &e);
		TALLOC_FREE(lck);
	}
	return e.share_access;
}

static struct persistent_handle *handle_for(struct vfs_handle_struct *vfs,
					    struct files_struct *fsp)
{
	struct persistent_handle *h = handle_of(vfs, fsp);

	if (h == NULL) {
		h = handle_add(vfs, fsp, 0);
		if (h != NULL) {
			h->share_access = share_access_of(fsp);
		}
	}
	return h;
}

/* smbd's record of the open says from now on that it outlives its client. */
static NTSTATUS promise(struct vfs_handle_struct *vfs,
			struct persistent_handle *h, uint32_t timeout_ms)
{
	struct smbXsrv_open *op = h->fsp->op;
	struct persistent_cookie c = { .is_pathref = false };
	NTSTATUS status;

	if (h->cookie.kind != PERSISTENT_KIND_PERSISTENT) {
		h->cookie.kind = PERSISTENT_KIND_RESILIENT;
	}
	h->cookie.is_pathref = h->fsp->fsp_flags.is_pathref;
	c = h->cookie;
	status = handle_stock_cookie(vfs, h->fsp, talloc_tos(), &c.stock);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	status = cookie_push(op, &c, &op->global->backend_cookie);
	data_blob_free(&c.stock);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	op->global->durable = true;
	op->global->durable_timeout_msec = timeout_ms;
	return smbXsrv_open_update(op);
}

static void take_back(struct vfs_handle_struct *vfs,
		      struct persistent_handle *h,
		      const struct before *before)
{
	struct smbXsrv_open *op = h->fsp->op;
	struct files_struct *fsp = h->fsp;

	if (op->global->backend_cookie.data != before->cookie.data) {
		data_blob_free(&op->global->backend_cookie);
	}
	op->global->backend_cookie = before->cookie;
	op->global->durable = before->durable;
	op->global->durable_timeout_msec = before->timeout_ms;
	(void)smbXsrv_open_update(op);
	h->cookie.kind = before->kind;
	h->state = before->state;
	if (before->state == HANDLE_ASKED) {
		handle_closed(h, "refused");
		handle_remove(vfs, fsp);
	} else if (h->deposited) {
		handle_tell_again(h);
	}
}

NTSTATUS resilient_request(struct vfs_handle_struct *vfs,
			   struct files_struct *fsp, const uint8_t *in,
			   uint32_t in_len)
{
	struct persistent_handle *h = NULL;
	struct smbXsrv_open_global0 *global = NULL;
	struct before before = { .durable = 0 };
	uint32_t timeout_ms = 0;
	NTSTATUS status;

	if (in_len < 8) {
		return NT_STATUS_INVALID_PARAMETER;
	}
	if (!timeouts_resilient(fsp->conn, IVAL(in, 0), &timeout_ms)) {
		return NT_STATUS_INVALID_PARAMETER;
	}
	if (!may_be_resilient(fsp)) {
		return NT_STATUS_NOT_SUPPORTED;
	}
	h = handle_for(vfs, fsp);
	if (h == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	global = fsp->op->global;
	before = (struct before) {
		.durable = global->durable,
		.timeout_ms = global->durable_timeout_msec,
		.cookie = global->backend_cookie,
		.kind = h->cookie.kind,
		.state = h->state,
	};

	fault_point("resilient.before-record");
	status = promise(vfs, h, timeout_ms);
	fault_point("resilient.after-record");
	if (NT_STATUS_IS_OK(status)) {
		h->state = HANDLE_ANNOUNCED;
		if (handle_secure(h)) {
			fault_point("resilient.before-answer");
			if (before.cookie.data != NULL) {
				data_blob_free(&before.cookie);
			}
			return NT_STATUS_OK;
		}
		status = NT_STATUS_NOT_SUPPORTED;
	}
	DBG_WARNING("%s does not become resilient: %s\n", fsp_str_dbg(fsp),
		    nt_errstr(status));
	fault_point("resilient.before-undo");
	take_back(vfs, h, &before);
	fault_point("resilient.after-undo");
	return NT_STATUS_NOT_SUPPORTED;
}
