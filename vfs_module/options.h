/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Options of a share, `persistent:NAME`, whose value is one of two words. */
#ifndef PERSISTENT_OPTIONS_H
#define PERSISTENT_OPTIONS_H

struct option_words {
	const char *one;
	const char *other;
};

/*
 * One of the words, by their pointers; NULL: not set. Something else is logged,
 * and as if not set.
 */
const char *option_word(const struct connection_struct *conn, const char *name,
			const struct option_words *words);

/* The same of `persistent:KIND NAME`, else of `persistent:NAME`. */
const char *option_word_of_kind(const struct connection_struct *conn,
				const char *kind, const char *name,
				const struct option_words *words);

#endif
