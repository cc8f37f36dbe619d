// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The surrogate host: a process with a thread for each surrogate
 * (surrogate.h). One packet asks, one answers. The keepers of other versions
 * use it, too: what the packets mean never changes.
 */
#ifndef KEEPER_SURROGATE_HOST_H
#define KEEPER_SURROGATE_HOST_H

#include <stdint.h>

enum surrogate_what {
	SURROGATE_START = 1,
	SURROGATE_END = 2
};

/* Both ways; an answer has what and seq of its question. */
struct surrogate_packet {
	uint32_t what;
	uint32_t seq;
	int32_t status; /* 0 or a negative errno */
	uint32_t id;
};

/*
 * The host itself: serves this SOCK_SEQPACKET socket until nobody has its
 * other end, and then ends the process.
 */
void surrogate_host(int socket_fd) __attribute__((noreturn));

#endif
