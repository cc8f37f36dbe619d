// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What travels on keeper.sock and control.sock, and the layout of
 * keeper.index. docs/protocol.md, section 2, is the description of record;
 * this header is shared by the keeper and the Samba module and therefore
 * needs nothing but <stdint.h>.
 *
 * A keeper that starts makes a new keeper.index, unless it takes over from
 * another. Who has the file mapped maps it anew each time that it connects to
 * keeper.sock: the mapping of a keeper that was killed never changes again.
 */
#ifndef KEEPER_PROTOCOL_H
#define KEEPER_PROTOCOL_H

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the packed structures below are the wire only on little endian hosts"
#endif

#define KEEPER_MAGIC 0x504B4431u
#define KEEPER_VERSION 1
#define KEEPER_COOKIE_SIZE 16
#define KEEPER_MAX_PAYLOAD 16384

/*
 * An ENTRY carries the record, the file handle and the identity of the file
 * system in one payload; these bounds make them fit.
 */
#define KEEPER_MAX_FILE_HANDLE 128
#define KEEPER_MAX_IDENTITY 3072
#define KEEPER_MAX_RECORD 12288
#define KEEPER_MAX_NOTE 128

#define KEEPER_SOCKET_NAME "keeper.sock"
#define KEEPER_CONTROL_NAME "control.sock"
#define KEEPER_INDEX_NAME "keeper.index"

/*
 * The u32 words of keeper.index: slots that count the parked and orphaned
 * descriptors of files, as many that count all kept ones; one word that counts
 * all parked and orphaned ones, and one for the orphaned ones alone; the last
 * is 1 when persistd has had made again what this keeper shall have.
 */
#define KEEPER_INDEX_BITS 18
#define KEEPER_INDEX_SLOTS (1U << KEEPER_INDEX_BITS)
#define KEEPER_INDEX_PARKED 0
#define KEEPER_INDEX_KEPT KEEPER_INDEX_SLOTS
#define KEEPER_INDEX_AWAY (2 * KEEPER_INDEX_SLOTS)
#define KEEPER_INDEX_ORPHANED (2 * KEEPER_INDEX_SLOTS + 1)
#define KEEPER_INDEX_SETTLED (2 * KEEPER_INDEX_SLOTS + 2)
#define KEEPER_INDEX_WORDS (2 * KEEPER_INDEX_SLOTS + 3)

#define KEEPER_REPLY 0x8000

enum keeper_type {
	/* smbd child to keeper */
	KEEPER_DEPOSIT = 1,
	KEEPER_PARK = 2,
	KEEPER_TAKE = 3,
	KEEPER_ADOPT = 4,
	KEEPER_DROP = 5,
	KEEPER_QUERY = 6,
	KEEPER_DROP_SYNC = 7,
	KEEPER_NOTE = 8,
	KEEPER_LOOK = 10,
	/* keeper to smbd child; the only answer that a DEPOSIT ever gets */
	KEEPER_REFUSED = KEEPER_REPLY | KEEPER_DEPOSIT,
	/* keeper to smbd child, unasked: another one has died */
	KEEPER_DIED = KEEPER_REPLY | 9,
	/* persistd to keeper */
	KEEPER_CONTROL_LIST = 32,
	KEEPER_CONTROL_DROP = 33,
	KEEPER_CONTROL_INFO = 34,
	KEEPER_CONTROL_WATCH = 35,
	KEEPER_CONTROL_UPGRADE = 36,
	KEEPER_CONTROL_DESCRIBE = 40,
	KEEPER_CONTROL_REMAKE = 41,
	KEEPER_CONTROL_LOCK = 42,
	KEEPER_CONTROL_SETTLED = 43,
	/* keeper to persistd, unasked */
	KEEPER_CONTROL_ENTRY = 64,
	KEEPER_CONTROL_GONE = 65,
	KEEPER_CONTROL_LIST_END = 66,
	KEEPER_CONTROL_REFUSED = 67,
	KEEPER_CONTROL_TOUCHED = 68,
	KEEPER_CONTROL_MOUNTED = 72
};

enum keeper_state {
	KEEPER_HELD = 1,
	KEEPER_PARKED = 2,
	KEEPER_ORPHANED = 3
};

/* The payload of PARK and LOOK, one byte. */
enum keeper_park {
	KEEPER_PARK_PLAIN = 0,
	KEEPER_PARK_PROTECT = 1
};

/* What tells the keeper of local access to files. */
enum keeper_facility {
	KEEPER_FACILITY_NONE = 0,
	KEEPER_FACILITY_FANOTIFY = 1,
	KEEPER_FACILITY_INOTIFY = 2
};

/* How a file was touched. */
enum keeper_touched_how {
	KEEPER_TOUCHED_OPENED = 1, /* for writing */
	KEEPER_TOUCHED_MODIFIED = 2
};

/* TASK_COMM_LEN: the name of a process with the zero behind it. */
#define KEEPER_PROCESS_NAME 16

/* In front of every packet; `length` counts what follows it. */
struct keeper_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint32_t seq;
	uint32_t length;
	uint8_t cookie[KEEPER_COOKIE_SIZE];
} __attribute__((packed));

/* The payload of QUERY. */
struct keeper_query {
	uint64_t dev;
	uint64_t ino;
} __attribute__((packed));

