// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE 1
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../vfs_module/fault.h"
#include "control.h"
#include "handover.h"
#include "listener.h"
#include "log.h"
#include "mounts.h"
#include "packet.h"
#include "peer.h"
#include "queue.h"
#include "remake.h"
#include "report.h"
#include "watch.h"

/* A persistd with more than this unread has hung; it may connect again. */
#define MAX_UNSENT (64 * 1024 * 1024)

/* Reports are made only while less than this waits to be sent. */
#define ENOUGH_UNSENT (64 * 1024)

/* The connection of persistd. */
struct control {
	struct source source;
	struct keeper *keeper;
	pid_t pid;
	/* The largest request, or many small ones. */
	uint8_t input[sizeof(struct keeper_header) + KEEPER_MAX_PAYLOAD];
	size_t input_size;
	struct queue unsent;
	bool overflowed;
	bool wants_mounts; /* it knows of remaking */
};

bool control_connected(const struct keeper *keeper)
{
	return keeper->control != NULL;
}

static void control_close(struct keeper *keeper, const char *why)
{
	struct control *control = keeper->control;

	log_line("persistd (pid %d): %s; all %u descriptors are kept",
		 (int)control->pid, why, keeper->table.count);
	keeper->control = NULL;
	keeper->connections--;
	report_forget(keeper);
	keeper->upgrade_asked = false;
	(void)close(control->source.fd);
	queue_free(&control->unsent);
	free(control);
}

void control_send(struct keeper *keeper, uint16_t type, uint32_t seq,
		  const uint8_t *cookie, const void *payload, size_t size)
{
	struct control *control = keeper->control;
	struct keeper_header header = {
		.magic = KEEPER_MAGIC,
		.version = KEEPER_VERSION,
		.type = type,
		.seq = seq,
		.length = (uint32_t)size,
	};
	uint8_t *to = NULL;

	if (control == NULL || control->overflowed) {
		return;
	}
	if (cookie != NULL) {
		memcpy(header.cookie, cookie, sizeof(header.cookie));
	}
	if (queue_size(&control->unsent) <= MAX_UNSENT) {
		to = queue_grow(&control->unsent, sizeof(header) + size);
	}
	if (to == NULL) {
		control->overflowed = true;
		return;
	}
	memcpy(to, &header, sizeof(header));
	if (size > 0) {
		memcpy(to + sizeof(header), payload, size);
	}
}

static void serve_drop(struct keeper *keeper,
		       const struct keeper_header *header)
{
	struct kept *kept = table_find(&keeper->table, header->cookie);
	int32_t status = kept == NULL ? -ENOENT : 0;

	fault_point("keeper.before-persistd-drop");
	if (kept != NULL) {
		table_remove(&keeper->table, kept);
	}
	fault_point("keeper.after-persistd-drop");
	control_send(keeper, KEEPER_CONTROL_DROP | KEEPER_REPLY, header->seq,
		     header->cookie, &status, sizeof(status));
}

static void serve_watch(struct keeper *keeper,
			const struct keeper_header *header)
{
	struct kept *kept = table_find(&keeper->table, header->cookie);
	struct keeper_watch reply = { .status = -ENOENT };
	size_t size = sizeof(reply.status);

	fault_point("keeper.before-watch");
	if (kept != NULL) {
		reply.status = watch_begin(kept);
	}
	fault_point("keeper.after-watch");
	if (reply.status == 0) {
		reply.size_bytes = kept->watch.size_bytes;
		reply.mtime_ns = kept->watch.mtime_ns;
		size = sizeof(reply);
	}
	control_send(keeper, KEEPER_CONTROL_WATCH | KEEPER_REPLY, header->seq,
		     header->cookie, &reply, size);
	if (reply.status == 0) {
		watch_tell_again(kept);
	}
}

