/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "contend.h"
#include "descriptors.h"
#include "fault.h"
#include "persistd.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define CONTEND_BUDGET_NS (200 * CLOCK_NS_PER_MS)

/* Also under a share-mode lock. */
#define WRITE_TIME_SETTLE_MS 50

static bool maybe_away(const SMB_STRUCT_STAT *st)
{
	return VALID_STAT(*st) && S_ISREG(st->st_ex_mode) &&
	       descriptors_maybe_parked(st->st_ex_dev, st->st_ex_ino);
}

const char *contend_client_address(TALLOC_CTX *mem_ctx,
				   const struct connection_struct *conn)
{
	const char *address = tsocket_address_inet_addr_string(
		conn->sconn->remote_address, mem_ctx);

	return address != NULL ? address : "";
}

static bool ask(const msgpack_sbuffer *question, uint64_t seq,
		enum wire_reply_type expected, struct wire_reply *reply)
{
	uint64_t deadline_ns = clock_monotonic_ns() + CONTEND_BUDGET_NS;

	return link_ask(question, seq, deadline_ns, expected, reply);
}

void contend_forget(struct connection_struct *conn, const SMB_STRUCT_STAT *st,
		    const struct wire_reply *reply)
{
	struct file_id id = vfs_file_id_from_sbuf(conn, st);
	struct share_mode_lock *lck = NULL;
	size_t i = 0;

	if (reply->num_ended > 0) {
		lck = get_existing_share_mode_lock(talloc_tos(), id);
	}
	for (i = 0; lck != NULL && i < reply->num_ended; i++) {
		records_forget_orphan(lck, &id, reply->ended[i]);
	}
	TALLOC_FREE(lck);
}

void contend_arriving(struct connection_struct *conn,
		      const struct smb_filename *smb_fname,
		      const struct smb2_lease *lease,
		      const struct smb2_create_blobs *in_context_blobs)
{
	const SMB_STRUCT_STAT *st = &smb_fname->st;
	struct smb2_create_blob *dh2q = NULL;
	TALLOC_CTX *frame = NULL;
	struct GUID_ndr_buf guid = { .buf = { 0 } };
	uint8_t lease_key[16] = { 0 };
	const uint8_t *create_guid = NULL;
	struct wire_reply reply = { .type = WIRE_REPLY_ERROR };
	msgpack_sbuffer question = { 0 };
	uint64_t seq = 0;

	if (!is_clients_connection(conn) || !maybe_away(st)) {
		return;
	}
	if (in_context_blobs != NULL) {
		dh2q = smb2_create_blob_find(in_context_blobs,
					     SMB2_CREATE_TAG_DH2Q);
	}
	if (dh2q != NULL && dh2q->data.length == 32) {
		create_guid = dh2q->data.data + 16;
	}
	if (lease == NULL && create_guid == NULL) {
		return;
	}
	if (lease != NULL) {
		SBVAL(lease_key, 0, lease->lease_key.data[0]);
		SBVAL(lease_key, 8, lease->lease_key.data[1]);
	}
	frame = talloc_stackframe();
	GUID_to_ndr_buf(&conn->sconn->client->global->client_guid, &guid);
	seq = link_next_seq();
	msgpack_sbuffer_init(&question);
	wire_pack_arrive(&question, seq, link_self(),
			 contend_client_address(frame, conn), guid.buf,
			 lease != NULL ? lease_key : NULL, create_guid,
			 st->st_ex_dev, st->st_ex_ino);
	fault_point("arrive.before-question");
	if (ask(&question, seq, WIRE_REPLY_ARRIVED, &reply)) {
		fault_point("arrive.after-answer");
		contend_forget(conn, st, &reply);
	}
	fault_point("arrive.end");
	msgpack_sbuffer_destroy(&question);
	TALLOC_FREE(frame);
}

static bool ids_of_disconnected(TALLOC_CTX *mem_ctx, const struct file_id *id,
				uint32_t **ids)
{
	struct share_mode_lock *lck =
		get_existing_share_mode_lock(mem_ctx, *id);
	bool ok = false;

	if (lck != NULL) {
		ok = records_disconnected_ids(mem_ctx, lck, ids);
		TALLOC_FREE(lck);
	}
	return ok;
}

/* Which opens smbd's record of the file still has. */
static void tell_alive(const struct connection_struct *conn,
		       const SMB_STRUCT_STAT *st, const struct file_id *id,
		       uint32_t access_mask)
{
	TALLOC_CTX *frame = talloc_stackframe();
	uint32_t *alive = NULL;
	struct wire_reply reply = { .type = WIRE_REPLY_ERROR };
	msgpack_sbuffer question = { 0 };
	uint64_t seq = 0;

	msgpack_sbuffer_init(&question);
	if (ids_of_disconnected(frame, id, &alive)) {
		seq = link_next_seq();
		wire_pack_contend(&question, seq, link_self(),
				  contend_client_address(frame, conn),
				  st->st_ex_dev, st->st_ex_ino, access_mask,
				  alive, talloc_array_length(alive));
		fault_point("contend.before-question");
		if (!ask(&question, seq, WIRE_REPLY_CONTENDED, &reply)) {
			DBG_NOTICE("persistd did not hear that inode %"PRIu64
				   " was opened or changed while handles of "
				   "it are away\n", (uint64_t)st->st_ex_ino);
		}
		fault_point("contend.after-question");
	}
	msgpack_sbuffer_destroy(&question);
	TALLOC_FREE(frame);
}

