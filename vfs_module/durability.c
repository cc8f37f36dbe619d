/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "durability.h"
#include "persistd.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/* After a wait in vain. */
#define NO_WAIT_NS CLOCK_NS_PER_S

/* NULL: not set, or not to be understood. */
static const char *option(const struct connection_struct *conn,
			  const char *name)
{
	const char *value = lp_parm_const_string(SNUM(conn), "persistent",
						 name, NULL);

	if (value == NULL || strequal(value, "host") ||
	    strequal(value, "process")) {
		return value;
	}
	DBG_WARNING("persistent:%s = %s is neither process nor host, "
		    "ignored\n", name, value);
	return NULL;
}

bool durability_is_host(const struct connection_struct *conn,
			const char *kind)
{
	char name[64];
	const char *value = NULL;

	snprintf(name, sizeof(name), "%s durability", kind);
	value = option(conn, name);
	if (value == NULL) {
		value = option(conn, "durability");
	}
	return value != NULL && strequal(value, "host");
}

bool durability_may_be_host(const struct connection_struct *conn)
{
	return durability_is_host(conn, "durable") ||
	       durability_is_host(conn, "resilient");
}

bool durability_settle(int wait_ms)
{
	static uint64_t no_wait_until_ns;
	uint64_t now_ns = clock_monotonic_ns();

	if (now_ns < no_wait_until_ns) {
		return false;
	}
	if (link_settle_on_disk(wait_ms)) {
		return true;
	}
	no_wait_until_ns = now_ns + NO_WAIT_NS;
	return false;
}