static void serve_info(struct keeper *keeper,
		       const struct keeper_header *header)
{
	struct keeper_info info = {
		.pid = (uint32_t)getpid(),
		.used = keeper->table.count,
		.limit = keeper->max_descriptors,
		.refused = keeper->refused,
		.protocol_errors = keeper->protocol_errors,
		.facility = watch_facility(),
		.remakes = 1,
	};

	control_send(keeper, KEEPER_CONTROL_INFO | KEEPER_REPLY, header->seq,
		     NULL, &info, sizeof(info));
}

static void serve_describe(struct keeper *keeper,
			   const struct keeper_header *header)
{
	static uint8_t payload[KEEPER_MAX_PAYLOAD];
	const struct kept *kept = table_find(&keeper->table, header->cookie);
	int32_t status = -ENOENT;
	size_t size = sizeof(status);

	fault_point("keeper.before-describe");
	if (kept == NULL) {
		/* persistd may have heard of it before we looked */
		peers_drain();
		kept = table_find(&keeper->table, header->cookie);
	}
	memcpy(payload, &status, size);
	if (kept != NULL) {
		size = remake_describe(kept, payload);
	}
	control_send(keeper, KEEPER_CONTROL_DESCRIBE | KEEPER_REPLY,
		     header->seq, header->cookie, payload, size);
	fault_point("keeper.after-describe");
}

static void serve_remake(struct keeper *keeper,
			 const struct keeper_header *header,
			 const uint8_t *payload)
{
	struct keeper_remade reply = { .status = 0 };
	size_t size = sizeof(reply);

	reply.status = remake(keeper, header->cookie, payload, &reply);
	if (reply.status < 0) {
		size = sizeof(reply.status);
	}
	control_send(keeper, KEEPER_CONTROL_REMAKE | KEEPER_REPLY, header->seq,
		     header->cookie, &reply, size);
}

static void serve_lock(struct keeper *keeper,
		       const struct keeper_header *header,
		       const uint8_t *payload)
{
	int32_t status = 0;

	fault_point("keeper.before-lock");
	status = remake_lock(keeper, header->cookie, payload,
			     header->length / sizeof(struct keeper_lock));
	fault_point("keeper.after-lock");
	control_send(keeper, KEEPER_CONTROL_LOCK | KEEPER_REPLY, header->seq,
		     header->cookie, &status, sizeof(status));
}

/* smbd children wait for this no longer, and import what was made again. */
static void serve_settled(struct keeper *keeper)
{
	fault_point("keeper.before-settled");
	keeper->control->wants_mounts = true;
	index_set(&keeper->index, KEEPER_INDEX_SETTLED, 1);
	peers_tell_orphaned(keeper);
	fault_point("keeper.after-settled");
}

static bool has_wrong_payload(const struct keeper_header *header,
			      const uint8_t *payload)
{
	switch (header->type) {
	case KEEPER_CONTROL_REMAKE:
		return !remake_is_whole(payload, header->length);
	case KEEPER_CONTROL_LOCK:
		return header->length % sizeof(struct keeper_lock) != 0;
	default:
		return header->length != 0;
	}
}

/* What is wrong with the request, in words, or NULL when it was served. */
static const char *serve(struct keeper *keeper,
			 const struct keeper_header *header,
			 const uint8_t *payload)
{
	if (has_wrong_payload(header, payload)) {
		return "payload of the wrong size for its type";
	}
	switch (header->type) {
	case KEEPER_CONTROL_LIST:
		report_all(keeper, header->seq);
		return NULL;
	case KEEPER_CONTROL_DROP:
		serve_drop(keeper, header);
		return NULL;
	case KEEPER_CONTROL_INFO:
		serve_info(keeper, header);
		return NULL;
	case KEEPER_CONTROL_WATCH:
		serve_watch(keeper, header);
		return NULL;
	case KEEPER_CONTROL_DESCRIBE:
		serve_describe(keeper, header);
		return NULL;
	case KEEPER_CONTROL_REMAKE:
		serve_remake(keeper, header, payload);
		return NULL;
	case KEEPER_CONTROL_LOCK:
		serve_lock(keeper, header, payload);
		return NULL;
	case KEEPER_CONTROL_SETTLED:
		serve_settled(keeper);
		return NULL;
	case KEEPER_CONTROL_UPGRADE:
		handover_begin(keeper, true, header->seq);
		return NULL;
	default:
		return "unknown type";
	}
}

