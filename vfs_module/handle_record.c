/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a handle is like, in the words of the messages. */
#include "samba_compat.h"
#include "clock.h"
#include "durability.h"
#include "handle.h"
#include "local_access.h"
#include "persistd.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

const char *handle_known_name(const struct persistent_handle *h)
{
	const char *present = h->fsp->fsp_name->base_name;

	if (h->known_as == NULL || h->renamed_to == NULL ||
	    strcmp(present, h->renamed_to) != 0) {
		return NULL;
	}
	return h->known_as;
}

static void guid_bytes(const struct GUID *guid, uint8_t out[WIRE_GUID_SIZE])
{
	struct GUID_ndr_buf buf = { .buf = { 0 } };

	GUID_to_ndr_buf(guid, &buf);
	memcpy(out, buf.buf, WIRE_GUID_SIZE);
}

static unsigned wire_oplock(const struct files_struct *fsp)
{
	if (fsp->oplock_type == LEASE_OPLOCK) {
		return SMB2_OPLOCK_LEVEL_LEASE;
	}
	if (BATCH_OPLOCK_TYPE(fsp->oplock_type)) {
		return SMB2_OPLOCK_LEVEL_BATCH;
	}
	if (EXCLUSIVE_OPLOCK_TYPE(fsp->oplock_type)) {
		return SMB2_OPLOCK_LEVEL_EXCLUSIVE;
	}
	if (LEVEL_II_OPLOCK_TYPE(fsp->oplock_type)) {
		return SMB2_OPLOCK_LEVEL_II;
	}
	return SMB2_OPLOCK_LEVEL_NONE;
}

static const char *kind_text(const struct persistent_handle *h)
{
	return h->state == HANDLE_ASKED ? "plain" :
					  cookie_kind_name(h->cookie.kind);
}

bool handle_pack_record(struct persistent_handle *h, msgpack_sbuffer *out)
{
	const struct loadparm_substitution *lp_sub =
		loadparm_s3_global_substitution();
	TALLOC_CTX *frame = talloc_stackframe();
	struct files_struct *fsp = h->fsp;
	struct connection_struct *conn = fsp->conn;
	struct smbXsrv_open_global0 *global = fsp->op->global;
	struct timespec opened = nt_time_to_full_timespec(global->open_time);
	uint8_t client_guid[WIRE_GUID_SIZE] = { 0 };
	uint8_t create_guid[WIRE_GUID_SIZE] = { 0 };
	uint8_t lease_key[16] = { 0 };
	struct dom_sid_buf sid = { .buf = { 0 } };
	const bool has_lease = fsp->oplock_type == LEASE_OPLOCK;
	struct stat st = { 0 };
	msgpack_packer pk = { 0 };
	struct wire_record r = {
		.cookie = h->cookie.cookie,
		.kind = kind_text(h),
		.durable_version = h->cookie.durable_version,
		.share = lp_servicename(frame, lp_sub, SNUM(conn)),
		.connect_path = conn->connectpath,
		.path = handle_path(frame, conn, fsp->fsp_name->base_name),
		.user = conn->session_info->unix_info->unix_name,
		.owner_sid = dom_sid_str_buf(&global->open_owner, &sid),
		.uid = conn->session_info->unix_token->uid,
		.client_address = tsocket_address_inet_addr_string(
			conn->sconn->remote_address, frame),
		.client_name = conn->sconn->remote_hostname,
		.client_guid = client_guid,
		.create_guid = create_guid,
		.oplock = wire_oplock(fsp),
		.persistent_id = global->open_persistent_id,
		.share_file_id = fh_get_gen_id(fsp->fh),
		.access_mask = fsp->access_mask,
		.share_access = h->share_access,
		.create_options = h->cookie.create_options,
		.opened_realtime_ns = clock_timespec_ns(&opened),
		.timeout_ms = global->durable_timeout_msec,
		.server_id = *link_self(),
		.records_epoch = records_epoch(),
		.known_as = handle_known_name(h),
		.app_instance = h->cookie.app_instance,
	};
	bool ok = false;

	if (r.share == NULL || r.path == NULL ||
	    fstat(fsp_get_pathref_fd(fsp), &st) == -1) {
		goto out;
	}
	r.local_access = local_access(conn, r.kind);
	h->survives_host = !strequal(r.kind, "plain") && !h->process_only &&
			   durability_is_host(conn, r.kind);
	r.survives_host = h->survives_host;
	r.posix_locking = lp_posix_locking(conn->params);
	r.dev = st.st_dev;
	r.ino = st.st_ino;
	if (r.client_address == NULL) {
		r.client_address = "";
	}
	if (r.client_name == NULL) {
		r.client_name = "";
	}
	guid_bytes(&global->client_guid, client_guid);
	guid_bytes(&global->create_guid, create_guid);
	if (has_lease) {
		SBVAL(lease_key, 0, fsp->lease->lease.lease_key.data[0]);
		SBVAL(lease_key, 8, fsp->lease->lease.lease_key.data[1]);
		r.lease_key = lease_key;
		r.lease_state = fsp_lease_type(fsp);
		r.lease_version = fsp->lease->lease.lease_version;
		r.lease_epoch = fsp->lease->lease.lease_epoch;
	}
	msgpack_packer_init(&pk, out, msgpack_sbuffer_write);
	wire_pack_record(&pk, &r);
	ok = true;
out:
	TALLOC_FREE(frame);
	return ok;
}
