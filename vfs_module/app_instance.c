/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "app_instance.h"
#include "clock.h"
#include "contend.h"
#include "fault.h"
#include "handle.h"
#include "persistd.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define APP_INSTANCE_VERSION_TAG \
	"\xB9\x82\xD0\xB7\x3B\x56\x07\x4F\xA0\x7B\x52\x4A\x81\x16\xA0\x10"

/* The holder's close event ends the wait; persistd answers before we give up. */
#define TAKEOVER_BUDGET_NS (150 * CLOCK_NS_PER_MS)
#define ANSWER_MARGIN_MS 30

/*
 * The body is a cookie. MSG_SMB_CLOSE_FILE would not do: its handler panics
 * while a READ, WRITE or waiting LOCK of the open is in progress.
 */
#define MSG_PERSISTENT_TAKEN_OVER 0x5041

static const uint8_t *context_data(const struct smb2_create_blobs *blobs,
				   const char *tag, size_t size)
{
	struct smb2_create_blob *blob = smb2_create_blob_find(blobs, tag);

	return blob != NULL && blob->data.length >= size ? blob->data.data :
							   NULL;
}

struct wire_app_instance app_instance_read(
	const struct smb_request *req,
	const struct smb2_create_blobs *in_context_blobs)
{
	struct wire_app_instance app = { .given = false };
	const uint8_t *id = NULL;
	const uint8_t *version = NULL;
	enum protocol_types protocol = PROTOCOL_NONE;

	if (req == NULL || req->xconn == NULL || in_context_blobs == NULL) {
		return app;
	}
	protocol = req->xconn->protocol;
	id = context_data(in_context_blobs, SMB2_CREATE_TAG_APP_INSTANCE_ID,
			  20);
	if (id == NULL || protocol < PROTOCOL_SMB3_00) {
		return app;
	}
	memcpy(app.id, id + 4, sizeof(app.id));
	/* an Open without one has a zero AppInstanceId */
	app.given = !all_zero(app.id, sizeof(app.id));
	version = context_data(in_context_blobs, APP_INSTANCE_VERSION_TAG, 24);
	if (app.given && version != NULL && protocol >= PROTOCOL_SMB3_11) {
		app.has_version = true;
		app.version_high = BVAL(version, 8);
		app.version_low = BVAL(version, 16);
	}
	return app;
}

/* MS-SMB2 3.3.5.9.13: by the maximal access of the user who comes. */
static bool may_close(struct connection_struct *conn,
		      const struct smb_filename *smb_fname)
{
	NTSTATUS status;

	if (smb_fname->fsp == NULL ||
	    (conn->share_access & FILE_GENERIC_READ) != FILE_GENERIC_READ) {
		return false;
	}
	status = smbd_check_access_rights_fsp(conn->cwd_fsp, smb_fname->fsp,
					      false, FILE_GENERIC_READ);
	return NT_STATUS_IS_OK(status);
}

static void ask_to_close(struct connection_struct *conn,
			 const struct wire_holder *holder)
{
	const struct wire_server_id *id = &holder->server_id;
	struct server_id to = {
		.pid = id->pid,
		.task_id = id->task_id,
		.vnn = id->vnn,
		.unique_id = id->unique_id,
	};
	NTSTATUS status = messaging_send_buf(
		conn->sconn->msg_ctx, to, MSG_PERSISTENT_TAKEN_OVER,
		holder->cookie, sizeof(holder->cookie));

	if (!NT_STATUS_IS_OK(status)) {
		DBG_NOTICE("smbd %"PRIu64" cannot be told that its open was "
			   "taken over: %s\n", id->pid, nt_errstr(status));
	}
}

static bool ask_persistd(const struct wire_takeover *t, uint64_t deadline_ns,
			 struct wire_reply *reply)
{
	uint64_t seq = link_next_seq();
	msgpack_sbuffer question = { 0 };
	bool ok = false;

	msgpack_sbuffer_init(&question);
	wire_pack_takeover(&question, seq, link_self(), t);
	fault_point("app-instance.before-question");
	ok = link_ask(&question, seq, deadline_ns, WIRE_REPLY_TAKEN_OVER, reply);
	fault_point("app-instance.after-question");
	msgpack_sbuffer_destroy(&question);
	return ok;
}

/*
 * What was taken over may have been delete-on-close. smbd has looked the name
 * up before, and would open the deleted file.
 */
static NTSTATUS check_still_there(const struct smb_filename *smb_fname)
{
	struct stat st = { 0 };

	if (smb_fname->fsp != NULL &&
	    fstat(fsp_get_pathref_fd(smb_fname->fsp), &st) == 0 &&
	    st.st_nlink == 0) {
		return NT_STATUS_DELETE_PENDING;
	}
	return NT_STATUS_OK;
}

/*
 * Who has such opens, they are asked to close them, and persistd answers the
 * second question when it has heard that they did.
 */
static NTSTATUS take_over(struct connection_struct *conn,
			  const struct smb_filename *smb_fname,
			  struct wire_takeover *t)
{
	uint64_t deadline_ns = clock_monotonic_ns() + TAKEOVER_BUDGET_NS;
	struct wire_reply reply = { .type = WIRE_REPLY_ERROR };
	int left_ms = 0;
	size_t i = 0;

