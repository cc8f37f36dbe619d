/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The oplock or lease of a disconnected open, when it must not be trusted. */
#include "samba_compat.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_LOCKING

struct sharer_state {
	const struct share_mode_entry *mine;
	bool found;
};

static bool sharer_fn(struct share_mode_entry *e, bool *modified,
		      void *private_data)
{
	struct sharer_state *state = private_data;
	const struct share_mode_entry *mine = state->mine;

	state->found = e->op_type == LEASE_OPLOCK &&
		       !server_id_is_disconnected(&e->pid) &&
		       GUID_equal(&e->client_guid, &mine->client_guid) &&
		       smb2_lease_key_equal(&e->lease_key, &mine->lease_key);
	return state->found;
}

/* The client has the lease on another open, too, which nobody broke. */
static bool is_shared(struct share_mode_lock *lck,
		      const struct share_mode_entry *e)
{
	struct sharer_state state = { .mine = e };

	return !share_mode_forall_entries(lck, sharer_fn, &state) ||
	       state.found;
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
	if (is_shared(lck, e)) {
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