/* The payload of the reply to INFO. */
struct keeper_info {
	uint32_t pid;
	uint32_t used;
	uint32_t limit;
	uint64_t refused;
	uint64_t protocol_errors;
	uint32_t facility;
	uint32_t remakes; /* 1: it knows DESCRIBE, REMAKE, LOCK and SETTLED */
} __attribute__((packed));

/* The payload of the reply to WATCH; the status alone unless it is 0. */
struct keeper_watch {
	int32_t status;
	uint64_t size_bytes;
	int64_t mtime_ns;
} __attribute__((packed));

/* The payload of TOUCHED; `pid` is 0 where the kernel does not say who. */
struct keeper_touched {
	uint8_t how;
	uint8_t zero[3];
	uint32_t pid;
	char process[KEEPER_PROCESS_NAME];
} __attribute__((packed));

/*
 * The payload of the reply to LOOK; behind it a struct stat of stat(2) and the
 * note. The status alone unless it is 0.
 */
struct keeper_look {
	int32_t status;
	uint32_t surrogate; /* 0: it has none */
} __attribute__((packed));

/* The payload of the reply to UPGRADE; behind it why not, in words. */
struct keeper_upgrade {
	int32_t status;
	uint32_t pid; /* of the one that serves from now on */
} __attribute__((packed));

/*
 * The payload of ENTRY; behind it the file handle, the identity of the file
 * system and the record, in this order.
 */
struct keeper_entry {
	uint8_t state;
	uint8_t zero[3];
	uint32_t owner_pid;
	uint64_t since_monotonic_ns;
	uint64_t since_realtime_ns;
	uint64_t dev;
	uint64_t ino;
	uint64_t nlink;
	uint64_t size_bytes;
	int64_t mtime_ns;
	int64_t ctime_ns;
	int32_t file_handle_type;
	uint16_t file_handle_length;
	uint16_t identity_length;
	uint16_t record_length;
	uint16_t zero_end;
} __attribute__((packed));

/*
 * The payload of the reply to DESCRIBE; behind it the file handle and the
 * identity of the file system. The status alone unless it is 0.
 */
struct keeper_description {
	int32_t status;
	int32_t open_flags; /* F_GETFL */
	int32_t file_handle_type;
	uint16_t file_handle_length;
	uint16_t identity_length;
} __attribute__((packed));

/*
 * The payload of REMAKE; behind it the file handle, the identity of the file
 * system, the path that the file had last, the record and the note.
 */
struct keeper_remake {
	uint64_t ino;
	int32_t open_flags;
	int32_t file_handle_type;
	uint16_t file_handle_length;
	uint16_t identity_length;
	uint16_t path_length;
	uint16_t record_length;
	uint16_t note_length;
	uint16_t zero;
} __attribute__((packed));

/* The payload of its reply; the status alone unless it is 0. */
struct keeper_remade {
	int32_t status;
	uint32_t zero;
	uint64_t dev;
	uint64_t ino;
	uint64_t nlink;
	uint64_t size_bytes;
	int64_t mtime_ns;
	int64_t ctime_ns;
} __attribute__((packed));

/* The payload of LOCK is a run of these. A count of 0 locks nothing. */
struct keeper_lock {
	uint64_t start;
	uint64_t count;
	uint64_t exclusive;
} __attribute__((packed));

_Static_assert(sizeof(struct keeper_header) == 32, "header is 32 bytes");
_Static_assert(sizeof(struct keeper_info) == 36, "info is 36 bytes");
_Static_assert(sizeof(struct keeper_watch) == 20, "watch is 20 bytes");
_Static_assert(sizeof(struct keeper_touched) == 24, "touched is 24 bytes");
_Static_assert(sizeof(struct keeper_entry) == 84, "entry is 84 bytes");
_Static_assert(sizeof(struct keeper_description) == 16, "description is 16 bytes");
_Static_assert(sizeof(struct keeper_remake) == 28, "remake is 28 bytes");
_Static_assert(sizeof(struct keeper_remade) == 56, "remade is 56 bytes");
_Static_assert(sizeof(struct keeper_lock) == 24, "lock is 24 bytes");
_Static_assert(sizeof(struct keeper_entry) + KEEPER_MAX_FILE_HANDLE +
		KEEPER_MAX_IDENTITY + KEEPER_MAX_RECORD <= KEEPER_MAX_PAYLOAD,
	"the largest entry fits into a packet");

/*
 * The two slots of keeper.index that count the parked descriptors of a file.
 * An open that finds both taken asks persistd: with one slot, too many opens of
 * files that nobody is away from would.
 */
struct keeper_index_slots {
	uint32_t first;
	uint32_t second;
};

static inline struct keeper_index_slots keeper_index_slots(uint64_t dev,
							   uint64_t ino)
{
	const unsigned int shift = 64 - KEEPER_INDEX_BITS;
	uint64_t first = ino * UINT64_C(0x9E3779B97F4A7C15) + dev;
	uint64_t second = first * UINT64_C(0xD6E8FEB86659FD93);

	return (struct keeper_index_slots) {
		.first = (uint32_t)(first >> shift),
		.second = (uint32_t)(second >> shift),
	};
}

#endif