void contend_opened(const struct files_struct *fsp)
{
	const SMB_STRUCT_STAT *st = &fsp->fsp_name->st;

	if (is_clients_connection(fsp->conn) && maybe_away(st)) {
		tell_alive(fsp->conn, st, &fsp->file_id, fsp->access_mask);
	}
}

static void end_leases(struct connection_struct *conn,
		       const SMB_STRUCT_STAT *st, bool ask_anyway)
{
	struct file_id id = { 0 };
	struct share_mode_lock *lck = NULL;
	bool any = false;

	if (!is_clients_connection(conn) || !maybe_away(st)) {
		return;
	}
	id = vfs_file_id_from_sbuf(conn, st);
	lck = get_existing_share_mode_lock(talloc_tos(), id);
	if (lck != NULL) {
		fault_point("end-leases.before-records");
		any = records_end_leases(
			lck, &id, &conn->sconn->client->global->client_guid);
		fault_point("end-leases.after-records");
		TALLOC_FREE(lck);
	}
	if (any || ask_anyway) {
		tell_alive(conn, st, &id, FILE_WRITE_DATA);
	}
}

void contend_written(struct connection_struct *conn,
		     const SMB_STRUCT_STAT *st)
{
	end_leases(conn, st, false);
}

void contend_renamed(struct connection_struct *conn,
		     const SMB_STRUCT_STAT *st)
{
	end_leases(conn, st, true);
}

bool contend_lock(struct files_struct *fsp, const struct lock_struct *plock)
{
	const SMB_STRUCT_STAT *st = &fsp->fsp_name->st;

	/* fdkeeper may not have noticed yet that an smbd child is dead */
	return VALID_STAT(*st) &&
	       descriptors_maybe_kept(st->st_ex_dev, st->st_ex_ino) &&
	       records_lock_away(&fsp->file_id, plock);
}

bool contend_io(struct files_struct *fsp, const struct lock_struct *plock)
{
	return maybe_away(&fsp->fsp_name->st) &&
	       records_lock_away(&fsp->file_id, plock);
}

void contend_write_time(const struct files_struct *fsp,
			const struct smb_file_time *ft)
{
	const SMB_STRUCT_STAT *known = &fsp->fsp_name->st;
	const struct timespec *mtime = &ft->mtime;
	struct stat st = { 0 };
	msgpack_sbuffer event = { 0 };

	if (!is_clients_connection(fsp->conn) || !maybe_away(known) ||
	    fstat(fsp_get_pathref_fd(fsp), &st) == -1) {
		return;
	}
	if (is_omit_timespec(mtime)) {
		/* as vfs_default has it */
		mtime = &known->st_ex_mtime;
	}
	if (timespec_compare(&st.st_mtim, mtime) == 0) {
		return;
	}
	msgpack_sbuffer_init(&event);
	wire_event_write_time(&event, st.st_dev, st.st_ino,
			      clock_timespec_ns(&st.st_mtim),
			      clock_timespec_ns(mtime));
	fault_point("write-time.before-event");
	link_queue(NULL, &event);
	/* behind it the keeper, which watches, may see the new time first */
	(void)link_settle(WRITE_TIME_SETTLE_MS);
	fault_point("write-time.after-event");
}

void contend_refused(const struct connection_struct *conn,
		     const SMB_STRUCT_STAT *st, NTSTATUS status)
{
	const char *name = NULL;
	msgpack_sbuffer event = { 0 };
	TALLOC_CTX *frame = NULL;

	if (NT_STATUS_EQUAL(status, NT_STATUS_SHARING_VIOLATION)) {
		name = "SHARING_VIOLATION";
	} else if (NT_STATUS_EQUAL(status, NT_STATUS_LOCK_NOT_GRANTED) ||
		   NT_STATUS_EQUAL(status, NT_STATUS_FILE_LOCK_CONFLICT)) {
		name = "LOCK_NOT_GRANTED";
	}
	if (name == NULL || !is_clients_connection(conn) || !maybe_away(st)) {
		return;
	}
	frame = talloc_stackframe();
	msgpack_sbuffer_init(&event);
	wire_event_conflict(&event, st->st_ex_dev, st->st_ex_ino,
			    contend_client_address(frame, conn), name);
	fault_point("conflict.before-event");
	link_queue(NULL, &event);
	fault_point("conflict.after-event");
	TALLOC_FREE(frame);
}
