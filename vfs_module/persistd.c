/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "fault.h"
#include "persistd_link.h"
#include "version.h"

#include <zmq.h>

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define LINK_BATCH_BYTES 32768
#define LINK_FLUSH_MS 25
#define LINK_FIRST_HELLO_MS 10
#define LINK_SEND_QUEUE 1000

struct persistd_link persistd;

static void link_check(struct tevent_context *ev, struct tevent_timer *te,
		       struct timeval now, void *private_data);

const struct wire_server_id *link_self(void)
{
	return &persistd.self;
}

bool link_is_open(void)
{
	return persistd.socket != NULL;
}

bool link_events_outstanding(void)
{
	return persistd.acked_seq != persistd.events_seq;
}

static void schedule_check(int ms)
{
	if (persistd.check_timer != NULL) {
		return;
	}
	persistd.check_timer = tevent_add_timer(
		persistd.ev, persistd.ev,
		timeval_current_ofs_msec(ms), link_check, NULL);
}

static void drop_queue(void)
{
	size_t i = 0;

	for (i = 0; i < persistd.queued; i++) {
		msgpack_sbuffer_destroy(&persistd.queue[i].packed);
	}
	persistd.queued = 0;
	persistd.queued_bytes = 0;
}

void link_lose(const char *why)
{
	drop_queue();
	persistd.events_seq = persistd.acked_seq;
	if (!persistd.lost) {
		DBG_WARNING("persistd does not answer (%s): handles granted "
			    "from now on are stock durable handles until it "
			    "is back\n", why);
		persistd.lost = true;
		persistd.hello_ms = LINK_FIRST_HELLO_MS;
	}
	schedule_check(persistd.hello_ms);
}

bool link_send_frame(const msgpack_sbuffer *msg)
{
	int ret = zmq_send(persistd.socket, msg->data, msg->size,
			   ZMQ_DONTWAIT);

	return ret == (int)msg->size;
}

void link_note_reply(struct wire_reply *reply)
{
	if (reply->seq == persistd.ahead_seq && !persistd.ahead_answered) {
		persistd.ahead = *reply;
		persistd.ahead_answered = true;
		return;
	}
	switch (reply->type) {
	case WIRE_REPLY_ACK:
		if (reply->seq > persistd.acked_seq &&
		    reply->seq <= persistd.events_seq) {
			persistd.acked_seq = reply->seq;
			if (reply->flushed) {
				persistd.flushed_seq = reply->seq;
			}
			persistd.progress_ns = clock_monotonic_ns();
		}
		break;
	case WIRE_REPLY_FLUSHING:
		persistd.flushing_seq = reply->seq;
		persistd.progress_ns = clock_monotonic_ns();
		break;
	case WIRE_REPLY_WELCOME:
		persistd.welcome |= reply->seq == persistd.hello_seq;
		break;
	case WIRE_REPLY_ERROR:
		DBG_WARNING("persistd refused message %"PRIu64"\n",
			    reply->seq);
		break;
	case WIRE_REPLY_VERDICT:
	case WIRE_REPLY_ARRIVED:
	case WIRE_REPLY_CONTENDED:
	case WIRE_REPLY_IMPORTS:
	case WIRE_REPLY_TAKEN_OVER:
		/* to a question that was given up */
		break;
	}
	wire_reply_free(reply);
}

bool link_receive_reply(struct wire_reply *reply, bool *well_formed)
{
	zmq_msg_t msg;
	int ret = -1;

	zmq_msg_init(&msg);
	ret = zmq_msg_recv(&msg, persistd.socket, ZMQ_DONTWAIT);
	if (ret == -1) {
		zmq_msg_close(&msg);
		return false;
	}
	*well_formed = !zmq_msg_more(&msg) &&
		       wire_parse_reply(zmq_msg_data(&msg),
					zmq_msg_size(&msg), reply);
	zmq_msg_close(&msg);
	if (!*well_formed) {
		DBG_WARNING("dropped a malformed reply of %d bytes from "
			    "persistd\n", ret);
	}
	return true;
}

void link_drain_replies(void)
{
	struct wire_reply reply = { 0 };
	bool well_formed = false;

	while (link_receive_reply(&reply, &well_formed)) {
		if (well_formed) {
			link_note_reply(&reply);
		}
	}
}

bool link_wait_for(short what, uint64_t deadline_ns)
{
	zmq_pollitem_t item = { .socket = persistd.socket, .events = what };
	int ret = -1;

	do {
		ret = zmq_poll(&item, 1, clock_ms_until(deadline_ns));
	} while (ret == -1 && zmq_errno() == EINTR);

	return ret == 1;
}

