/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "durability.h"
#include "options.h"
#include "persistd.h"
#include "strength.h"

/* After a wait for the disk in vain: one that was longer than any for persistd. */
#define NO_WAIT_NS (5 * CLOCK_NS_PER_S)
#define DISK_WAIT_NS (2 * DURABILITY_WAIT_MS * CLOCK_NS_PER_MS)

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
	const uint64_t began_ns = clock_monotonic_ns();
	uint64_t now_ns = 0;

	if (began_ns < no_wait_until_ns) {
		return false;
	}
	if (link_settle_on_disk(wait_ms)) {
		return true;
	}
	now_ns = clock_monotonic_ns();
	if (now_ns - began_ns > DISK_WAIT_NS) {
		no_wait_until_ns = now_ns + NO_WAIT_NS;
	}
	return false;
}
