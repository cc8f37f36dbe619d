/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "persistd_link.h"

#include <zmq.h>

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define LINK_INSIST_NS (100 * CLOCK_NS_PER_MS)
/* While persistd says that the disk is not done: a flush on a busy disk. */
#define LINK_FLUSHING_NS CLOCK_NS_PER_S

/*
 * An outage costs one bounded wait a second, however many operations ask.
 */
static bool may_wait(void)
{
	return clock_monotonic_ns() >= persistd.no_waiting_until_ns;
}

static void waited_in_vain(void)
{
	persistd.no_waiting_until_ns =
		clock_monotonic_ns() + LINK_RETRY_MS * CLOCK_NS_PER_MS;
}

static bool may_settle(int wait_ms)
{
	return link_is_open() && !persistd.lost && may_wait() &&
	       (wait_ms > persistd.settled_in_vain_ms ||
		clock_monotonic_ns() >= persistd.no_settling_until_ns);
}

static void settled_in_vain(int wait_ms)
{
	persistd.settled_in_vain_ms = wait_ms;
	persistd.no_settling_until_ns =
		clock_monotonic_ns() + LINK_RETRY_MS * CLOCK_NS_PER_MS;
}

static bool is_flushing(void)
{
	return persistd.flushing_seq == persistd.events_seq;
}

/*
 * In vain, it costs neither events nor questions: link_check() finds out
 * whether persistd is away or was only slow.
 */
static bool settle(int wait_ms, uint64_t for_disk_ns)
{
	const uint64_t now = clock_monotonic_ns();
	const uint64_t deadline = now + wait_ms * CLOCK_NS_PER_MS;
	const uint64_t disk_deadline = MAX(deadline, now + for_disk_ns);

	if (!may_settle(wait_ms)) {
		return false;
	}
	if (!persistd.greeted) {
		(void)link_wait_for(ZMQ_POLLOUT, deadline);
	}
	link_flush();
	while (!persistd.lost && link_events_outstanding()) {
		if (!link_wait_for(ZMQ_POLLIN,
			      is_flushing() ? disk_deadline : deadline)) {
			settled_in_vain(wait_ms);
			return false;
		}
		link_drain_replies();
	}
	if (persistd.lost || persistd.queued > 0) {
		settled_in_vain(wait_ms);
		return false;
	}
	return true;
}

bool link_settle(int wait_ms)
{
	return settle(wait_ms, 0);
}

bool link_settle_on_disk(int wait_ms)
{
	return settle(wait_ms, LINK_FLUSHING_NS) &&
	       persistd.flushed_seq == persistd.events_seq;
}

/* Waits for the reply to one message; others that come are noted. */
static bool await_reply(uint64_t seq, uint64_t deadline_ns,
			struct wire_reply *reply)
{
	bool well_formed = false;

	while (link_wait_for(ZMQ_POLLIN, deadline_ns)) {
		while (link_receive_reply(reply, &well_formed)) {
			if (!well_formed) {
				continue;
			}
			if (reply->seq == seq) {
				return true;
			}
			link_note_reply(reply);
		}
	}
	return false;
}

/* Whether a question may be asked now, and what must be said before it is. */
static bool before_question(uint64_t deadline_ns)
{
	if (!link_is_open() || !may_wait()) {
		return false;
	}
	if (!link_wait_for(ZMQ_POLLOUT, deadline_ns)) {
		waited_in_vain();
		return false;
	}
	link_flush();
	return true;
}

/* False if it is not of the expected type; then nothing of it is held. */
static bool is_expected(struct wire_reply *reply, enum wire_reply_type expected)
{
	if (reply->type != expected) {
		wire_reply_free(reply);
		return false;
	}
	return true;
}

bool link_ask(const msgpack_sbuffer *question, uint64_t seq,
	      uint64_t deadline_ns, enum wire_reply_type expected,
	      struct wire_reply *reply)
{
	if (!before_question(deadline_ns)) {
		return false;
	}
	if (!link_send_frame(question) || !await_reply(seq, deadline_ns, reply)) {
		waited_in_vain();
		link_lose("no answer in time");
		return false;
	}
	link_found();
	return is_expected(reply, expected);
}

bool link_try(const msgpack_sbuffer *question, uint64_t seq,
	      uint64_t deadline_ns, enum wire_reply_type expected,
	      struct wire_reply *reply)
{
	if (!link_is_open() || persistd.lost || !may_wait() ||
	    !link_wait_for(ZMQ_POLLOUT, deadline_ns)) {
		return false;
	}
	link_flush();
	return link_send_frame(question) &&
	       await_reply(seq, deadline_ns, reply) &&
	       is_expected(reply, expected);
}

void link_ask_ahead(const msgpack_sbuffer *question, uint64_t seq)
{
	link_forget_ahead();
	if (link_is_open() && !persistd.lost) {
		link_flush();
		persistd.ahead_seq = link_send_frame(question) ? seq : 0;
	}
}

bool link_answer_ahead(uint64_t deadline_ns, enum wire_reply_type expected,
		       struct wire_reply *reply)
{
	const uint64_t seq = persistd.ahead_seq;
	bool answered = persistd.ahead_answered;

	if (seq == 0) {
		return false;
	}
	*reply = persistd.ahead;
	persistd.ahead = (struct wire_reply) { 0 };
	persistd.ahead_seq = 0;
	persistd.ahead_answered = false;
	if (!answered) {
		answered = await_reply(seq, deadline_ns, reply);
	}
	return answered && is_expected(reply, expected);
}

void link_forget_ahead(void)
{
	wire_reply_free(&persistd.ahead);
	persistd.ahead_seq = 0;
	persistd.ahead_answered = false;
}

static void pause_until(uint64_t monotonic_ns)
{
	(void)poll(NULL, 0, clock_ms_until(monotonic_ns));
}

bool link_insist(const msgpack_sbuffer *question, uint64_t seq,
		 uint64_t deadline_ns, enum wire_reply_type expected,
		 struct wire_reply *reply)
{
	uint64_t now_ns = clock_monotonic_ns();
	bool answered = false;

	while (link_is_open() && now_ns < deadline_ns) {
		uint64_t try_ns =
			MIN(deadline_ns,
			    now_ns + LINK_RETRY_MS * CLOCK_NS_PER_MS);

		if (link_wait_for(ZMQ_POLLOUT, try_ns)) {
			link_flush();
			if (link_send_frame(question) &&
			    await_reply(seq, try_ns, reply)) {
				link_found();
				answered = true;
				if (is_expected(reply, expected)) {
					return true;
				}
				/* it has to find the keeper first */
				pause_until(MIN(deadline_ns, now_ns +
						LINK_INSIST_NS));
			}
		}
		now_ns = clock_monotonic_ns();
	}
	if (link_is_open() && !answered) {
		waited_in_vain();
		link_lose("no answer in time");
	}
	return false;
}
