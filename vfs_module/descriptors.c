/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "descriptors.h"
#include "../daemon/keeper/keeper_protocol.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define KEEPER_RETRY_NS CLOCK_NS_PER_S
#define DIED_RETRY_MS 1000
#define DIED_SPREAD_MS 50
#define KEEPER_SEND_BUFFER (1024 * 1024)

static struct keeper_channel {
	int fd;
	struct tevent_context *ev;
	struct tevent_fd *readable;
	struct tevent_timer *retry_timer;
	struct tevent_timer *died_timer;
	uint32_t seq;
	uint64_t no_attempt_until_ns;
	uint64_t no_waiting_until_ns;
	char *run_dir;
	const struct descriptors_callbacks *callbacks;
	const uint32_t *index;
} keeper = { .fd = -1 };

struct packet {
	struct keeper_header header;
	uint8_t payload[KEEPER_MAX_PAYLOAD];
};

static void drain(void);

static void retry(struct tevent_context *ev, struct tevent_timer *te,
		  struct timeval now, void *private_data)
{
	keeper.retry_timer = NULL;
	keeper.no_attempt_until_ns = 0;
	(void)descriptors_ready();
}

/* An idle smbd child, too, shall deposit its handles with the next keeper. */
static void schedule_retry(void)
{
	if (keeper.retry_timer == NULL) {
		keeper.retry_timer = tevent_add_timer(
			keeper.ev, keeper.ev,
			timeval_current_ofs_msec(KEEPER_RETRY_NS /
						 CLOCK_NS_PER_MS),
			retry, NULL);
	}
}

static void readable(struct tevent_context *ev, struct tevent_fd *fde,
		     uint16_t flags, void *private_data)
{
	drain();
}

void descriptors_open(struct tevent_context *ev, const char *run_dir,
		      const struct descriptors_callbacks *callbacks)
{
	if (keeper.run_dir == NULL) {
		keeper.ev = ev;
		keeper.run_dir = talloc_strdup(NULL, run_dir);
		keeper.callbacks = callbacks;
	}
}

static void unmap_index(void)
{
	if (keeper.index != NULL) {
		munmap(discard_const_p(uint32_t, keeper.index),
		       KEEPER_INDEX_WORDS * sizeof(uint32_t));
		keeper.index = NULL;
	}
}

static void disconnect(const char *why)
{
	if (keeper.fd != -1) {
		DBG_WARNING("the connection to fdkeeper ended (%s): handles "
			    "are stock durable ones until it is back\n", why);
		TALLOC_FREE(keeper.readable);
		close(keeper.fd);
		keeper.fd = -1;
	}
	unmap_index();
	keeper.no_attempt_until_ns = clock_monotonic_ns() + KEEPER_RETRY_NS;
	schedule_retry();
}

/* Without it nobody would see that a handle is away. */
static bool map_index(void)
{
	const off_t size = KEEPER_INDEX_WORDS * sizeof(uint32_t);
	struct stat st = { .st_size = 0 };
	char *path = talloc_asprintf(talloc_tos(), "%s/%s", keeper.run_dir,
				     KEEPER_INDEX_NAME);
	void *p = MAP_FAILED;
	int fd = -1;

	if (path == NULL) {
		return false;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd != -1 && fstat(fd, &st) == 0 && st.st_size != size) {
		/* beyond its end is SIGBUS */
		errno = EPROTO;
	} else if (fd != -1) {
		p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	}
	if (p != MAP_FAILED) {
		keeper.index = p;
	} else {
		DBG_WARNING("cannot map %s: %s\n", path, strerror(errno));
	}
	if (fd != -1) {
		close(fd);
	}
	TALLOC_FREE(path);
	return keeper.index != NULL;
}

static int connect_socket(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const int size = KEEPER_SEND_BUFFER;
	int len = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s",
			   keeper.run_dir, KEEPER_SOCKET_NAME);
	int fd = -1;

	if (len < 0 || (size_t)len >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1) {
		return -1;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == -1) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static bool connect_keeper(void)
{
	uint64_t now = clock_monotonic_ns();

	if (keeper.run_dir == NULL || now < keeper.no_attempt_until_ns) {
		return false;
	}
	keeper.no_attempt_until_ns = now + KEEPER_RETRY_NS;

	/* The run directory is root's, and SO_PEERCRED must say so. */
	become_root();
	keeper.fd = connect_socket();
	if (keeper.fd != -1 && !map_index()) {
		close(keeper.fd);
		keeper.fd = -1;
	}
	unbecome_root();
	if (keeper.fd == -1) {
		DBG_NOTICE("no fdkeeper in %s: %s\n", keeper.run_dir,
			   strerror(errno));
		schedule_retry();
		return false;
	}
	keeper.readable = tevent_add_fd(keeper.ev, keeper.ev, keeper.fd,
					TEVENT_FD_READ, readable, NULL);
	return true;
}

