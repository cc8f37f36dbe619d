/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "options.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

const char *option_word(const struct connection_struct *conn, const char *name,
			const struct option_words *words)
{
	const char *value = lp_parm_const_string(SNUM(conn), "persistent",
						 name, NULL);

	if (value == NULL) {
		return NULL;
	}
	if (strequal(value, words->one)) {
		return words->one;
	}
	if (strequal(value, words->other)) {
		return words->other;
	}
	DBG_WARNING("persistent:%s = %s is neither %s nor %s, ignored\n", name,
		    value, words->one, words->other);
	return NULL;
}

const char *option_word_of_kind(const struct connection_struct *conn,
				const char *kind, const char *name,
				const struct option_words *words)
{
	char kind_name[64];
	const char *value = NULL;

	snprintf(kind_name, sizeof(kind_name), "%s %s", kind, name);
	value = option_word(conn, kind_name, words);
	return value != NULL ? value : option_word(conn, name, words);
}
