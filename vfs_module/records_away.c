/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Disconnected opens with a lease, beside other opens of their file. */
#include "samba_compat.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_LOCKING

#define READING (FILE_READ_DATA | FILE_EXECUTE)
#define WRITING (FILE_WRITE_DATA | FILE_APPEND_DATA)

/* MS-FSA 2.1.5.1.2: what one does that the other does not share. */
static bool not_shared(uint32_t access_mask, uint32_t share_access)
{
	return ((access_mask & READING) != 0 &&
		(share_access & FILE_SHARE_READ) == 0) ||
	       ((access_mask & WRITING) != 0 &&
		(share_access & FILE_SHARE_WRITE) == 0) ||
	       ((access_mask & DELETE_ACCESS) != 0 &&
		(share_access & FILE_SHARE_DELETE) == 0);
}

bool records_share_conflict(const struct share_mode_entry *e,
			    uint32_t access_mask, uint32_t share_access)
{
	const uint32_t counts = READING | WRITING | DELETE_ACCESS;

	/* who only looks at attributes is in nobody's way */
	if ((e->access_mask & counts) == 0 || (access_mask & counts) == 0) {
		return false;
	}
	return not_shared(e->access_mask, share_access) ||
	       not_shared(access_mask, e->share_access);
}

static bool get_lease(const struct share_mode_entry *e,
		      const struct file_id *id, struct records_away *away)
{
	NTSTATUS status = leases_db_get(&e->client_guid, &e->lease_key, id,
					&away->lease_state, NULL, NULL, NULL,
					NULL, NULL);

	return NT_STATUS_IS_OK(status);
}

struct away_state {
	TALLOC_CTX *mem_ctx;
	const struct file_id *id;
	struct records_away *away;
};

static bool away_fn(struct share_mode_entry *e, bool *modified,
		    void *private_data)
{
	struct away_state *state = private_data;
	size_t n = talloc_array_length(state->away);
	struct records_away one = { .entry = *e };
	struct records_away *more = NULL;

	if (!server_id_is_disconnected(&e->pid) ||
	    e->op_type != LEASE_OPLOCK || !get_lease(e, state->id, &one)) {
		return false;
	}
	more = talloc_realloc(state->mem_ctx, state->away,
			      struct records_away, n + 1);
	if (more == NULL) {
		return true;
	}
	more[n] = one;
	state->away = more;
	return false;
}

struct records_away *records_away_leases(TALLOC_CTX *mem_ctx,
					 struct share_mode_lock *lck,
					 const struct file_id *id)
{
	struct away_state state = { .mem_ctx = mem_ctx, .id = id };

	(void)share_mode_forall_entries(lck, away_fn, &state);
	return state.away;
}

struct room_state {
	const struct file_id *id;
	const struct share_mode_entry *e;
	bool is_there;
	bool conflict;
};

/* Whether an open that is there now leaves room for e. */
static bool room_fn(struct share_mode_entry *other, bool *modified,
		    void *private_data)
{
	struct room_state *state = private_data;
	struct records_away theirs = { .lease_state = 0 };

	if (server_id_equal(&other->pid, &state->e->pid) &&
	    other->share_file_id == state->e->share_file_id) {
		state->is_there = true;
		return true;
	}
	/* disconnected or dead (share_entry_stale_pid() would delete it) */
	if (!records_is_alive(&other->pid)) {
		return false;
	}
	if (other->op_type == LEASE_OPLOCK) {
		state->conflict |= !get_lease(other, state->id, &theirs) ||
				   (theirs.lease_state & SMB2_LEASE_WRITE) !=
					   0;
	} else {
		state->conflict |= EXCLUSIVE_OPLOCK_TYPE(other->op_type) != 0;
	}
	state->conflict |= records_share_conflict(
		state->e, other->access_mask, other->share_access);
	return false;
}

bool records_has_room(struct share_mode_lock *lck, const struct file_id *id,
		      const struct share_mode_entry *e)
{
	struct room_state state = { .id = id, .e = e };

	return share_mode_forall_entries(lck, room_fn, &state) &&
	       !state.conflict;
}

/* smbd deletes an entry that is in its way, but not the lease. */
static bool has_lease_still(const struct records_away *away,
			    const struct file_id *id)
{
	struct records_away now = { .lease_state = 0 };

	return get_lease(&away->entry, id, &now) &&
	       now.lease_state == away->lease_state;
}

bool records_restore_away(struct share_mode_lock *lck,
			  const struct file_id *id,
			  const struct records_away *away)
{
	const struct share_mode_entry *e = &away->entry;
	struct room_state state = { .id = id, .e = e };

	if (!share_mode_forall_entries(lck, room_fn, &state)) {
		return false;
	}
	if (state.is_there) {
		return true;
	}
	if (state.conflict || !has_lease_still(away, id) ||
	    !records_add_entry(lck, e, e->pid, e->op_mid,
			       e->share_file_id)) {
		return false;
	}
	records_note_open(lck, e, away->lease_state);
	return true;
}

uint64_t records_resumed_file_id(uint64_t persistent_id)
{
	return persistent_id | (UINT64_C(1) << 63);
}

struct holder_state {
	uint64_t share_file_id;
	struct server_id pid;
	bool found;
};

static bool holder_fn(struct share_mode_entry *e, bool *modified,
		      void *private_data)
{
	struct holder_state *state = private_data;

	if (e->share_file_id != state->share_file_id ||
	    server_id_is_disconnected(&e->pid) || !records_is_alive(&e->pid)) {
		return false;
	}
	state->pid = e->pid;
	state->found = true;
	return true;
}

bool records_find_holder(struct share_mode_lock *lck, uint64_t persistent_id,
			 struct server_id *holder)
{
	struct holder_state state = {
		.share_file_id = records_resumed_file_id(persistent_id),
	};

	(void)share_mode_forall_entries(lck, holder_fn, &state);
	*holder = state.pid;
	return state.found;
}

struct broken_state {
	const struct GUID *client;
	struct share_mode_entry e;
	bool found;
};

static bool broken_fn(struct share_mode_entry *e, bool *modified,
		      void *private_data)
{
	struct broken_state *state = private_data;

	if (!server_id_is_disconnected(&e->pid) ||
	    e->op_type != LEASE_OPLOCK ||
	    GUID_equal(&e->client_guid, state->client)) {
		return false;
	}
	state->e = *e;
	state->found = true;
	e->stale = true;
	return true;
}

bool records_end_leases(struct share_mode_lock *lck, const struct file_id *id,
			const struct GUID *client)
{
	struct broken_state state = { .client = client };
	bool any = false;

	do {
		state.found = false;
		if (!share_mode_forall_entries(lck, broken_fn, &state)) {
			break;
		}
		if (state.found) {
			(void)records_delete_locks(
				id, state.e.share_file_id & UINT32_MAX);
			(void)remove_lease_if_stale(lck,
						    &state.e.client_guid,
						    &state.e.lease_key);
			any = true;
		}
	} while (state.found);
	return any;
}
