/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "durability.h"
#include "fault.h"
#include "handle.h"
#include "strength.h"
#include "timeouts.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/* After a wait in vain, as of link_settle(). */
#define NO_WAIT_NS CLOCK_NS_PER_S

bool strength_is_wanted(const struct connection_struct *conn)
{
	return lp_parm_bool(SNUM(conn), "persistent", "strength", false);
}

enum persistent_kind strength_kind(const struct persistent_handle *h)
{
	return h->cookie.durable_version == 2 &&
			       strength_is_wanted(h->fsp->conn) ?
		       PERSISTENT_KIND_PERSISTENT : PERSISTENT_KIND_DURABLE;
}

static bool has_strength(const struct persistent_handle *h)
{
	static uint64_t no_wait_until_ns;

	if (h->deposited && h->survives_host) {
		/* persistd asks the keeper for it before it says so */
		return durability_settle(DURABILITY_WAIT_MS);
	}
	if (clock_monotonic_ns() < no_wait_until_ns) {
		return false;
	}
	if (handle_is_secure(h)) {
		return true;
	}
	no_wait_until_ns = clock_monotonic_ns() + NO_WAIT_NS;
	return false;
}

void strength_settle(struct persistent_handle *h)
{
	struct smbXsrv_open *op = h->fsp->op;
	NTSTATUS status;

	if (has_strength(h)) {
		fault_point("strength.before-answer");
		return;
	}
	DBG_WARNING("%s is granted as a durable handle, not as a persistent "
		    "one: fdkeeper or persistd has not all of it\n",
		    fsp_str_dbg(h->fsp));
	h->cookie.kind = PERSISTENT_KIND_DURABLE;
	h->process_only = true;
	cookie_change_kind(&op->global->backend_cookie, h->cookie.kind);
	(void)timeouts_settle(h);
	fault_point("strength.before-record");
	status = smbXsrv_open_update(op);
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("cannot store the record of %s: %s\n",
			fsp_str_dbg(h->fsp), nt_errstr(status));
	}
	fault_point("strength.after-record");
	handle_changed(h);
}
