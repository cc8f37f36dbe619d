/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The state of the link, which is persistd.c's (what is said to persistd) and
 * persistd_ask.c's (who waits for it).
 */
#ifndef PERSISTENT_PERSISTD_LINK_H
#define PERSISTENT_PERSISTD_LINK_H

#include "persistd.h"

#define LINK_BATCH_MAX 64
#define LINK_RETRY_MS 1000

struct queued_event {
	uint8_t cookie[WIRE_COOKIE_SIZE];
	bool is_grant;
	msgpack_sbuffer packed;
};

struct persistd_link {
	void *zmq;
	void *socket;
	struct tevent_context *ev;
	struct wire_server_id self;
	const struct link_callbacks *callbacks;

	struct queued_event queue[LINK_BATCH_MAX];
	size_t queued;
	size_t queued_bytes;
	struct tevent_timer *flush_timer;

	bool greeted; /* the first hello is out: the socket is connected */
	uint64_t opened_ns;
	bool lost;
	uint64_t seq;
	uint64_t acked_seq;   /* all events up to this one are committed */
	uint64_t events_seq;  /* the last events message that was sent */
	uint64_t flushed_seq; /* the last one said to outlive the host */
	uint64_t flushing_seq; /* the last one said to be being written */
	uint64_t progress_ns; /* when an acknowledgement was last due or got */
	uint64_t hello_seq;
	bool welcome;
	int hello_ms; /* until the next hello: 10, 20, ... 1000 */
	struct tevent_timer *check_timer;

	uint64_t no_waiting_until_ns;
	uint64_t no_settling_until_ns;
	int settled_in_vain_ms; /* whoever would wait longer still may */

	uint64_t ahead_seq; /* of a question asked ahead; 0: none */
	bool ahead_answered;
	struct wire_reply ahead;
};

extern struct persistd_link persistd;

bool link_is_open(void);

/* Whether events wait for their acknowledgement. */
bool link_events_outstanding(void);

/* persistd is away: it is told everything when it is back. */
void link_lose(const char *why);

/* persistd has answered. It may be a new one: tell it everything. */
void link_found(void);

/* One frame, without waiting. */
bool link_send_frame(const msgpack_sbuffer *msg);

/* Takes one reply off the socket; false when there is none. */
bool link_receive_reply(struct wire_reply *reply, bool *well_formed);

/* Takes note of a reply that nobody waits for, and frees it. */
void link_note_reply(struct wire_reply *reply);

/* The same for all that have come. */
void link_drain_replies(void);

/* ZMQ_POLLIN or ZMQ_POLLOUT. False: not until then. */
bool link_wait_for(short what, uint64_t deadline_ns);

#endif
