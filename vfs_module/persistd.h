/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ZeroMQ link of one smbd child to persistd (docs/protocol.md 1.1).
 *
 * Events are queued, sent in batches without waiting, and forgotten when
 * persistd has acknowledged them. If it does not, or cannot be reached, the
 * link is lost: a timer then says hello once a second, and when persistd
 * answers, the module tells it anew what it holds. Only a claim waits for an
 * answer, with a bound.
 */
#ifndef PERSISTENT_PERSISTD_H
#define PERSISTENT_PERSISTD_H

#include "wire.h"

/* What the link needs from the handles it speaks for. */
struct link_callbacks {
	/* A lost link is back: queue a grant for each handle, then a sync. */
	void (*resync)(void);
};

/*
 * Opens the link once in the life of the process; later calls do nothing.
 * Call it as root: ZeroMQ's thread keeps the credentials it was started with,
 * and the run directory is root's. False: out of memory or sockets.
 */
bool link_open(struct tevent_context *ev, struct messaging_context *msg_ctx,
	       const char *run_dir, const struct link_callbacks *callbacks);

/* This smbd child as the messages name it. */
const struct wire_server_id *link_self(void);

/*
 * Queues one packed event about cookie (NULL: about no single handle).
 * Takes over event's buffer.
 */
void link_queue(const uint8_t *cookie, msgpack_sbuffer *event);

/*
 * Forgets what is queued about a handle that ended before anybody heard of
 * it. True if its grant was still in the queue, so that nothing needs saying.
 */
bool link_unqueue_grant(const uint8_t *cookie);

/* As link_queue(), for the grant that link_unqueue_grant() looks for. */
void link_queue_grant(const uint8_t *cookie, msgpack_sbuffer *event);

/* Sends what is queued. Never waits. */
void link_flush(void);

/*
 * Sends what is queued and waits for persistd to have it, at most wait_ms.
 * False if it has not.
 */
bool link_settle(int wait_ms);

/*
 * The same, and what was sent last outlives the host. As long as persistd says
 * that the disk is not done it may take a second.
 */
bool link_settle_on_disk(int wait_ms);

/*
 * Asks one question (packed with link_next_seq()) and waits for the answer, at
 * most until deadline_ns. False: persistd is away, or what it says is not of
 * the expected type. If true, reply is the caller's to wire_reply_free().
 */
bool link_ask(const msgpack_sbuffer *question, uint64_t seq,
	      uint64_t deadline_ns, enum wire_reply_type expected,
	      struct wire_reply *reply);

uint64_t link_next_seq(void);

/* The same for what matters little: to ask in vain has no consequences. */
bool link_try(const msgpack_sbuffer *question, uint64_t seq,
	      uint64_t deadline_ns, enum wire_reply_type expected,
	      struct wire_reply *reply);

/*
 * The same for what must not go on without an answer: asks again once a second,
 * also if persistd has just not answered others.
 */
bool link_insist(const msgpack_sbuffer *question, uint64_t seq,
		 uint64_t deadline_ns, enum wire_reply_type expected,
		 struct wire_reply *reply);

/*
 * Sends a question of which the answer is fetched later, by link_answer_ahead().
 * There is one such question at a time; without an answer it is asked as usual.
 */
void link_ask_ahead(const msgpack_sbuffer *question, uint64_t seq);

/* As link_ask(). False: it has to be asked (again). */
bool link_answer_ahead(uint64_t deadline_ns, enum wire_reply_type expected,
		       struct wire_reply *reply);

void link_forget_ahead(void);

/* Whether persistd has not answered of late. */
bool link_is_lost(void);

#endif
