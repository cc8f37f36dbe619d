// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The module's side of the messages (vfs_module/wire.c) without a Samba, for
 * test/golden.test.ts:
 *
 *   golden_wire messages          each message that the module sends, with the
 *                                 values of test/golden/messages.json: a line
 *                                 NAME<TAB>HEX
 *   golden_wire replies           reads such lines, and prints after each NAME
 *                                 what the module understands
 *   golden_wire fuzz SEED ROUNDS  reads such lines, and parses damaged copies;
 *                                 built with the sanitizers, it ends at the
 *                                 first access that is not right
 */
#include "../../vfs_module/wire.h"
#include "../../vfs_module/wire_imports.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_SEQ 7
#define CLAIM_SEQ 9
#define CONTEND_SEQ 9
#define MAX_REPLIES 64

static const uint8_t epoch[16] = {
	0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7,
	0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef,
};
static const uint8_t cookie[] = "\x00\x01\x02\x03\x04\x05\x06\x07"
				"\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
static const uint8_t two_cookies[] = "\x00\x01\x02\x03\x04\x05\x06\x07"
				     "\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
				     "\x10\x11\x12\x13\x14\x15\x16\x17"
				     "\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f";
static const uint8_t client_guid[] = "\xa1\xa2\xa3\xa4\xb1\xb2\xc1\xc2"
				     "\xd1\xd2\xd3\xd4\xd5\xd6\xd7\xd8";
static const uint8_t create_guid[] = "\xe1\xe2\xe3\xe4\xf1\xf2\x01\x02"
				     "\x11\x12\x13\x14\x15\x16\x17\x18";
static const uint8_t zero_guid[WIRE_GUID_SIZE];
static const uint8_t lease_key[] = "@ABCDEFGHIJKLMNO";

static const struct wire_server_id self = {
	.pid = 4711,
	.vnn = UINT32_MAX,
	.unique_id = 9305357566071262703ULL,
};
static const struct wire_server_id other = {
	.pid = 4712,
	.task_id = 1,
	.unique_id = 12345678901234567ULL,
};

static const struct wire_stat file_stat = {
	.dev = 2049,
	.ino = 131313,
	.nlink = 1,
	.size_bytes = 65536,
	.mtime_ns = 1763715600123456789,
	.ctime_ns = 1763715600123456790,
};
static const struct wire_stat old_stat = {
	.dev = 64768,
	.ino = 1311768467463790320,
	.nlink = 0,
	.size_bytes = 4294967296,
	.mtime_ns = -86400000000000,
	.ctime_ns = -1,
};

static const struct wire_app_instance app_instance = {
	.given = true,
	.id = "\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7"
	      "\xa8\xa9\xaa\xab\xac\xad\xae\xaf",
	.has_version = true,
	.version_high = 1,
	.version_low = UINT64_MAX,
};

static const char report[] = "/srv/data/report.txt";

static const struct wire_record durable_v2 = {
	.cookie = cookie,
	.kind = "durable",
	.durable_version = 2,
	.share = "data",
	.connect_path = "/srv/data",
	.path = report,
	.user = "alice",
	.owner_sid = "S-1-5-21-1-2-3-1000",
	.uid = 1000,
	.client_address = "192.0.2.7",
	.client_name = "laptop",
	.client_guid = client_guid,
	.create_guid = create_guid,
	.lease_key = lease_key,
	.oplock = 0xFF,
	.lease_state = 7,
	.lease_version = 2,
	.lease_epoch = 5,
	.persistent_id = 0x1122334455667788,
	.share_file_id = 0x8877665544332211,
	.access_mask = 0x12019f,
	.share_access = 7,
	.create_options = 0x40,
	.opened_realtime_ns = 1763715600000000000,
	.timeout_ms = 60000,
	.server_id = self,
	.dev = 2049,
	.ino = 131313,
	.records_epoch = epoch,
	.local_access = "yield",
};

static void print_bytes(const msgpack_sbuffer *bytes)
{
	size_t i = 0;

	for (i = 0; i < bytes->size; i++) {
		printf("%02x", (uint8_t)bytes->data[i]);
	}
}

static void print_hex(const char *name, const msgpack_sbuffer *bytes)
{
	printf("%s\t", name);
	print_bytes(bytes);
	putchar('\n');
}

