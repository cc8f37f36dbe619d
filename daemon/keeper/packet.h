// SPDX-License-Identifier: GPL-3.0-or-later
/* One packet of keeper.sock, in and out, with its descriptors. */
#ifndef KEEPER_PACKET_H
#define KEEPER_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "keeper_protocol.h"

/* SCM_MAX_FD: the kernel passes no more with one message. */
#define PACKET_MAX_FDS 253

struct packet {
	struct keeper_header header;
	uint8_t payload[KEEPER_MAX_PAYLOAD];
	/* What came; `fds_lost`: more were sent than could be received. */
	int fds[PACKET_MAX_FDS];
	uint32_t fd_count;
	bool fds_lost;
};

/*
 * The bytes received, 0 at the end of the connection, -EBADMSG for something
 * that is no packet, or another negative errno. The descriptors in `packet`
 * are open in every case.
 */
ssize_t packet_receive(int socket_fd, struct packet *packet);

void packet_close_fds(struct packet *packet);

/* `fd` is -1 or a descriptor to pass. 0 or a negative errno. */
int packet_send(int socket_fd, const void *bytes, size_t size, int fd);

/* What is wrong with a header, in words, or NULL. */
const char *header_fault(const struct keeper_header *header);

#endif
