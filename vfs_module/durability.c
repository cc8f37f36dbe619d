/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "durability.h"
#include "options.h"
#include "persistd.h"
#include "strength.h"

/* After a wait in vain. */
#define NO_WAIT_NS (5 * CLOCK_NS_PER_S)

static const struct option_words words = {
	.one = "process",
	.other = "host",
};

bool durability_is_host(const struct connection_struct *conn,
			const char *kind)
{
	const char *value = option_word_of_kind(conn, kind, "durability",
						&words);

	if (value == NULL) {
		return strequal(kind, "persistent");
	}
	return value == words.other;
}

bool durability_may_be_host(const struct connection_struct *conn)
{
	return durability_is_host(conn, "durable") ||
	       durability_is_host(conn, "resilient") ||
	       (strength_is_wanted(conn) &&
		durability_is_host(conn, "persistent"));
}

bool durability_settle(int wait_ms)
{
	static uint64_t no_wait_until_ns;

	if (clock_monotonic_ns() < no_wait_until_ns) {
		return false;
	}
	if (link_settle_on_disk(wait_ms)) {
		return true;
	}
	no_wait_until_ns = clock_monotonic_ns() + NO_WAIT_NS;
	return false;
}