static bool send_packet(enum keeper_type type, const uint8_t *cookie,
			const void *payload, size_t len, int fd)
{
	struct keeper_header header = {
		.magic = KEEPER_MAGIC,
		.version = KEEPER_VERSION,
		.type = type,
		.seq = ++keeper.seq,
		.length = len,
	};
	struct iovec iov[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = discard_const_p(void, payload), .iov_len = len },
	};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { .buf = { 0 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = len > 0 ? 2 : 1 };
	ssize_t ret = -1;

	memcpy(header.cookie, cookie, KEEPER_COOKIE_SIZE);
	if (fd != -1) {
		struct cmsghdr *c = NULL;

		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}

	do {
		ret = sendmsg(keeper.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (ret == -1 && errno == EINTR);
	if (ret == -1 && errno != EAGAIN && errno != EWOULDBLOCK &&
	    errno != ETOOMANYREFS) {
		disconnect(strerror(errno));
	}
	return ret != -1;
}

/*
 * The last one that came. The room for one has, for its alignment, room for
 * two: any other is closed.
 */
static int take_fd(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	size_t left = 0;
	int fd = -1;

	if (c == NULL || c->cmsg_level != SOL_SOCKET ||
	    c->cmsg_type != SCM_RIGHTS) {
		return -1;
	}
	for (left = c->cmsg_len - CMSG_LEN(0); left >= sizeof(int);
	     left -= sizeof(int)) {
		if (fd != -1) {
			close(fd);
		}
		memcpy(&fd, CMSG_DATA(c) + left - sizeof(int), sizeof(int));
	}
	return fd;
}

/*
 * One packet, without waiting. False when there is none; a packet that is
 * not as it must be ends the connection.
 */
static bool receive_packet(struct packet *p, int *fd)
{
	struct iovec iov = { .iov_base = p, .iov_len = sizeof(*p) };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { .buf = { 0 } };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t ret = -1;

	*fd = -1;
	do {
		ret = recvmsg(keeper.fd, &msg,
			      MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (ret == -1 && errno == EINTR);
	if (ret == -1) {
		if (errno != EAGAIN && errno != EWOULDBLOCK) {
			disconnect(strerror(errno));
		}
		return false;
	}

	*fd = take_fd(&msg);
	if ((size_t)ret < sizeof(p->header) ||
	    (msg.msg_flags & MSG_TRUNC) != 0 ||
	    p->header.magic != KEEPER_MAGIC ||
	    p->header.version != KEEPER_VERSION ||
	    p->header.length != (size_t)ret - sizeof(p->header)) {
		if (*fd != -1) {
			close(*fd);
			*fd = -1;
		}
		disconnect(ret == 0 ? "it closed" : "a malformed packet");
		return false;
	}
	return true;
}

static bool packet_status(const struct packet *p, int *status)
{
	int32_t value = 0;

	if (p->header.length < sizeof(value)) {
		return false;
	}
	memcpy(&value, p->payload, sizeof(value));
	*status = value;
	return true;
}

static void died(struct tevent_context *ev, struct tevent_timer *te,
		 struct timeval now, void *private_data);

/* It may come in the middle of anything; it is dealt with between requests. */
static void schedule_died(int ms)
{
	if (keeper.died_timer == NULL) {
		keeper.died_timer = tevent_add_timer(
			keeper.ev, keeper.ev, timeval_current_ofs_msec(ms),
			died, NULL);
	}
}

static void died(struct tevent_context *ev, struct tevent_timer *te,
		 struct timeval now, void *private_data)
{
	keeper.died_timer = NULL;
	if (!keeper.callbacks->died()) {
		schedule_died(DIED_RETRY_MS);
	}
}

/* A packet that nobody waits for: a refusal, news, or an answer given up. */
static void handle_unasked(const struct packet *p, int fd)
{
	int status = 0;

	if (fd != -1) {
		close(fd);
	}
	if (p->header.type == KEEPER_REFUSED && packet_status(p, &status)) {
		keeper.callbacks->refused(p->header.cookie, status);
	}
	if (p->header.type == KEEPER_DIED) {
		/* one of the many that hear it shall be the first */
		schedule_died(getpid() % DIED_SPREAD_MS);
	}
}

static void drain(void)
{
	struct packet p;
	int fd = -1;

	while (keeper.fd != -1 && receive_packet(&p, &fd)) {
		handle_unasked(&p, fd);
	}
}

bool descriptors_ready(void)
{
	if (keeper.fd != -1) {
		drain();
	}
	if (keeper.fd == -1 && connect_keeper()) {
		keeper.callbacks->redeposit();
	}
	return keeper.fd != -1;
}

bool descriptors_ready_now(void)
{
	keeper.no_attempt_until_ns = 0;
	return descriptors_ready();
}

/* A status, or an errno. */
static int await_answer(enum keeper_type type, uint32_t seq,
			uint64_t deadline_ns, struct packet *p, int *fd)
{
	int status = -ETIMEDOUT;

	while (keeper.fd != -1) {
		struct pollfd pfd = { .fd = keeper.fd, .events = POLLIN };
		int ret = 0;

		while (keeper.fd != -1 && receive_packet(p, fd)) {
			if (p->header.type == (KEEPER_REPLY | type) &&
			    p->header.seq == seq &&
			    packet_status(p, &status)) {
				return status;
			}
			handle_unasked(p, *fd);
			*fd = -1;
		}
		if (keeper.fd == -1) {
			break;
		}
		ret = poll(&pfd, 1, clock_ms_until(deadline_ns));
		if (ret == -1 && errno == EINTR) {
			continue;
		}
		if (ret != 1) {
			/* should it come later, handle_unasked() has it */
			DBG_WARNING("fdkeeper does not answer in time\n");
			keeper.no_waiting_until_ns =
				clock_monotonic_ns() + KEEPER_RETRY_NS;
			return -ETIMEDOUT;
		}
	}
	return -EPIPE;
}

static bool may_wait(void)
{
	return clock_monotonic_ns() >= keeper.no_waiting_until_ns;
}

static int ask(enum keeper_type type, const uint8_t *cookie,
	       const void *payload, size_t len, uint64_t deadline_ns,
	       struct packet *answer, int *fd)
{
	if (!may_wait() || !descriptors_ready()) {
		return -EPIPE;
	}
	if (!send_packet(type, cookie, payload, len, -1)) {
		return -EAGAIN;
	}
	return await_answer(type, keeper.seq, deadline_ns, answer, fd);
}

bool descriptors_deposit(const uint8_t *cookie, int fd,
			 const void *record, size_t record_len)
{
	return keeper.fd != -1 && record_len <= KEEPER_MAX_RECORD &&
	       send_packet(KEEPER_DEPOSIT, cookie, record, record_len, fd);
}

bool descriptors_park(const uint8_t *cookie, uint64_t deadline_ns)
{
	const uint8_t protect = 0;
	struct packet answer;
	int fd = -1;

	/* a keeper that is only slow takes it, also when nobody can wait */
	return descriptors_ready() &&
	       send_packet(KEEPER_PARK, cookie, &protect, sizeof(protect),
			   -1) &&
	       may_wait() &&
	       await_answer(KEEPER_PARK, keeper.seq, deadline_ns, &answer,
			    &fd) == 0;
}

/* 0: there is none. */
static uint64_t surrogate_of(const struct packet *parked)
{
	uint32_t tid = 0;

	if (parked->header.length == sizeof(int32_t) + sizeof(tid)) {
		memcpy(&tid, parked->payload + sizeof(int32_t), sizeof(tid));
	}
	return tid;
}

bool descriptors_park_protected(const uint8_t *cookie, uint64_t deadline_ns,
				uint64_t *surrogate)
{
	const uint8_t protect = 1;
	struct packet answer;
	int fd = -1;

	if (ask(KEEPER_PARK, cookie, &protect, sizeof(protect), deadline_ns,
		&answer, &fd) != 0) {
		return false;
	}
	*surrogate = surrogate_of(&answer);
	return *surrogate != 0;
}

bool descriptors_note(const uint8_t *cookie,
		      const struct descriptors_note *note)
{
	return keeper.fd != -1 &&
	       send_packet(KEEPER_NOTE, cookie, note->data, note->length, -1);
}

int descriptors_take(const uint8_t *cookie, uint64_t deadline_ns, int *fd)
{
	struct packet answer;
	int status = ask(KEEPER_TAKE, cookie, NULL, 0, deadline_ns, &answer,
			 fd);

	if (status != 0) {
		return status;
	}
	if (*fd == -1) {
		/* our own table of descriptors is full: MSG_CTRUNC */
		return -EMFILE;
	}
	return 0;
}

static int read_look(const struct packet *answer,
		     struct descriptors_look *look)
{
	const uint8_t *behind = answer->payload + sizeof(struct keeper_look);
	struct keeper_look head = { .status = 0 };
	size_t length = answer->header.length;

	if (length < sizeof(head) + sizeof(look->st)) {
		return -EPROTO;
	}
	memcpy(&head, answer->payload, sizeof(head));
	memcpy(&look->st, behind, sizeof(look->st));
	length -= sizeof(head) + sizeof(look->st);
	if (length > sizeof(look->note.data)) {
		return -EPROTO;
	}
	memcpy(look->note.data, behind + sizeof(look->st), length);
	look->note.length = length;
	look->surrogate = head.surrogate;
	return 0;
}

/* They are asked for together, and the keeper answers in order. */
void descriptors_look_at(struct descriptors_look *looks, size_t count,
			 uint64_t deadline_ns)
{
	const bool ready = may_wait() && descriptors_ready();
	const uint32_t first_seq = keeper.seq + 1;
	int failed = ready ? 0 : -EPIPE;
	struct packet answer;
	size_t asked = 0;
	size_t i = 0;
	int fd = -1;

	for (asked = 0; asked < count && failed == 0; asked += failed == 0) {
		const uint8_t how = looks[asked].protect ? KEEPER_PARK_PROTECT :
							   KEEPER_PARK_PLAIN;

		if (!send_packet(KEEPER_LOOK, looks[asked].cookie, &how,
				 sizeof(how), -1)) {
			failed = -EAGAIN;
		}
	}
	for (i = 0, failed = 0; i < asked && failed == 0; i++) {
		looks[i].status = await_answer(KEEPER_LOOK, first_seq + i,
					       deadline_ns, &answer, &fd);
		if (looks[i].status == 0) {
			looks[i].status = read_look(&answer, &looks[i]);
		} else if (looks[i].status == -ETIMEDOUT ||
			   looks[i].status == -EPIPE) {
			failed = looks[i].status;
		}
	}
	for (; i < count; i++) {
		looks[i].status = failed != 0 ? failed : -EAGAIN;
	}
}

bool descriptors_settled(uint64_t dev, uint64_t ino, uint64_t deadline_ns)
{
	const uint8_t no_cookie[KEEPER_COOKIE_SIZE] = { 0 };
	const struct keeper_query query = { .dev = dev, .ino = ino };
	struct packet answer;
	int fd = -1;

	/* any question does: the keeper answers in order */
	return ask(KEEPER_QUERY, no_cookie, &query, sizeof(query),
		   deadline_ns, &answer, &fd) == 0;
}

bool descriptors_adopt(const uint8_t *cookie,
		       const void *record, size_t record_len)
{
	return keeper.fd != -1 && record_len <= KEEPER_MAX_RECORD &&
	       send_packet(KEEPER_ADOPT, cookie, record, record_len, -1);
}

bool descriptors_drop(const uint8_t *cookie)
{
	return keeper.fd != -1 &&
	       send_packet(KEEPER_DROP, cookie, NULL, 0, -1);
}

static bool index_counts(uint32_t word)
{
	return keeper.index != NULL &&
	       __atomic_load_n(&keeper.index[word], __ATOMIC_ACQUIRE) != 0;
}

static bool index_counts_file(uint32_t slots, uint64_t dev, uint64_t ino)
{
	struct keeper_index_slots at = keeper_index_slots(dev, ino);

	return index_counts(slots + at.first) &&
	       index_counts(slots + at.second);
}

bool descriptors_maybe_parked(uint64_t dev, uint64_t ino)
{
	return index_counts_file(KEEPER_INDEX_PARKED, dev, ino);
}

bool descriptors_maybe_kept(uint64_t dev, uint64_t ino)
{
	return index_counts_file(KEEPER_INDEX_KEPT, dev, ino);
}

bool descriptors_are_all(void)
{
	return index_counts(KEEPER_INDEX_SETTLED);
}

bool descriptors_any_away(void)
{
	return index_counts(KEEPER_INDEX_AWAY);
}

bool descriptors_any_orphaned(void)
{
	return index_counts(KEEPER_INDEX_ORPHANED);
}
