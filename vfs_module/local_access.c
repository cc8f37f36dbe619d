/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "local_access.h"
#include "options.h"

static const struct option_words words = { .one = "yield", .other = "keep" };

const char *local_access(const struct connection_struct *conn,
			 const char *kind)
{
	const char *value =
		option_word_of_kind(conn, kind, "local access", &words);

	if (value == NULL) {
		value = strequal(kind, "durable") ? words.one : words.other;
	}
	return value;
}