/* Prints and forgets what was packed. */
static void print_events(const char *name, msgpack_sbuffer *events, size_t num)
{
	msgpack_sbuffer message = { 0 };

	wire_pack_events(&message, EVENTS_SEQ, &self, events->data,
			 events->size, num);
	print_hex(name, &message);
	msgpack_sbuffer_destroy(&message);
	msgpack_sbuffer_destroy(events);
	msgpack_sbuffer_init(events);
}

static void pack_record_event(msgpack_sbuffer *events, const char *type,
			      const struct wire_record *r)
{
	msgpack_sbuffer body = { 0 };
	msgpack_packer pk = { 0 };

	msgpack_packer_init(&pk, &body, msgpack_sbuffer_write);
	wire_pack_record(&pk, r);
	wire_event_record(events, type, &body);
	msgpack_sbuffer_destroy(&body);
}

static void print_record_event(const char *name, const char *type,
			       const struct wire_record *r)
{
	msgpack_sbuffer events = { 0 };

	pack_record_event(&events, type, r);
	print_events(name, &events, 1);
}

static void print_records(void)
{
	struct wire_record r = durable_v2;
	msgpack_sbuffer body = { 0 };
	msgpack_packer pk = { 0 };

	print_record_event("events: grant of a durable v2 handle with a lease",
			   "grant", &r);
	r.server_id = other;
	print_record_event("events: resumed", "resumed", &r);

	r.server_id = self;
	r.known_as = "old name.txt";
	print_record_event("events: resumed, renamed while its client was away",
			   "resumed", &r);
	r.known_as = NULL;
	r.server_id = other;

	r.durable_version = 1;
	r.create_guid = zero_guid;
	r.lease_key = NULL;
	r.oplock = 9;
	r.lease_state = 0;
	r.lease_version = 0;
	r.lease_epoch = 0;
	print_record_event("events: grant of a durable v1 handle with an oplock",
			   "grant", &r);

	r.kind = "resilient";
	r.local_access = "keep";
	r.durable_version = 0;
	r.oplock = 0;
	r.timeout_ms = 300000;
	r.server_id = self;
	print_record_event("events: grant of a resilient handle", "grant", &r);

	r = durable_v2;
	r.app_instance = app_instance;
	print_record_event("events: grant of a handle with an app instance and "
			   "version", "grant", &r);
	r.kind = "plain";
	r.app_instance.has_version = false;
	print_record_event("events: grant of a plain open with an app instance",
			   "grant", &r);

	r = durable_v2;
	r.survives_host = true;
	r.posix_locking = true;
	print_record_event("events: grant of a handle that outlives the host",
			   "grant", &r);

	r = durable_v2;
	r.kind = "persistent";
	r.path = "/srv/data/\xff\xfe/\xc3\xa9.txt";
	r.timeout_ms = INT32_MAX;
	r.dev = old_stat.dev;
	r.ino = old_stat.ino;
	print_record_event("events: grant of a persistent handle, path not UTF-8",
			   "grant", &r);

	msgpack_packer_init(&pk, &body, msgpack_sbuffer_write);
	wire_pack_record(&pk, &durable_v2);
	print_hex("handle record as deposited with the keeper", &body);
	msgpack_sbuffer_destroy(&body);
}

