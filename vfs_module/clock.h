/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The two clocks of docs/protocol.md, in nanoseconds. */
#ifndef PERSISTENT_CLOCK_H
#define PERSISTENT_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "fault.h"

#define CLOCK_NS_PER_S 1000000000ULL
#define CLOCK_NS_PER_MS 1000000ULL

static inline int64_t clock_timespec_ns(const struct timespec *ts)
{
	return ts->tv_sec * (int64_t)CLOCK_NS_PER_S + ts->tv_nsec;
}

static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec ts = { 0 };

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline uint64_t clock_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC) - fault_held_ns();
}

static inline uint64_t clock_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* What poll(2) takes: whole milliseconds, 0 once the time has passed. */
static inline int clock_ms_until(uint64_t monotonic_ns)
{
	uint64_t now = clock_monotonic_ns();

	if (now >= monotonic_ns) {
		return 0;
	}
	return (int)((monotonic_ns - now + CLOCK_NS_PER_MS - 1) /
		     CLOCK_NS_PER_MS);
}

#endif