/* Whether the first request of the input, from `used` on, has come whole. */
static bool has_request(const struct control *control, size_t used,
			struct keeper_header *header)
{
	size_t left = control->input_size - used;

	if (left < sizeof(*header)) {
		return false;
	}
	memcpy(header, control->input + used, sizeof(*header));
	/* one that is not as it must be is served, and refused */
	return header_fault(header) != NULL ||
	       left - sizeof(*header) >= header->length;
}

/*
 * Serve the requests that have come whole, up to a LIST: its answer is sent
 * in pieces, and the requests behind it wait for their turn.
 */
static void control_serve(struct keeper *keeper)
{
	struct control *control = keeper->control;
	struct keeper_header header = { .magic = 0 };
	const char *fault = NULL;
	size_t used = 0;

	while (fault == NULL && !report_listing(keeper) &&
	       has_request(control, used, &header)) {
		const uint8_t *payload = control->input + used +
					 sizeof(header);

		fault = header_fault(&header);
		if (fault == NULL) {
			fault = serve(keeper, &header, payload);
			used += sizeof(header) + header.length;
		}
	}
	control->input_size -= used;
	memmove(control->input, control->input + used, control->input_size);
	if (fault != NULL) {
		keeper->protocol_errors++;
		log_line("persistd (pid %d) sent a bad packet (%s)",
			 (int)control->pid, fault);
		control_close(keeper, "connection closed by the keeper");
	}
}

/* Descriptors sent here are closed by the kernel: recv() takes none. */
static void control_receive(struct keeper *keeper)
{
	struct control *control = keeper->control;
	ssize_t size = recv(control->source.fd,
			    control->input + control->input_size,
			    sizeof(control->input) - control->input_size,
			    MSG_DONTWAIT);

	if (size == -1 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	if (size <= 0) {
		control_close(keeper, "gone");
		return;
	}
	control->input_size += (size_t)size;
	control_serve(keeper);
}

void control_pump(struct keeper *keeper)
{
	struct control *control = keeper->control;
	struct keeper_header next = { .magic = 0 };
	bool requests_left = false;
	uint32_t interest = 0;
	int result = 0;

	if (control == NULL) {
		return;
	}
	if (!report_listing(keeper) && control->input_size > 0) {
		control_serve(keeper);
		control = keeper->control;
		if (control == NULL) {
			return;
		}
	}
	while (queue_size(&control->unsent) < ENOUGH_UNSENT &&
	       report_next(keeper)) {
		continue;
	}
	result = queue_flush(&control->unsent, control->source.fd);
	if (result < 0) {
		control_close(keeper, strerror(-result));
		return;
	}
	if (control->overflowed) {
		control_close(keeper, "does not read what it is sent, "
			      "connection closed by the keeper");
		return;
	}
	requests_left = has_request(control, 0, &next);
	if (!requests_left && !report_listing(keeper)) {
		interest |= EPOLLIN;
	}
	if (requests_left || report_pending(keeper) ||
	    queue_size(&control->unsent) > 0) {
		interest |= EPOLLOUT;
	}
	loop_interest(&keeper->loop, &control->source, interest);
}

/* Sending is the pump's, which runs after every event. */
static void control_ready(struct source *source, uint32_t events)
{
	struct control *control = source->context;

	if ((events & EPOLLIN) != 0) {
		control_receive(control->keeper);
	} else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
		control_close(control->keeper, "gone");
	}
}

/* Its connection is closed, though its end may not have been read yet. */
static bool hung_up(const struct control *control)
{
	struct pollfd watch = {
		.fd = control->source.fd,
		.events = POLLRDHUP,
	};

	return poll(&watch, 1, 0) == 1;
}

/* Takes the connection, or closes it when out of memory. */
static struct control *control_begin(struct keeper *keeper, int fd, pid_t pid)
{
	struct control *control = calloc(1, sizeof(*control));

