/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The leases of opens that were away: leases.tdb. */
#include "samba_compat.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_LOCKING

struct lease_user_state {
	const struct share_mode_entry *mine;
	bool found;
};

/* (share_entry_stale_pid() would not only ask: it deletes.) */
static bool lease_user_fn(struct share_mode_entry *e, bool *modified,
			  void *private_data)
{
	struct lease_user_state *state = private_data;
	const struct share_mode_entry *mine = state->mine;

	state->found = e->op_type == LEASE_OPLOCK &&
		       GUID_equal(&e->client_guid, &mine->client_guid) &&
		       smb2_lease_key_equal(&e->lease_key,
					    &mine->lease_key) &&
		       records_is_alive(&e->pid);
	return state->found;
}

/* Another open of the client, which is not away, has the same lease. */
static bool lease_in_use(struct share_mode_lock *lck,
			 const struct share_mode_entry *e)
{
	struct lease_user_state state = { .mine = e };

	return !share_mode_forall_entries(lck, lease_user_fn, &state) ||
	       state.found;
}

bool records_restore_lease(struct share_mode_lock *lck,
			   const struct files_struct *fsp,
			   const struct share_mode_entry *e,
			   const struct persistent_surrogate *saved,
			   uint32_t state)
{
	NTSTATUS status = leases_db_get(&e->client_guid, &e->lease_key,
					&fsp->file_id, NULL, NULL, NULL, NULL,
					NULL, NULL);

	if (NT_STATUS_IS_OK(status) && lease_in_use(lck, e)) {
		return true;
	}
	if (NT_STATUS_IS_OK(status)) {
		/* smbd leaves the lease of an open that ended while away */
		status = leases_db_set(&e->client_guid, &e->lease_key, state,
				       false, 0, 0, saved->lease_version,
				       saved->lease_epoch);
		return NT_STATUS_IS_OK(status);
	}
	status = leases_db_add(&e->client_guid, &e->lease_key, &fsp->file_id,
			       state, saved->lease_version, saved->lease_epoch,
			       fsp->conn->connectpath,
			       fsp->fsp_name->base_name,
			       fsp->fsp_name->stream_name);
	return NT_STATUS_IS_OK(status);
}

bool records_lose_level(struct share_mode_lock *lck,
			const struct file_id *id, struct share_mode_entry *e)
{
	uint16_t version = 0;
	uint16_t epoch = 0;
	NTSTATUS status;

	if (e->op_type != LEASE_OPLOCK) {
		e->op_type = NO_OPLOCK;
		return true;
	}
	if (lease_in_use(lck, e)) {
		return true;
	}
	status = leases_db_get(&e->client_guid, &e->lease_key, id, NULL, NULL,
			       NULL, NULL, &version, &epoch);
	if (NT_STATUS_IS_OK(status)) {
		status = leases_db_set(&e->client_guid, &e->lease_key,
				       SMB2_LEASE_NONE, false, 0, 0, version,
				       epoch + 1);
	}
	return NT_STATUS_IS_OK(status);
}
