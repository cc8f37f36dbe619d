/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "local_access.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

/* NULL: not set, or not to be understood. */
static const char *option(const struct connection_struct *conn,
			  const char *name)
{
	const char *value = lp_parm_const_string(SNUM(conn), "persistent",
						 name, NULL);

	if (value == NULL) {
		return NULL;
	}
	if (strequal(value, "yield")) {
		return "yield";
	}
	if (strequal(value, "keep")) {
		return "keep";
	}
	DBG_WARNING("persistent:%s = %s is neither yield nor keep, ignored\n",
		    name, value);
	return NULL;
}

const char *local_access(const struct connection_struct *conn,
			 const char *kind)
{
	char name[64];
	const char *value = NULL;

	snprintf(name, sizeof(name), "%s local access", kind);
	value = option(conn, name);
	if (value == NULL) {
		value = option(conn, "local access");
	}
	if (value == NULL) {
		value = strequal(kind, "durable") ? "yield" : "keep";
	}
	return value;
}