static bool send_hello(void)
{
	msgpack_sbuffer msg = { 0 };
	bool sent = false;

	persistd.welcome = false;
	persistd.hello_seq = ++persistd.seq;
	msgpack_sbuffer_init(&msg);
	wire_pack_hello(&msg, persistd.hello_seq, &persistd.self,
			PERSISTENT_VERSION, PERSISTENT_SAMBA_PACKAGE);
	fault_point("hello.before-send");
	sent = link_send_frame(&msg);
	fault_point("hello.after-send");
	msgpack_sbuffer_destroy(&msg);
	return sent;
}

void link_found(void)
{
	if (persistd.lost) {
		DBG_NOTICE("persistd answers\n");
		persistd.lost = false;
		persistd.welcome = false;
		persistd.no_waiting_until_ns = 0;
		persistd.no_settling_until_ns = 0;
		fault_point("resync.begin");
		persistd.callbacks->resync();
		link_flush();
		fault_point("resync.end");
	}
}

/*
 * Runs while events wait for their acknowledgement or the link is lost.
 * The link of an idle smbd child has no timer.
 */
static void link_check(struct tevent_context *ev, struct tevent_timer *te,
		       struct timeval now, void *private_data)
{
	persistd.check_timer = NULL;
	link_drain_replies();

	if (persistd.lost && persistd.welcome) {
		link_found();
		return;
	}
	if (!persistd.lost && link_events_outstanding() &&
	    clock_monotonic_ns() - persistd.progress_ns >
		    LINK_RETRY_MS * CLOCK_NS_PER_MS) {
		link_lose("no acknowledgement within a second");
	}
	if (persistd.lost) {
		(void)send_hello();
		schedule_check(persistd.hello_ms);
		persistd.hello_ms = MIN(2 * persistd.hello_ms, LINK_RETRY_MS);
	} else if (link_events_outstanding()) {
		schedule_check(LINK_RETRY_MS);
	}
}

static void flush_timer(struct tevent_context *ev, struct tevent_timer *te,
			struct timeval now, void *private_data)
{
	persistd.flush_timer = NULL;
	link_flush();
}

static void schedule_flush(void)
{
	if (persistd.flush_timer == NULL) {
		persistd.flush_timer = tevent_add_timer(
			persistd.ev, persistd.ev,
			timeval_current_ofs_msec(LINK_FLUSH_MS),
			flush_timer, NULL);
	}
}

/*
 * ZeroMQ connects in its own thread. Until it has, what is queued waits here.
 */
static bool greet(void)
{
	if (!persistd.greeted) {
		persistd.greeted = send_hello();
	}
	if (persistd.greeted) {
		return true;
	}
	if (clock_monotonic_ns() - persistd.opened_ns >
	    LINK_RETRY_MS * CLOCK_NS_PER_MS) {
		persistd.greeted = true;
		link_lose("no connection");
	} else {
		schedule_flush();
	}
	return false;
}

static void queue_event(const uint8_t *cookie, msgpack_sbuffer *event,
			bool is_grant)
{
	struct queued_event *q = NULL;

	if (!link_is_open() || persistd.lost) {
		/* link_check() tells persistd the whole state later */
		msgpack_sbuffer_destroy(event);
		return;
	}
	if (persistd.queued == LINK_BATCH_MAX ||
	    persistd.queued_bytes + event->size > LINK_BATCH_BYTES) {
		link_flush();
		if (!persistd.lost && persistd.queued == LINK_BATCH_MAX) {
			/* not connected yet; a resync tells it all later */
			persistd.greeted = true;
			link_lose("no connection yet");
		}
		if (persistd.lost) {
			msgpack_sbuffer_destroy(event);
			return;
		}
	}

	q = &persistd.queue[persistd.queued++];
	*q = (struct queued_event) {
		.is_grant = is_grant,
		.packed = *event,
	};
	if (cookie != NULL) {
		memcpy(q->cookie, cookie, WIRE_COOKIE_SIZE);
	}
	persistd.queued_bytes += event->size;
	msgpack_sbuffer_init(event);

	schedule_flush();
}

void link_queue(const uint8_t *cookie, msgpack_sbuffer *event)
{
	queue_event(cookie, event, false);
}

void link_queue_grant(const uint8_t *cookie, msgpack_sbuffer *event)
{
	queue_event(cookie, event, true);
}