static void print_changes(void)
{
	msgpack_sbuffer e = { 0 };

	wire_event_lock(&e, cookie, 1ULL << 32, 100, true, NULL, 0);
	print_events("events: lock", &e, 1);
	wire_event_lock(&e, cookie, 0, UINT64_MAX, false, NULL, 0);
	print_events("events: shared lock to the end of all ranges", &e, 1);
	wire_event_unlock(&e, cookie, 1ULL << 32, 100, NULL, 0);
	print_events("events: unlock", &e, 1);
	wire_event_lock(&e, cookie, 0, 1, true, "note", 4);
	print_events("events: lock with a note", &e, 1);
	wire_event_unlock(&e, cookie, 0, 1, "note", 4);
	print_events("events: unlock with a note", &e, 1);

	wire_event_disconnect(&e, cookie, &file_stat, report, 123456789012345,
			      1763715660000000000);
	print_events("events: disconnect", &e, 1);
	wire_event_disconnect(&e, cookie, &old_stat, report, 5000000000,
			      1763715660000000000);
	print_events("events: disconnect, file older than 1970", &e, 1);

	wire_event_resume_failed(&e, cookie, "NT_STATUS_OBJECT_NAME_NOT_FOUND",
				 false);
	print_events("events: resumeFailed", &e, 1);
	wire_event_resume_failed(&e, cookie, "modified", true);
	print_events("events: resumeFailed for good", &e, 1);
	wire_event_close(&e, cookie, "close");
	print_events("events: close", &e, 1);
	wire_event_imported(&e, cookie, epoch);
	print_events("events: imported", &e, 1);
	wire_event_import_failed(&e, cookie, "superseded");
	print_events("events: importFailed", &e, 1);

	wire_event_rename(&e, 2049, 131313, false, report,
			  "/srv/data/final.txt");
	print_events("events: rename of a file", &e, 1);
	wire_event_rename(&e, 2049, 77, true, "/srv/data/a", "/srv/data/b");
	print_events("events: rename of a directory", &e, 1);
	wire_event_unlink(&e, 2049, 131313, report);
	print_events("events: unlink", &e, 1);
	wire_event_write_time(&e, 2049, 131313, -1, 1763715660000000000);
	print_events("events: writeTime", &e, 1);
	wire_event_conflict(&e, 2049, 131313, "192.0.2.9",
			    "SHARING_VIOLATION");
	print_events("events: conflict", &e, 1);

	wire_event_unsafe(&e, 2049, 131313, "192.0.2.9", 1, 0);
	print_events("events: unsafe", &e, 1);

	wire_event_sync(&e, NULL, 0);
	print_events("events: sync with nothing held", &e, 1);
	wire_event_sync(&e, two_cookies, 2);
	print_events("events: sync", &e, 1);
}

static void print_takeovers(void)
{
	struct wire_app_instance app = app_instance;
	struct wire_takeover t = {
		.client_address = "192.0.2.9",
		.client_guid = client_guid,
		.share = "data",
		.dev = 2049,
		.ino = 131313,
		.app_instance = &app,
		.may_close = true,
	};
	msgpack_sbuffer m = { 0 };

	wire_pack_takeover(&m, CONTEND_SEQ, &other, &t);
	print_hex("takeover", &m);
	msgpack_sbuffer_clear(&m);
	app.has_version = false;
	t.may_close = false;
	t.wait_ms = 120;
	wire_pack_takeover(&m, CONTEND_SEQ, &other, &t);
	print_hex("takeover without a version, waiting", &m);
	msgpack_sbuffer_destroy(&m);
}

static void print_messages(void)
{
	static const uint32_t alive[] = { 1, UINT32_MAX };
	msgpack_sbuffer m = { 0 };

	wire_pack_hello(&m, 1, &self, "0.1.0", "4.17.12");
	print_hex("hello", &m);
	msgpack_sbuffer_clear(&m);
	wire_pack_claim(&m, CLAIM_SEQ, cookie, &other, "data", client_guid,
			&file_stat, 123456889012345);
	print_hex("claim", &m);
	msgpack_sbuffer_clear(&m);
	wire_pack_arrive(&m, CONTEND_SEQ, &other, "192.0.2.7", client_guid,
			 lease_key, create_guid, 2049, 131313);
	print_hex("arrive", &m);
	msgpack_sbuffer_clear(&m);
	wire_pack_arrive(&m, CONTEND_SEQ, &other, "192.0.2.7", client_guid,
			 NULL, NULL, 2049, 131313);
	print_hex("arrive without a lease key or create GUID", &m);
	msgpack_sbuffer_clear(&m);
	wire_pack_contend(&m, CONTEND_SEQ, &other, "192.0.2.9", 2049, 131313,
			  0x12019f, alive, 2);
	print_hex("contend", &m);
	msgpack_sbuffer_clear(&m);
	wire_pack_contend(&m, CONTEND_SEQ, &other, "192.0.2.9", 2049, 131313,
			  0x80, NULL, 0);
	print_hex("contend with nothing alive", &m);
	msgpack_sbuffer_clear(&m);
	wire_pack_import(&m, CONTEND_SEQ, &other, epoch, client_guid, "data",
			 0, 0, 7);
	print_hex("import of a share", &m);
	msgpack_sbuffer_clear(&m);
	wire_pack_import(&m, CONTEND_SEQ, &other, epoch, client_guid, NULL,
			 2049, 131313, CONTEND_SEQ);
	print_hex("import of a file", &m);
	msgpack_sbuffer_clear(&m);

	print_takeovers();
	print_records();
	print_changes();

	print_events("events: none", &m, 0);
	pack_record_event(&m, "grant", &durable_v2);
	wire_event_lock(&m, cookie, 0, 1, true, NULL, 0);
	wire_event_unlock(&m, cookie, 0, 1, NULL, 0);
	wire_event_close(&m, cookie, "close");
	print_events("events: several in order", &m, 4);
}

