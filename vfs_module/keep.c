/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "descriptors.h"
#include "fault.h"
#include "keep.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

static bool overwrites(uint32_t create_disposition)
{
	return create_disposition == FILE_SUPERSEDE ||
	       create_disposition == FILE_OVERWRITE ||
	       create_disposition == FILE_OVERWRITE_IF;
}

/* The most that it can come to. */
static uint32_t mapped_access(uint32_t access_mask)
{
	if ((access_mask & SEC_FLAG_MAXIMUM_ALLOWED) != 0) {
		access_mask |= SEC_GENERIC_ALL;
	}
	se_map_generic(&access_mask, &file_generic_mapping);
	return access_mask;
}

/* Of those that are away, the ones that this open leaves as they are. */
static size_t select_unharmed(const struct keep_request *req,
			      const struct smb2_lease *lease,
			      struct records_away *away)
{
	const struct GUID *client =
		&req->conn->sconn->client->global->client_guid;
	uint32_t access_mask = mapped_access(req->access_mask);
	size_t count = talloc_array_length(away);
	size_t kept = 0;
	size_t i = 0;

	for (i = 0; i < count; i++) {
		const struct share_mode_entry *e = &away[i].entry;
		const bool same = lease != NULL &&
				  smb2_lease_equal(client, &lease->lease_key,
						   &e->client_guid,
						   &e->lease_key);

		/* smbd leaves those of the opener's own lease alone */
		if (!same && away[i].lease_state == (SMB2_LEASE_READ |
						     SMB2_LEASE_HANDLE) &&
		    !records_share_conflict(e, access_mask,
					    req->share_access)) {
			away[kept++] = away[i];
		}
	}
	return kept;
}

void keep_begin(const struct keep_request *req, struct keep *keep,
		uint32_t *oplock_request, const struct smb2_lease **lease)
{
	struct share_mode_lock *lck = NULL;
	size_t count = 0;

	*keep = (struct keep) { .away = NULL };
	if (!is_clients_connection(req->conn) || !VALID_STAT(*req->st) ||
	    !S_ISREG(req->st->st_ex_mode) ||
	    !descriptors_maybe_parked(req->st->st_ex_dev,
				      req->st->st_ex_ino) ||
	    overwrites(req->create_disposition) ||
	    *oplock_request == INTERNAL_OPEN_ONLY ||
	    is_oplock_stat_open(req->access_mask)) {
		return;
	}
	keep->id = vfs_file_id_from_sbuf(req->conn, req->st);
	lck = get_existing_share_mode_lock(talloc_tos(), keep->id);
	if (lck != NULL) {
		keep->away = records_away_leases(req->conn, lck, &keep->id);
		TALLOC_FREE(lck);
	}
	count = select_unharmed(req, *lease, keep->away);
	if (count == 0) {
		TALLOC_FREE(keep->away);
		return;
	}
	keep->away = talloc_realloc(req->conn, keep->away,
				    struct records_away, count);
	/* as smbd grants beside the handle lease of a client that is there */
	if (*lease != NULL) {
		keep->lease = **lease;
		keep->lease.lease_state &= ~SMB2_LEASE_WRITE;
		*lease = &keep->lease;
	} else {
		*oplock_request = NO_OPLOCK;
	}
}

void keep_end(struct keep *keep, const struct files_struct *fsp)
{
	struct share_mode_lock *lck = NULL;
	size_t i = 0;

	if (keep->away == NULL) {
		return;
	}
	fault_point("keep.before-restore");
	/* on a failure it may be that no record is left to restore it in */
	if (fsp == NULL || file_id_equal(&fsp->file_id, &keep->id)) {
		lck = get_existing_share_mode_lock(talloc_tos(), keep->id);
	}
	for (i = 0; lck != NULL && i < talloc_array_length(keep->away); i++) {
		if (!records_restore_away(lck, &keep->id, &keep->away[i])) {
			DBG_NOTICE("open 0x%"PRIx64" does not outlive another "
				   "one\n", keep->away[i].entry.share_file_id);
		}
	}
	fault_point("keep.after-restore");
	TALLOC_FREE(lck);
	TALLOC_FREE(keep->away);
}