bool link_unqueue_grant(const uint8_t *cookie)
{
	bool had_grant = false;
	size_t kept = 0;
	size_t i = 0;

	for (i = 0; i < persistd.queued && !had_grant; i++) {
		had_grant = persistd.queue[i].is_grant &&
			    memcmp(persistd.queue[i].cookie, cookie,
				   WIRE_COOKIE_SIZE) == 0;
	}
	if (!had_grant) {
		return false;
	}

	for (i = 0; i < persistd.queued; i++) {
		struct queued_event *q = &persistd.queue[i];

		if (memcmp(q->cookie, cookie, WIRE_COOKIE_SIZE) == 0) {
			persistd.queued_bytes -= q->packed.size;
			msgpack_sbuffer_destroy(&q->packed);
			continue;
		}
		persistd.queue[kept++] = *q;
	}
	persistd.queued = kept;
	return true;
}

void link_flush(void)
{
	msgpack_sbuffer events = { 0 };
	msgpack_sbuffer msg = { 0 };
	uint64_t seq = 0;
	size_t i = 0;

	if (!link_is_open()) {
		return;
	}
	link_drain_replies();
	if (persistd.lost || !greet() || persistd.queued == 0) {
		return;
	}

	msgpack_sbuffer_init(&events);
	msgpack_sbuffer_init(&msg);
	for (i = 0; i < persistd.queued; i++) {
		msgpack_sbuffer_write(&events,
				      persistd.queue[i].packed.data,
				      persistd.queue[i].packed.size);
	}
	seq = ++persistd.seq;
	wire_pack_events(&msg, seq, &persistd.self, events.data, events.size,
			 persistd.queued);
	fault_point("events.before-send");
	if (link_send_frame(&msg)) {
		fault_point("events.after-send");
		if (!link_events_outstanding()) {
			persistd.progress_ns = clock_monotonic_ns();
		}
		persistd.events_seq = seq;
		drop_queue();
		schedule_check(LINK_RETRY_MS);
	} else {
		link_lose("the socket takes nothing");
	}
	msgpack_sbuffer_destroy(&msg);
	msgpack_sbuffer_destroy(&events);
}

bool link_is_lost(void)
{
	return persistd.lost;
}

uint64_t link_next_seq(void)
{
	return ++persistd.seq;
}

static bool open_socket(const char *run_dir)
{
	const int no_linger = 0;
	const int only_connected = 1;
	const int queue = LINK_SEND_QUEUE;
	const int reconnect_ms = 100;
	const int reconnect_max_ms = LINK_RETRY_MS;
	const int64_t max_size = WIRE_MESSAGE_MAX;
	char *endpoint = talloc_asprintf(talloc_tos(), "ipc://%s/smbd.sock",
					 run_dir);
	void *zmq = zmq_ctx_new();
	void *s = NULL;
	bool ok = false;

	if (endpoint == NULL || zmq == NULL) {
		goto out;
	}
	s = zmq_socket(zmq, ZMQ_DEALER);
	if (s == NULL) {
		goto out;
	}
#define SET(option, value) \
	(zmq_setsockopt(s, option, &(value), sizeof(value)) == 0)
	ok = SET(ZMQ_LINGER, no_linger) &&
	     SET(ZMQ_IMMEDIATE, only_connected) &&
	     SET(ZMQ_SNDHWM, queue) &&
	     SET(ZMQ_RCVHWM, queue) &&
	     SET(ZMQ_RECONNECT_IVL, reconnect_ms) &&
	     SET(ZMQ_RECONNECT_IVL_MAX, reconnect_max_ms) &&
	     SET(ZMQ_MAXMSGSIZE, max_size) &&
	     zmq_connect(s, endpoint) == 0;
#undef SET
out:
	if (ok) {
		persistd.zmq = zmq;
		persistd.socket = s;
	} else {
		DBG_ERR("cannot open a ZeroMQ socket to %s: %s\n",
			endpoint != NULL ? endpoint : run_dir,
			zmq_strerror(zmq_errno()));
		if (s != NULL) {
			zmq_close(s);
		}
		if (zmq != NULL) {
			zmq_ctx_term(zmq);
		}
	}
	TALLOC_FREE(endpoint);
	return ok;
}

bool link_open(struct tevent_context *ev, struct messaging_context *msg_ctx,
	       const char *run_dir, const struct link_callbacks *callbacks)
{
	struct server_id id = messaging_server_id(msg_ctx);

	if (link_is_open()) {
		return true;
	}
	persistd.ev = ev;
	persistd.callbacks = callbacks;
	persistd.self = wire_from_server_id(&id);
	if (!open_socket(run_dir)) {
		return false;
	}
	persistd.opened_ns = clock_monotonic_ns();
	(void)greet();
	return true;
}
