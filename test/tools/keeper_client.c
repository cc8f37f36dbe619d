// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * keeper_client SOCKET: an smbd child for tests. Reads commands on stdin, one
 * per line, and prints one JSON line for each:
 *
 *   deposit COOKIE PATH rw|r|path [N [RECORD]]  open PATH, deposit N copies of
 *                          the descriptor (1), wait until it was served
 *   post COOKIE PATH rw|r|path                  the same without waiting
 *   park COOKIE [HOW]     HOW is the byte of PARK (0); 1 tells the surrogate
 *   look COOKIE [HOW]     as park; tells the inode and the note, too
 *   take COOKIE | drop COOKIE | dropsync COOKIE
 *   adopt COOKIE [RECORD]
 *   query DEV INO
 *   ask DEV INO            query, but leave the reply unread
 *   receive                read one packet
 *   raw HEX|- [PATH N]     send bytes, with N descriptors of PATH; wait for
 *                          the keeper's answer or its closing the connection
 *   seek COOKIE OFFSET     on the deposited or, after a take, taken descriptor
 *   lock COOKIE START LEN  an OFD write lock on it
 *   close                  the connection
 *
 * COOKIE is 32 hexadecimal digits. take tells whether the descriptor that
 * came is the same open file description as the one deposited (kcmp(2)).
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../daemon/keeper/keeper_protocol.h"

#define MAX_WORDS 8
#define MAX_LINE 65536
#define MAX_FDS 253
#define MAX_FILES 32768
#define ANSWER_MS 5000

struct packet {
	struct keeper_header header;
	uint8_t payload[KEEPER_MAX_PAYLOAD + 1024];
};

struct file {
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	int fd;
};

static struct file files[MAX_FILES];
static size_t file_count;
static int keeper_fd = -1;
static uint32_t next_seq = 1;

static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("keeper_client: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(2);
}

static size_t parse_hex(const char *text, uint8_t *bytes, size_t room)
{
	size_t size = 0;

	for (; text[0] != '\0'; text += 2) {
		unsigned int value = 0;

		if (size == room || sscanf(text, "%2x", &value) != 1 ||
		    text[1] == '\0') {
			fail("\"%.40s\" is not hexadecimal or too long", text);
		}
		bytes[size++] = (uint8_t)value;
	}
	return size;
}

static void parse_cookie(const char *text, uint8_t *cookie)
{
	if (parse_hex(text, cookie, KEEPER_COOKIE_SIZE) !=
	    KEEPER_COOKIE_SIZE) {
		fail("\"%s\" is not a cookie", text);
	}
}

static struct file *find_file(const uint8_t *cookie)
{
	size_t i = 0;

	for (i = 0; i < file_count; i++) {
		if (memcmp(files[i].cookie, cookie, KEEPER_COOKIE_SIZE) == 0) {
			return &files[i];
		}
	}
	return NULL;
}

/* Remember the descriptor of the cookie, closing an earlier one. */
static void set_file(const uint8_t *cookie, int fd)
{
	struct file *file = find_file(cookie);

	if (file == NULL) {
		if (file_count == MAX_FILES) {
			fail("too many files");
		}
		file = &files[file_count++];
		memcpy(file->cookie, cookie, KEEPER_COOKIE_SIZE);
	} else {
		close(file->fd);
	}
	file->fd = fd;
}

static int open_as(const char *path, const char *how)
{
	int flags = strcmp(how, "rw") == 0 ? O_RDWR :
		    strcmp(how, "path") == 0 ? O_PATH : O_RDONLY;
	int fd = open(path, flags | O_CLOEXEC);

	if (fd == -1) {
		fail("cannot open %s: %s", path, strerror(errno));
	}
	return fd;
}

/* False when the keeper has closed the connection. */
static bool send_bytes(const void *bytes, size_t size, int fd, size_t fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} room;
	struct iovec part = {
		.iov_base = (void *)(uintptr_t)bytes,
		.iov_len = size,
	};
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	size_t i = 0;

	memset(&room, 0, sizeof(room));
	if (fds > MAX_FDS) {
		fail("no more than %d descriptors fit", MAX_FDS);
	}
	if (fds > 0) {
		message.msg_control = &room;
		message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		room.align.cmsg_level = SOL_SOCKET;
		room.align.cmsg_type = SCM_RIGHTS;
		room.align.cmsg_len = CMSG_LEN(fds * sizeof(int));
		for (i = 0; i < fds; i++) {
			memcpy(CMSG_DATA(&room.align) + i * sizeof(int), &fd,
			       sizeof(int));
		}
	}
	return sendmsg(keeper_fd, &message, MSG_NOSIGNAL) != -1;
}

