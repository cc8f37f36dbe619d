// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../vfs_module/fault.h"
#include "data.h"
#include "listener.h"
#include "log.h"
#include "nap.h"
#include "packet.h"
#include "peer.h"
#include "report.h"

/* So that one busy child does not keep the others waiting. */
#define DRAIN_MAX 256

static struct listener listener;

/* All of them; pointers that only the kernel has look like leaks. */
static struct link peers = { .prev = &peers, .next = &peers };

/* The last of those that went, and until when they are still known. */
#define GONE_KNOWN_S 2

static struct {
	pid_t pid;
	time_t until_s;
} gone[PEER_GONE_MAX];
static unsigned int next_gone;

static time_t now_s(void)
{
	struct timespec now = { .tv_sec = 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

void peer_remember_gone(pid_t pid)
{
	gone[next_gone].pid = pid;
	gone[next_gone].until_s = now_s() + GONE_KNOWN_S;
	next_gone = (next_gone + 1) % PEER_GONE_MAX;
}

uint32_t peer_gone_lately(uint32_t pids[PEER_GONE_MAX])
{
	uint32_t count = 0;
	unsigned int i = 0;

	for (i = 0; i < PEER_GONE_MAX; i++) {
		if (gone[i].pid != 0 && now_s() <= gone[i].until_s) {
			pids[count++] = (uint32_t)gone[i].pid;
		}
	}
	return count;
}

static bool is_known(pid_t pid)
{
	const struct link *link = NULL;
	unsigned int i = 0;

	for (link = peers.next; link != &peers; link = link->next) {
		if (link_owner(link, const struct peer, in_peers)->pid == pid) {
			return true;
		}
	}
	for (i = 0; i < PEER_GONE_MAX; i++) {
		if (gone[i].pid == pid && now_s() <= gone[i].until_s) {
			return true;
		}
	}
	return false;
}

static void forget_unsent(struct peer *peer)
{
	free(peer->unsent);
	peer->unsent = NULL;
	if (peer->unsent_fd != -1) {
		(void)close(peer->unsent_fd);
		peer->unsent_fd = -1;
	}
	loop_interest(&peer->keeper->loop, &peer->source, EPOLLIN);
}

static void keep_unsent(struct peer *peer, const struct reply *reply,
			size_t size, int fd)
{
	peer->unsent = malloc(size);
	if (peer->unsent == NULL) {
		return; /* the child's own timeout tells it */
	}
	memcpy(peer->unsent, reply, size);
	peer->unsent_size = size;
	if (fd != -1) {
		peer->unsent_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (peer->unsent_fd == -1) {
			peer->unsent->status = -errno;
		}
	}
	loop_interest(&peer->keeper->loop, &peer->source, EPOLLOUT);
}

void peer_reply(struct peer *peer, struct reply *reply, size_t size, int fd)
{
	int result = 0;

	size += sizeof(reply->status);
	reply->header.length = (uint32_t)size;
	size += sizeof(reply->header);
	result = packet_send(peer->source.fd, reply, size, fd);
	if (result == -ETOOMANYREFS) {
		/* unix(7): too many descriptors of this user are in flight */
		reply->status = result;
		fd = -1;
		result = packet_send(peer->source.fd, reply, size, fd);
	}
	if (result == -EAGAIN) {
		keep_unsent(peer, reply, size, fd);
	}
	/* Any other error is a child that is gone: the next read says so. */
}

struct reply *peer_begin_reply(const struct packet *packet, int32_t status)
{
	static struct reply reply;

	reply.header = packet->header;
	reply.header.type = packet->header.type | KEEPER_REPLY;
	reply.status = status;
	return &reply;
}

void peer_status(struct peer *peer, const struct packet *packet,
		 int32_t status)
{
	peer_reply(peer, peer_begin_reply(packet, status), 0, -1);
}

/* What orphaned handles left in smbd's records, the living ones put right. */
static void tell_others(const struct peer *dead)
{
	const struct keeper_header died = {
		.magic = KEEPER_MAGIC,
		.version = KEEPER_VERSION,
		.type = KEEPER_DIED,
	};
	struct link *link = NULL;

	for (link = peers.next; link != &peers; link = link->next) {
		struct peer *peer = link_owner(link, struct peer, in_peers);

		if (peer != dead && peer->unsent == NULL) {
			(void)packet_send(peer->source.fd, &died,
					  sizeof(died), -1);
		}
	}
}

void peers_tell_orphaned(const struct keeper *keeper)
{
	if (keeper->index.words[KEEPER_INDEX_ORPHANED] > 0) {
		tell_others(NULL);
	}
}

static void peer_gone(struct peer *peer)
{
	struct keeper *keeper = peer->keeper;
	uint32_t orphaned = 0;

	while (!link_alone(&peer->owned)) {
		struct kept *kept = link_owner(peer->owned.next, struct kept,
					       in_owner);

		fault_point("keeper.before-orphan");
		table_release(&keeper->table, kept, KEEPER_ORPHANED);
		report_change(keeper, kept);
		orphaned++;
	}
	if (orphaned > 0) {
		log_line("smbd child %d is gone; %u of its descriptors are "
			 "orphaned", (int)peer->pid, orphaned);
		fault_point("keeper.after-orphan");
		tell_others(peer);
	}
	peer_remember_gone(peer->pid);
	forget_unsent(peer);
	link_remove(&peer->in_nap);
	link_remove(&peer->in_peers);
	(void)close(peer->source.fd);
	free(peer);
	keeper->connections--;
}

enum received {
	RECEIVED_NOTHING,
	RECEIVED_QUIET,    /* a packet that wants no answer */
	RECEIVED_REQUEST,
	RECEIVED_END,      /* the peer is gone and freed */
};

static enum received kind_of(const struct packet *packet)
{
	switch (packet->header.type) {
	case KEEPER_DEPOSIT:
	case KEEPER_ADOPT:
	case KEEPER_DROP:
	case KEEPER_NOTE:
		return RECEIVED_QUIET;
	default:
		return RECEIVED_REQUEST;
	}
}

static enum received peer_receive(struct peer *peer)
{
	static struct packet packet;
	const char *fault = NULL;
	ssize_t size = packet_receive(peer->source.fd, &packet);

	switch (size) {
	case -EAGAIN:
	case -EINTR:
		return RECEIVED_NOTHING;
	case -ECONNRESET:
		/*
		 * Said once when the child died with replies unread; what it
		 * sent before is still there to be read.
		 */
		return RECEIVED_REQUEST;
	case -EBADMSG:
		fault = "its length does not match";
		break;
	default:
		fault = size > 0 ? data_serve(peer, &packet) : NULL;
		break;
	}
	packet_close_fds(&packet);
	if (fault != NULL) {
		peer->keeper->protocol_errors++;
		log_line("smbd child %d sent a bad packet (%s): closing its "
			 "connection", (int)peer->pid, fault);
	}
	if (fault != NULL || size <= 0) {
		peer_gone(peer);
		return RECEIVED_END;
	}
	return kind_of(&packet);
}

static bool is_napping(const struct peer *peer)
{
	return !link_alone(&peer->in_nap);
}

void peer_drain(struct peer *peer)
{
	bool was_busy = false;
	int budget = DRAIN_MAX;

	while (budget-- > 0 && peer->unsent == NULL) {
		switch (peer_receive(peer)) {
		case RECEIVED_END:
			return;
		case RECEIVED_NOTHING:
			budget = 0;
			break;
		case RECEIVED_QUIET:
			was_busy = true;
			break;
		case RECEIVED_REQUEST:
			break;
		}
	}
	if (peer->unsent != NULL) {
		return; /* forget_unsent() looks at it again */
	}
	if (was_busy) {
		nap_begin(peer);
	} else {
		loop_interest(&peer->keeper->loop, &peer->source, EPOLLIN);
	}
}

void peers_drain(void)
{
	struct link *link = peers.next;

	while (link != &peers) {
		struct peer *peer = link_owner(link, struct peer, in_peers);

		link = link->next;
		link_remove(&peer->in_nap);
		peer_drain(peer);
	}
}

static void peer_ready(struct source *source, uint32_t events)
{
	struct peer *peer = source->context;

	(void)events;
	if (peer->unsent == NULL) {
		if (peer_receive(peer) == RECEIVED_QUIET &&
		    peer->unsent == NULL && !is_napping(peer)) {
			nap_begin(peer);
		}
		return;
	}
	if (packet_send(source->fd, peer->unsent, peer->unsent_size,
			peer->unsent_fd) != -EAGAIN) {
		forget_unsent(peer);
	}
}

struct peer *peer_restore(struct keeper *keeper, int fd, pid_t pid)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (peer == NULL) {
		goto fail;
	}
	peer->source.fd = fd;
	peer->source.ready = peer_ready;
	peer->source.context = peer;
	peer->keeper = keeper;
	peer->pid = pid;
	peer->unsent_fd = -1;
	link_init(&peer->owned);
	link_init(&peer->in_nap);
	if (loop_add(&keeper->loop, &peer->source, EPOLLIN) < 0) {
		goto fail;
	}
	link_append(&peers, &peer->in_peers);
	keeper->connections++;
	return peer;
fail:
	log_line("out of memory for a connection of smbd child %d",
		 (int)pid);
	free(peer);
	(void)close(fd);
	return NULL;
}

static void peer_accepted(struct keeper *keeper, int fd, pid_t pid)
{
	(void)peer_restore(keeper, fd, pid);
}

void peer_restore_unsent(struct peer *peer, const void *reply, size_t size,
			 int fd)
{
	keep_unsent(peer, reply, size, fd);
	if (fd != -1) {
		(void)close(fd);
	}
}

const struct link *peer_all(void)
{
	return &peers;
}

bool peer_is_known(pid_t pid)
{
	if (is_known(pid)) {
		return true;
	}
	/* it may have connected and gone on before we came to look */
	listener_accept(&listener);
	return is_known(pid);
}

int peer_listener_fd(void)
{
	return listener.source.fd;
}

int peer_take_over(struct keeper *keeper, int listener_fd)
{
	return listener_take_over(&listener, keeper, KEEPER_SOCKET_NAME,
				  listener_fd, peer_accepted);
}

int peer_listen(struct keeper *keeper)
{
	return listener_open(&listener, keeper, KEEPER_SOCKET_NAME,
			     SOCK_SEQPACKET, peer_accepted);
}