#define SAMPLE_MAX 1024

struct sample {
	char name[128];
	uint8_t *bytes;
	size_t len;
};

static size_t read_samples(struct sample *samples, size_t max)
{
	char *line = NULL;
	size_t room = 0;
	size_t num = 0;

	while (num < max && getline(&line, &room, stdin) > 0) {
		struct sample *s = &samples[num];
		char *hex = strchr(line, '\t');
		size_t i = 0;

		if (hex == NULL) {
			errx(2, "not NAME<TAB>HEX: %s", line);
		}
		*hex++ = '\0';
		snprintf(s->name, sizeof(s->name), "%s", line);
		s->len = strcspn(hex, "\n") / 2;
		s->bytes = malloc(s->len + 1);
		if (s->bytes == NULL) {
			err(1, "a sample of %zu bytes", s->len);
		}
		for (i = 0; i < s->len; i++) {
			if (sscanf(hex + 2 * i, "%2hhx", &s->bytes[i]) != 1) {
				errx(2, "%s: not hexadecimal", s->name);
			}
		}
		num++;
	}
	free(line);
	return num;
}

static void print_server_id(const struct wire_server_id *id)
{
	printf(" holder %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu64, id->pid,
	       id->task_id, id->vnn, id->unique_id);
}

/* The record as the same bytes that it came as. */
static void print_imports(const struct wire_imports *imports)
{
	size_t i = 0;
	size_t j = 0;

	printf(" %s", imports->more ? "more" : "all");
	for (i = 0; i < imports->count; i++) {
		const struct wire_import *h = &imports->handles[i];
		msgpack_sbuffer body = { 0 };
		msgpack_packer pk = { 0 };

		msgpack_packer_init(&pk, &body, msgpack_sbuffer_write);
		wire_pack_record(&pk, &h->record);
		printf(" handle ");
		print_bytes(&body);
		msgpack_sbuffer_destroy(&body);
		printf(" %" PRIu64 " %d %d", h->disconnected_realtime_ns,
		       h->protected, h->level_lost);
		for (j = 0; j < h->num_locks; j++) {
			printf(" lock %" PRIu64 " %" PRIu64 " %d",
			       h->locks[j].start, h->locks[j].count,
			       h->locks[j].exclusive);
		}
	}
}

static void print_reply(const char *name, const struct wire_reply *r)
{
	static const char *const types[] = {
		[WIRE_REPLY_WELCOME] = "welcome",
		[WIRE_REPLY_ACK] = "ack",
		[WIRE_REPLY_FLUSHING] = "flushing",
		[WIRE_REPLY_VERDICT] = "verdict",
		[WIRE_REPLY_ARRIVED] = "arrived",
		[WIRE_REPLY_CONTENDED] = "contended",
		[WIRE_REPLY_IMPORTS] = "imports",
		[WIRE_REPLY_TAKEN_OVER] = "takenOver",
		[WIRE_REPLY_ERROR] = "error",
	};

	size_t i = 0;

	printf("%s\t%s %" PRIu64, name, types[r->type], r->seq);
	for (i = 0; i < r->num_ended; i++) {
		printf(" ended %" PRIu32, r->ended[i]);
	}
	if (r->type == WIRE_REPLY_VERDICT &&
	    r->verdict.kind == WIRE_VERDICT_RESUME) {
		printf(" resume%s",
		       r->verdict.level_lost ? " level-lost" : "");
	} else if (r->type == WIRE_REPLY_VERDICT) {
		printf(" refuse %s%s", r->verdict.reason,
		       r->verdict.final ? " final" : "");
	}
	if (r->flushed) {
		printf(" flushed");
	}
	if (r->refused) {
		printf(" refused");
	}
	for (i = 0; i < r->num_holders; i++) {
		printf(" held %02x", r->holders[i].cookie[0]);
		print_server_id(&r->holders[i].server_id);
	}
	if (r->verdict.have_holder) {
		print_server_id(&r->verdict.holder);
	}
	if (r->type == WIRE_REPLY_IMPORTS) {
		print_imports(r->imports);
	}
	putchar('\n');
}

static void print_replies(const struct sample *samples, size_t num)
{
	struct wire_reply reply = { 0 };
	size_t i = 0;

	for (i = 0; i < num; i++) {
		if (wire_parse_reply(samples[i].bytes, samples[i].len, &reply)) {
			print_reply(samples[i].name, &reply);
			wire_reply_free(&reply);
		} else {
			printf("%s\trefused\n", samples[i].name);
		}
	}
}