static uint32_t send_request(uint16_t type, const uint8_t *cookie,
			     const void *payload, size_t size, int fd,
			     size_t fds)
{
	struct packet packet = {
		.header = {
			.magic = KEEPER_MAGIC,
			.version = KEEPER_VERSION,
			.type = type,
			.seq = next_seq++,
			.length = (uint32_t)size,
		},
	};

	if (cookie != NULL) {
		memcpy(packet.header.cookie, cookie, KEEPER_COOKIE_SIZE);
	}
	if (size > sizeof(packet.payload)) {
		fail("a payload of %zu bytes is too long", size);
	}
	memcpy(packet.payload, payload, size);
	(void)send_bytes(&packet, sizeof(packet.header) + size, fd, fds);
	return packet.header.seq;
}

/* The payload's size, or -1 at the end of the connection. */
static ssize_t receive(struct packet *packet, int *fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} room;
	struct pollfd watch = { .fd = keeper_fd, .events = POLLIN };
	struct iovec part = {
		.iov_base = packet,
		.iov_len = sizeof(*packet),
	};
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &room,
		.msg_controllen = sizeof(room),
	};
	ssize_t size = 0;

	if (poll(&watch, 1, ANSWER_MS) != 1) {
		fail("no answer within %d ms", ANSWER_MS);
	}
	*fd = -1;
	size = recvmsg(keeper_fd, &message, MSG_CMSG_CLOEXEC);
	if (size < (ssize_t)sizeof(packet->header)) {
		return -1;
	}
	if (CMSG_FIRSTHDR(&message) != NULL) {
		memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	}
	return size - (ssize_t)sizeof(packet->header);
}

static int32_t status_of(const struct packet *packet)
{
	int32_t status = 0;

	memcpy(&status, packet->payload, sizeof(status));
	return status;
}

/* Wait for the reply; prints that the connection is closed if it is. */
static ssize_t await(uint32_t seq, struct packet *packet, int *fd)
{
	ssize_t size = 0;

	do {
		size = receive(packet, fd);
	} while (size >= 0 && packet->header.seq != seq);
	if (size < 0) {
		puts("{\"closed\":true}");
	}
	return size;
}

static void deposit(char **words, bool wait)
{
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	struct keeper_query nothing = { .dev = 0 };
	const char *record = words[5] != NULL ? words[5] : "";
	size_t fds = words[4] != NULL ? strtoul(words[4], NULL, 10) : 1;
	int fd = open_as(words[2], words[3]);
	struct packet packet;
	uint32_t deposit_seq = 0;
	uint32_t query_seq = 0;
	int32_t status = 0;
	int no_fd = -1;

	parse_cookie(words[1], cookie);
	deposit_seq = send_request(KEEPER_DEPOSIT, cookie, record,
				   strlen(record), fd, fds);
	set_file(cookie, fd);
	if (!wait) {
		puts("{\"sent\":true}");
		return;
	}
	/* A good deposit has no reply; the next request's comes after it. */
	query_seq = send_request(KEEPER_QUERY, NULL, &nothing,
				 sizeof(nothing), -1, 0);
	do {
		if (receive(&packet, &no_fd) < 0) {
			puts("{\"closed\":true}");
			return;
		}
		if (packet.header.seq == deposit_seq) {
			status = status_of(&packet);
		}
	} while (packet.header.seq != query_seq);
	printf("{\"status\":%d}\n", status);
}

static void drop_sync(char **words)
{
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	struct packet packet;
	uint32_t seq = 0;
	int fd = -1;

	parse_cookie(words[1], cookie);
	seq = send_request(KEEPER_DROP_SYNC, cookie, "", 0, -1, 0);
	if (await(seq, &packet, &fd) >= 0) {
		printf("{\"status\":%d}\n", status_of(&packet));
	}
}

static void park(char **words)
{
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	uint8_t how = words[2] != NULL ? (uint8_t)atoi(words[2]) : 0;
	struct packet packet;
	uint32_t surrogate = 0;
	uint32_t seq = 0;
	ssize_t size = 0;
	int fd = -1;

	parse_cookie(words[1], cookie);
	seq = send_request(KEEPER_PARK, cookie, &how, sizeof(how), -1, 0);
	size = await(seq, &packet, &fd);
	if (size == sizeof(int32_t) + sizeof(surrogate)) {
		memcpy(&surrogate, packet.payload + sizeof(int32_t),
		       sizeof(surrogate));
		printf("{\"status\":%d,\"surrogate\":%u}\n",
		       status_of(&packet), surrogate);
	} else if (size >= 0) {
		printf("{\"status\":%d}\n", status_of(&packet));
	}
}

