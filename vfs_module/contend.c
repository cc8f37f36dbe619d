/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "contend.h"
#include "descriptors.h"
#include "persistd.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define CONTEND_BUDGET_NS (200 * CLOCK_NS_PER_MS)

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

void contend_opened(const struct files_struct *fsp)
{
	const SMB_STRUCT_STAT *st = &fsp->fsp_name->st;
	TALLOC_CTX *frame = NULL;
	uint32_t *alive = NULL;
	char *client = NULL;

	if (fsp->fsp_flags.is_directory ||
	    !descriptors_maybe_parked(st->st_ex_dev, st->st_ex_ino)) {
		return;
	}
	frame = talloc_stackframe();
	client = tsocket_address_inet_addr_string(
		fsp->conn->sconn->remote_address, frame);
	if (ids_of_disconnected(frame, &fsp->file_id, &alive) &&
	    !link_contend(client != NULL ? client : "", st->st_ex_dev,
			  st->st_ex_ino, alive, talloc_array_length(alive),
			  clock_monotonic_ns() + CONTEND_BUDGET_NS)) {
		DBG_NOTICE("persistd did not hear that %s was opened while "
			   "handles of it are away\n", fsp_str_dbg(fsp));
	}
	TALLOC_FREE(frame);
}
