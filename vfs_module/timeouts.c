/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "handle.h"
#include "timeouts.h"

#define MS_PER_S 1000

#define RESILIENT_DEFAULT_S 120
#define RESILIENT_MAX_S 300

/* Of a share with `persistent:strength = yes`; MS-SMB2 3.3.5.9.10. */
#define PERSISTENT_DEFAULT_S 60
#define PERSISTENT_MAX_S 300

/* A share option in seconds, as milliseconds. */
static uint32_t option_ms(const struct connection_struct *conn,
			  const char *option, unsigned long default_s)
{
	unsigned long s = lp_parm_ulong(SNUM(conn), "persistent", option,
					default_s);

	return MIN(s, TIMEOUTS_LONGEST_MS / MS_PER_S) * MS_PER_S;
}

static void patch_response(struct smb2_create_blobs *blobs, uint32_t ms)
{
	struct smb2_create_blob *dh2q = NULL;

	if (blobs == NULL) {
		return;
	}
	dh2q = smb2_create_blob_find(blobs, SMB2_CREATE_TAG_DH2Q);
	if (dh2q != NULL && dh2q->data.length >= 4) {
		SIVAL(dh2q->data.data, 0, ms);
	}
}

static uint32_t at_most(uint32_t ms, uint32_t max_ms)
{
	return max_ms != 0 ? MIN(ms, max_ms) : ms;
}

/* Stock grants 300 s at most. */
static uint32_t durable_ms(const struct connection_struct *conn,
			   uint32_t asked_ms, uint32_t stock_ms)
{
	uint32_t fallback_ms = option_ms(conn, "durable timeout", 0);
	uint32_t max_ms = option_ms(conn, "durable timeout max", 0);

	if (asked_ms == 0 && fallback_ms != 0) {
		return at_most(fallback_ms, max_ms);
	}
	return at_most(stock_ms, max_ms);
}

static uint32_t persistent_ms(const struct connection_struct *conn,
			      uint32_t asked_ms)
{
	uint32_t default_ms = option_ms(conn, "persistent timeout",
					PERSISTENT_DEFAULT_S);
	uint32_t max_ms = option_ms(conn, "persistent timeout max",
				    PERSISTENT_MAX_S);

	return at_most(asked_ms != 0 ? MIN(asked_ms, TIMEOUTS_LONGEST_MS) :
				       default_ms, max_ms);
}

bool timeouts_settle(struct persistent_handle *h)
{
	struct connection_struct *conn = h->fsp->conn;
	struct smbXsrv_open_global0 *global = h->fsp->op->global;
	uint32_t ms = h->cookie.kind == PERSISTENT_KIND_PERSISTENT ?
			      persistent_ms(conn, h->asked_timeout_ms) :
			      durable_ms(conn, h->asked_timeout_ms,
					 global->durable_timeout_msec);

	if (ms == global->durable_timeout_msec) {
		return false;
	}
	global->durable_timeout_msec = ms;
	patch_response(h->out_context_blobs, ms);
	return true;
}

bool timeouts_resilient(const struct connection_struct *conn,
			uint32_t asked_ms, uint32_t *timeout_ms)
{
	uint32_t max_ms = option_ms(conn, "resilient timeout max",
				    RESILIENT_MAX_S);
	uint32_t default_ms = option_ms(conn, "resilient timeout",
					RESILIENT_DEFAULT_S);

	/* MS-SMB2 3.3.5.15.9 compares whole seconds */
	if (asked_ms / MS_PER_S > max_ms / MS_PER_S) {
		return false;
	}
	*timeout_ms = asked_ms != 0 ? asked_ms : MIN(default_ms, max_ms);
	return true;
}