static void look(char **words)
{
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	const uint8_t how = words[2] != NULL ? (uint8_t)atoi(words[2]) : 0;
	const size_t fixed = sizeof(struct keeper_look) + sizeof(struct stat);
	struct packet packet;
	struct keeper_look head;
	struct stat st;
	ssize_t size = 0;
	int fd = -1;

	parse_cookie(words[1], cookie);
	size = await(send_request(KEEPER_LOOK, cookie, &how, sizeof(how), -1,
				  0),
		     &packet, &fd);
	if (size < (ssize_t)fixed) {
		if (size >= 0) {
			printf("{\"status\":%d}\n", status_of(&packet));
		}
		return;
	}
	memcpy(&head, packet.payload, sizeof(head));
	memcpy(&st, packet.payload + sizeof(head), sizeof(st));
	printf("{\"status\":%d,\"surrogate\":%u,\"ino\":%llu,\"note\":"
	       "\"%.*s\"}\n", head.status, head.surrogate,
	       (unsigned long long)st.st_ino, (int)(size - (ssize_t)fixed),
	       (const char *)packet.payload + fixed);
}

static void unanswered(uint16_t type, char **words)
{
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	const char *record = words[2] != NULL ? words[2] : "";

	parse_cookie(words[1], cookie);
	(void)send_request(type, cookie, record, strlen(record), -1, 0);
	puts("{\"sent\":true}");
}

static void describe_taken(const uint8_t *cookie, int fd,
			   const struct packet *packet, ssize_t note_size)
{
	struct file *file = find_file(cookie);
	struct stat st = { .st_ino = 0 };
	unsigned char text[64];
	const char *same = "null";
	ssize_t size = pread(fd, text, sizeof(text), 0);
	ssize_t i = 0;

	if (file != NULL) {
		/* 0 is KCMP_FILE of linux/kcmp.h. */
		long order = syscall(SYS_kcmp, getpid(), getpid(), 0, file->fd,
				     fd);

		same = order == 0 ? "true" : "false";
	}
	(void)fstat(fd, &st);
	printf("{\"status\":0,\"fd\":%d,\"same\":%s,\"offset\":%lld,"
	       "\"flags\":%d,\"nlink\":%lu,\"contentHex\":\"", fd, same,
	       (long long)lseek(fd, 0, SEEK_CUR), fcntl(fd, F_GETFL),
	       (unsigned long)st.st_nlink);
	for (i = 0; i < size; i++) {
		printf("%02x", text[i]);
	}
	printf("\",\"note\":\"%.*s\"}\n", (int)note_size,
	       (const char *)packet->payload + sizeof(int32_t));
}

static void take(char **words)
{
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	struct packet packet;
	ssize_t size = 0;
	uint32_t seq = 0;
	int fd = -1;

	parse_cookie(words[1], cookie);
	seq = send_request(KEEPER_TAKE, cookie, "", 0, -1, 0);
	size = await(seq, &packet, &fd);
	if (size < 0) {
		return;
	}
	if (fd == -1) {
		printf("{\"status\":%d}\n", status_of(&packet));
		return;
	}
	describe_taken(cookie, fd, &packet, size - (ssize_t)sizeof(int32_t));
	set_file(cookie, fd);
}

static void print_cookies(const struct packet *packet, ssize_t size)
{
	ssize_t i = 0;

	printf("{\"status\":%d,\"cookies\":[", status_of(packet));
	for (i = sizeof(int32_t); i < size; i++) {
		ssize_t at = (i - (ssize_t)sizeof(int32_t)) %
			     KEEPER_COOKIE_SIZE;

		printf("%s%02x%s", at != 0 ? "" : i > 4 ? ",\"" : "\"",
		       packet->payload[i],
		       at == KEEPER_COOKIE_SIZE - 1 ? "\"" : "");
	}
	puts("]}");
}

static void query(char **words, bool wait)
{
	struct keeper_query file = {
		.dev = strtoull(words[1], NULL, 10),
		.ino = strtoull(words[2], NULL, 10),
	};
	struct packet packet;
	uint32_t seq = send_request(KEEPER_QUERY, NULL, &file, sizeof(file),
				    -1, 0);
	ssize_t size = 0;
	int fd = -1;

	if (!wait) {
		puts("{\"sent\":true}");
		return;
	}
	size = await(seq, &packet, &fd);
	if (size >= 0) {
		print_cookies(&packet, size);
	}
}