	if (control == NULL) {
		goto fail;
	}
	control->source.fd = fd;
	control->source.ready = control_ready;
	control->source.context = control;
	control->keeper = keeper;
	control->pid = pid;
	if (loop_add(&keeper->loop, &control->source, EPOLLIN) < 0) {
		goto fail;
	}
	keeper->control = control;
	keeper->connections++;
	return control;
fail:
	log_line("out of memory for the connection of persistd");
	free(control);
	(void)close(fd);
	return NULL;
}

static void control_accepted(struct keeper *keeper, int fd, pid_t pid)
{

	/* A persistd started anew may be seen before the end of the former. */
	while (keeper->control != NULL && hung_up(keeper->control)) {
		control_receive(keeper);
	}
	if (keeper->control != NULL) {
		log_line("%s: refused pid %d: persistd (pid %d) is connected",
			 KEEPER_CONTROL_NAME, (int)pid,
			 (int)keeper->control->pid);
		(void)close(fd);
		return;
	}
	if (control_begin(keeper, fd, pid) != NULL) {
		log_line("persistd (pid %d) connected", (int)pid);
	}
}

struct control_state {
	int32_t pid;
	uint32_t input_size;
	uint64_t unsent_size;
};

void control_save(const struct keeper *keeper, struct state_writer *writer,
		  uint32_t type)
{
	const struct control *control = keeper->control;
	struct control_state state = { .pid = 0 };

	if (control == NULL || control->overflowed) {
		return;
	}
	state_begin(writer, type);
	state.pid = control->pid;
	state.input_size = (uint32_t)control->input_size;
	state.unsent_size = queue_size(&control->unsent);
	state_put_fd(writer, control->source.fd);
	state_put(writer, &state, sizeof(state));
	state_put(writer, control->input, control->input_size);
	state_put(writer, control->unsent.bytes + control->unsent.start,
		  queue_size(&control->unsent));
}

void control_restore(struct keeper *keeper, struct state_reader *reader)
{
	struct control_state state = { .pid = 0 };
	struct control *control = NULL;
	int fd = state_get_fd(reader);
	const uint8_t *unsent = NULL;
	uint8_t *to = NULL;

	state_get(reader, &state, sizeof(state));
	if (reader->failed || fd == -1 ||
	    state.input_size > sizeof(control->input)) {
		reader->failed = true;
		return;
	}
	control = control_begin(keeper, fd, (pid_t)state.pid);
	if (control == NULL) {
		reader->failed = true;
		return;
	}
	state_get(reader, control->input, state.input_size);
	control->input_size = state.input_size;
	unsent = state_take(reader, state.unsent_size);
	if (unsent != NULL && state.unsent_size > 0) {
		to = queue_grow(&control->unsent, state.unsent_size);
		if (to == NULL) {
			reader->failed = true;
			return;
		}
		memcpy(to, unsent, state.unsent_size);
	}
}

static struct listener listener;

int control_listener_fd(void)
{
	return listener.source.fd;
}

static void mounts_changed(void *context)
{
	struct keeper *keeper = context;

	if (keeper->control != NULL && keeper->control->wants_mounts) {
		control_send(keeper, KEEPER_CONTROL_MOUNTED, 0, NULL, NULL, 0);
	}
}

static int watch_mounts(struct keeper *keeper)
{
	return mounts_watch(&keeper->loop, mounts_changed, keeper);
}

int control_take_over(struct keeper *keeper, int listener_fd)
{
	int result = watch_mounts(keeper);

	return result < 0 ? result :
			    listener_take_over(&listener, keeper,
					       KEEPER_CONTROL_NAME,
					       listener_fd, control_accepted);
}

int control_listen(struct keeper *keeper)
{
	int result = watch_mounts(keeper);

	return result < 0 ? result :
			    listener_open(&listener, keeper,
					  KEEPER_CONTROL_NAME, SOCK_STREAM,
					  control_accepted);
}