static uint64_t parsed;
static uint64_t understood;

/*
 * The bytes lie in a block of exactly their size, so that the sanitizer sees a
 * read of even one byte more. What is understood must be a valid structure.
 */
static void try_parse(const uint8_t *bytes, size_t len)
{
	struct wire_reply reply = { 0 };
	uint8_t *exact = malloc(len);

	if (exact == NULL && len > 0) {
		err(1, "%zu bytes", len);
	}
	if (len > 0) {
		memcpy(exact, bytes, len);
	}
	parsed++;
	if (wire_parse_reply(exact, len, &reply)) {
		understood++;
		if (memchr(reply.verdict.reason, '\0', WIRE_REASON_SIZE) == NULL) {
			errx(1, "a reason that does not end");
		}
		wire_reply_free(&reply);
	}
	free(exact);
}

static size_t below(size_t limit)
{
	return (size_t)random() % limit;
}

/* Shorter, longer, and with each byte once each value. */
static void damage_everywhere(const struct sample *s)
{
	uint8_t *copy = malloc(s->len + 1);
	size_t i = 0;
	unsigned value = 0;

	if (copy == NULL) {
		err(1, "a copy of %zu bytes", s->len);
	}
	memcpy(copy, s->bytes, s->len);
	copy[s->len] = 0xc0;
	for (i = 0; i <= s->len + 1; i++) {
		try_parse(copy, i);
	}
	for (i = 0; i < s->len; i++) {
		for (value = 0; value < 256; value++) {
			copy[i] = (uint8_t)value;
			try_parse(copy, s->len);
		}
		copy[i] = s->bytes[i];
	}
	free(copy);
}

/* Two replies' parts joined, some bytes of it anything; or anything at all. */
static void damage_at_random(const struct sample *samples, size_t num)
{
	uint8_t bytes[2 * SAMPLE_MAX] = { 0 };
	const struct sample *a = &samples[below(num)];
	const struct sample *b = &samples[below(num)];
	size_t len = 0;
	size_t i = 0;

	if (below(4) == 0) {
		len = below(64);
		for (i = 0; i < len; i++) {
			bytes[i] = (uint8_t)random();
		}
	} else {
		size_t head = below(a->len + 1);
		size_t tail = below(b->len + 1);

		if (a == b) {
			tail = a->len - head;
		}
		memcpy(bytes, a->bytes, head);
		memcpy(bytes + head, b->bytes + b->len - tail, tail);
		len = head + tail;
		for (i = below(6); len > 0 && i > 0; i--) {
			bytes[below(len)] = (uint8_t)random();
		}
	}
	try_parse(bytes, len);
}

/*
 * msgpack reserves what a header claims, up to 100 GB. Outside the sanitizers
 * that either fails or is never touched; here it would all be marked.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1:max_allocation_size_mb=64";
}

static void fuzz(const struct sample *samples, size_t num, long rounds)
{
	size_t i = 0;

	for (i = 0; i < num; i++) {
		if (samples[i].len > SAMPLE_MAX) {
			errx(2, "%s is longer than %d bytes", samples[i].name,
			     SAMPLE_MAX);
		}
		damage_everywhere(&samples[i]);
	}
	for (; rounds > 0; rounds--) {
		damage_at_random(samples, num);
	}
	printf("%" PRIu64 " parsed, %" PRIu64 " understood\n", parsed,
	       understood);
}

int main(int argc, char **argv)
{
	static struct sample samples[MAX_REPLIES];
	const char *verb = argc > 1 ? argv[1] : "";
	size_t num = 0;

	if (strcmp(verb, "messages") == 0 && argc == 2) {
		print_messages();
		return 0;
	}
	num = read_samples(samples, MAX_REPLIES);
	if (strcmp(verb, "replies") == 0 && argc == 2) {
		print_replies(samples, num);
	} else if (strcmp(verb, "fuzz") == 0 && argc == 4 && num > 0) {
		srandom((unsigned)atoi(argv[2]));
		fuzz(samples, num, atol(argv[3]));
	} else {
		errx(2, "usage: golden_wire messages | replies | "
			"fuzz SEED ROUNDS, replies on standard input");
	}
	while (num > 0) {
		free(samples[--num].bytes);
	}
	return 0;
}