	if (!ask_persistd(t, deadline_ns, &reply)) {
		return NT_STATUS_OK;
	}
	contend_forget(conn, &smb_fname->st, &reply);
	left_ms = clock_ms_until(deadline_ns) - ANSWER_MARGIN_MS;
	if (reply.num_holders > 0 && left_ms > 0) {
		fault_point("app-instance.before-message");
		for (i = 0; i < reply.num_holders; i++) {
			ask_to_close(conn, &reply.holders[i]);
		}
		fault_point("app-instance.after-message");
		t->wait_ms = left_ms;
		if (!ask_persistd(t, deadline_ns, &reply)) {
			return NT_STATUS_OK;
		}
		contend_forget(conn, &smb_fname->st, &reply);
	}
	if (reply.num_holders > 0) {
		DBG_WARNING("smbd %"PRIu64" did not close in time what another "
			    "node takes over\n",
			    reply.holders[0].server_id.pid);
	}
	return reply.refused ? NT_STATUS_FILE_FORCED_CLOSED :
			       check_still_there(smb_fname);
}

NTSTATUS app_instance_arriving(struct connection_struct *conn,
			       const struct smb_filename *smb_fname,
			       const struct wire_app_instance *app)
{
	const struct loadparm_substitution *lp_sub =
		loadparm_s3_global_substitution();
	const SMB_STRUCT_STAT *st = &smb_fname->st;
	struct GUID_ndr_buf guid = { .buf = { 0 } };
	struct wire_takeover t = { .app_instance = app };
	TALLOC_CTX *frame = NULL;
	NTSTATUS status = NT_STATUS_OK;

	if (!app->given || !is_clients_connection(conn) || !VALID_STAT(*st) ||
	    !S_ISREG(st->st_ex_mode)) {
		return NT_STATUS_OK;
	}
	frame = talloc_stackframe();
	GUID_to_ndr_buf(&conn->sconn->client->global->client_guid, &guid);
	t.client_address = contend_client_address(frame, conn);
	t.client_guid = guid.buf;
	t.share = lp_servicename(frame, lp_sub, SNUM(conn));
	t.dev = st->st_ex_dev;
	t.ino = st->st_ex_ino;
	t.may_close = may_close(conn, smb_fname);
	if (t.share != NULL) {
		status = take_over(conn, smb_fname, &t);
	}
	TALLOC_FREE(frame);
	return status;
}

struct closing {
	struct files_struct *fsp;
	struct tevent_queue *queue;
};

static void close_now(struct files_struct *fsp)
{
	if (!change_to_user_and_service_by_fsp(fsp)) {
		/* its session is ending */
		change_to_root_user();
		(void)chdir_current_service(fsp->conn);
	}
	fault_point("app-instance.before-close");
	(void)close_file_free(NULL, &fsp, NORMAL_CLOSE);
	fault_point("app-instance.after-close");
	change_to_root_user();
	/* another smbd child waits for persistd to hear of it */
	link_flush();
}

static void close_waited(struct tevent_req *subreq)
{
	struct closing *state = tevent_req_callback_data(subreq,
							 struct closing);

	tevent_queue_wait_recv(subreq);
	TALLOC_FREE(subreq);
	close_now(state->fsp); /* frees state, too */
}

/* The last one first: what is cancelled leaves its place to the last. */
static void cancel_requests(struct files_struct *fsp)
{
	size_t i = 0;

	for (i = fsp->num_aio_requests; i > 0; i--) {
		if (i <= fsp->num_aio_requests) {
			(void)tevent_req_cancel(fsp->aio_requests[i - 1]);
		}
	}
}

/*
 * As smbd's own CLOSE does: LOCKs that wait are cancelled, all else that is in
 * progress comes to its end.
 */
static void close_when_idle(struct files_struct *fsp)
{
	struct tevent_context *ev = fsp->conn->sconn->ev_ctx;
	struct closing *state = NULL;
	struct tevent_req *subreq = NULL;

	fsp->fsp_flags.closing = true;
	cancel_requests(fsp);
	if (fsp->num_aio_requests == 0) {
		close_now(fsp);
		return;
	}
	state = talloc_zero(fsp, struct closing);
	if (state == NULL) {
		return;
	}
	state->fsp = fsp;
	state->queue = tevent_queue_create(state, "taken over");
	/* its place in the queue is free when the last request has gone */
	if (state->queue == NULL ||
	    tevent_queue_wait_send(fsp->aio_requests, ev, state->queue) ==
		    NULL) {
		return;
	}
	subreq = tevent_queue_wait_send(state, ev, state->queue);
	if (subreq != NULL) {
		tevent_req_set_callback(subreq, close_waited, state);
	}
}

static void taken_over(struct messaging_context *msg_ctx, void *private_data,
		       uint32_t msg_type, struct server_id src,
		       DATA_BLOB *data)
{
	struct persistent_handle *h = NULL;

	if (data->length == WIRE_COOKIE_SIZE) {
		h = handle_find(data->data);
	}
	if (h == NULL || h->fsp->fsp_flags.closing) {
		return;
	}
	DBG_NOTICE("%s is taken over by another node of a cluster\n",
		   fsp_str_dbg(h->fsp));
	h->close_reason = "app instance";
	close_when_idle(h->fsp);
}

void app_instance_listen(struct smbd_server_connection *sconn)
{
	NTSTATUS status = messaging_register(sconn->msg_ctx, NULL,
					     MSG_PERSISTENT_TAKEN_OVER,
					     taken_over);

	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("cannot listen for takeovers: %s\n",
			nt_errstr(status));
	}
}
