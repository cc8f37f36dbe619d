// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "packet.h"

union control_room {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PACKET_MAX_FDS * sizeof(int))];
};

static void collect_fds(struct msghdr *message, struct packet *packet)
{
	struct cmsghdr *control = NULL;

	for (control = CMSG_FIRSTHDR(message); control != NULL;
	     control = CMSG_NXTHDR(message, control)) {
		size_t count = 0;

		if (control->cmsg_level != SOL_SOCKET ||
		    control->cmsg_type != SCM_RIGHTS) {
			continue;
		}
		/* Bounded by the room that the kernel had to write to. */
		count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(packet->fds + packet->fd_count, CMSG_DATA(control),
		       count * sizeof(int));
		packet->fd_count += (uint32_t)count;
	}
}

ssize_t packet_receive(int socket_fd, struct packet *packet)
{
	/* The bytes of `packet` that are on the wire; a longer one is cut. */
	struct iovec bytes = {
		.iov_base = packet,
		.iov_len = sizeof(packet->header) + sizeof(packet->payload),
	};
	union control_room room = { .align = { .cmsg_len = 0 } };
	struct msghdr message = {
		.msg_iov = &bytes,
		.msg_iovlen = 1,
		.msg_control = &room,
		.msg_controllen = sizeof(room),
	};
	ssize_t size = 0;

	packet->fd_count = 0;
	packet->fds_lost = false;
	size = recvmsg(socket_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (size == -1) {
		return -errno;
	}
	collect_fds(&message, packet);
	packet->fds_lost = (message.msg_flags & MSG_CTRUNC) != 0;
	if (size == 0) {
		return 0;
	}
	if ((message.msg_flags & MSG_TRUNC) != 0 ||
	    (size_t)size < sizeof(packet->header) ||
	    packet->header.length != (size_t)size - sizeof(packet->header)) {
		return -EBADMSG;
	}
	return size;
}

void packet_close_fds(struct packet *packet)
{
	while (packet->fd_count > 0) {
		packet->fd_count--;
		(void)close(packet->fds[packet->fd_count]);
	}
}

int packet_send(int socket_fd, const void *bytes, size_t size, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room = { .align = { .cmsg_len = 0 } };
	struct iovec part = {
		.iov_base = (void *)(uintptr_t)bytes,
		.iov_len = size,
	};
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd != -1) {
		struct cmsghdr *control = &room.align;

		message.msg_control = &room;
		message.msg_controllen = sizeof(room);
		control->cmsg_level = SOL_SOCKET;
		control->cmsg_type = SCM_RIGHTS;
		control->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(control), &fd, sizeof(int));
	}
	if (sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == -1) {
		return -errno;
	}
	return 0;
}

const char *header_fault(const struct keeper_header *header)
{
	if (header->magic != KEEPER_MAGIC) {
		return "wrong magic";
	}
	if (header->version != KEEPER_VERSION) {
		return "unknown version";
	}
	if (header->length > KEEPER_MAX_PAYLOAD) {
		return "longer than allowed";
	}
	return NULL;
}
