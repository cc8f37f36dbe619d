// SPDX-License-Identifier: GPL-3.0-or-later
/* The connection of an smbd child to keeper.sock. */
#ifndef KEEPER_PEER_H
#define KEEPER_PEER_H

#include <sys/stat.h>

#include "keeper.h"
#include "packet.h"

/*
 * The most cookies that a reply to QUERY has room for; a file with more
 * parked descriptors is answered with this many.
 */
#define REPLY_COOKIES \
	((KEEPER_MAX_PAYLOAD - sizeof(int32_t)) / KEEPER_COOKIE_SIZE)

struct reply {
	struct keeper_header header;
	int32_t status;
	union {
		uint8_t cookies[REPLY_COOKIES][KEEPER_COOKIE_SIZE];
		uint32_t surrogate;
		uint8_t note[KEEPER_MAX_NOTE];
		struct {
			uint32_t surrogate;
			struct stat st;
			uint8_t note[KEEPER_MAX_NOTE];
		} __attribute__((packed)) look;
	} __attribute__((packed));
} __attribute__((packed));

/* An smbd child. */
struct peer {
	struct source source;
	struct keeper *keeper;
	pid_t pid;
	struct link in_peers;
	struct link in_nap;
	struct link owned;
	/*
	 * A reply that its socket had no room for. Nothing more is read from
	 * the child until it is sent, so there is never a second one.
	 */
	struct reply *unsent;
	size_t unsent_size;
	int unsent_fd;
};

/* 0 or a negative errno. */
int peer_listen(struct keeper *keeper);

/* What a keeper that takes over needs, and what it makes of it. */
int peer_listener_fd(void);
int peer_take_over(struct keeper *keeper, int listener_fd);
const struct link *peer_all(void); /* by in_peers */

/* NULL: out of memory; `fd` is closed then. */
struct peer *peer_restore(struct keeper *keeper, int fd, pid_t pid);

/* The same for a reply that its socket had no room for. `fd` may be -1. */
void peer_restore_unsent(struct peer *peer, const void *reply, size_t size,
			 int fd);

/* Those that went a moment ago. Returns how many, at most PEER_GONE_MAX. */
#define PEER_GONE_MAX 256
uint32_t peer_gone_lately(uint32_t pids[PEER_GONE_MAX]);
void peer_remember_gone(pid_t pid);

/*
 * Whether this process is an smbd child that is connected, or was a moment ago:
 * what the kernel tells of it may come later than the end of its connection.
 */
bool peer_is_known(pid_t pid);

/* There are orphaned descriptors: who has smbd's records of them imports them. */
void peers_tell_orphaned(const struct keeper *keeper);

/*
 * Take all that the child has sent. If nothing had come, wait for it to send
 * again; else give it another nap.
 */
void peer_drain(struct peer *peer);

/* Take all that has come from any of them, of those that nap, too. */
void peers_drain(void);

/*
 * The reply to `packet`, with nothing in it but what every reply has. Valid
 * until the next call.
 */
struct reply *peer_begin_reply(const struct packet *packet, int32_t status);

/*
 * `size` is that of what follows the status. `fd` is -1 or a descriptor of the
 * table, which stays there.
 */
void peer_reply(struct peer *peer, struct reply *reply, size_t size, int fd);

void peer_status(struct peer *peer, const struct packet *packet,
		 int32_t status);

#endif