static void receive_one(void)
{
	struct packet packet;
	int fd = -1;
	ssize_t size = receive(&packet, &fd);

	if (size < 0) {
		puts("{\"closed\":true}");
		return;
	}
	printf("{\"type\":%u,\"seq\":%u,\"status\":%d}\n", packet.header.type,
	       packet.header.seq, status_of(&packet));
}

static void raw(char **words)
{
	static uint8_t bytes[MAX_LINE / 2];
	size_t size = strcmp(words[1], "-") == 0 ? 0 :
		      parse_hex(words[1], bytes, sizeof(bytes));
	int fd = words[2] != NULL ? open_as(words[2], "r") : -1;

	(void)send_bytes(bytes, size, fd,
			 words[3] != NULL ? strtoul(words[3], NULL, 10) : 0);
	if (fd != -1) {
		close(fd);
	}
	receive_one();
}

static int file_of(const char *word)
{
	uint8_t cookie[KEEPER_COOKIE_SIZE];
	struct file *file = NULL;

	parse_cookie(word, cookie);
	file = find_file(cookie);
	if (file == NULL) {
		fail("no descriptor of %s here", word);
	}
	return file->fd;
}

static void lock(char **words)
{
	struct flock range = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = strtoll(words[2], NULL, 10),
		.l_len = strtoll(words[3], NULL, 10),
	};
	int result = fcntl(file_of(words[1]), F_OFD_SETLK, &range);

	printf("{\"status\":%d}\n", result == -1 ? -errno : 0);
}

static void run(char **words, int count)
{
	const char *command = words[0];

	if (strcmp(command, "deposit") == 0 && count >= 4) {
		deposit(words, true);
	} else if (strcmp(command, "post") == 0 && count >= 4) {
		deposit(words, false);
	} else if (strcmp(command, "park") == 0 && count >= 2) {
		park(words);
	} else if (strcmp(command, "dropsync") == 0 && count == 2) {
		drop_sync(words);
	} else if (strcmp(command, "look") == 0 && count >= 2) {
		look(words);
	} else if (strcmp(command, "take") == 0 && count == 2) {
		take(words);
	} else if (strcmp(command, "drop") == 0 && count == 2) {
		unanswered(KEEPER_DROP, words);
	} else if (strcmp(command, "adopt") == 0 && count >= 2) {
		unanswered(KEEPER_ADOPT, words);
	} else if (strcmp(command, "note") == 0 && count == 3) {
		unanswered(KEEPER_NOTE, words);
	} else if (strcmp(command, "query") == 0 && count == 3) {
		query(words, true);
	} else if (strcmp(command, "ask") == 0 && count == 3) {
		query(words, false);
	} else if (strcmp(command, "receive") == 0) {
		receive_one();
	} else if (strcmp(command, "raw") == 0 && count >= 2) {
		raw(words);
	} else if (strcmp(command, "seek") == 0 && count == 3) {
		printf("{\"offset\":%lld}\n",
		       (long long)lseek(file_of(words[1]),
					strtoll(words[2], NULL, 10),
					SEEK_SET));
	} else if (strcmp(command, "lock") == 0 && count == 4) {
		lock(words);
	} else if (strcmp(command, "close") == 0) {
		close(keeper_fd);
		puts("{\"closed\":true}");
	} else {
		fail("no such command: %s with %d words", command, count - 1);
	}
}

int main(int argc, char **argv)
{
	static char line[MAX_LINE];
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path)) {
		fail("usage: keeper_client SOCKET (commands on stdin)");
	}
	strcpy(address.sun_path, argv[1]);
	keeper_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (connect(keeper_fd, (struct sockaddr *)&address,
		    sizeof(address)) == -1) {
		printf("{\"connected\":false,\"errno\":%d}\n", errno);
		return 1;
	}
	printf("{\"connected\":true,\"pid\":%d}\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin) != NULL) {
		char *words[MAX_WORDS + 1] = { NULL };
		char *save = NULL;
		int count = 0;

		words[0] = strtok_r(line, " \n", &save);
		while (words[count] != NULL && count < MAX_WORDS) {
			count++;
			words[count] = strtok_r(NULL, " \n", &save);
		}
		if (count > 0) {
			run(words, count);
		}
	}
	return 0;
}
