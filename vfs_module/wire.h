/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The messages between smbd and persistd (docs/protocol.md, section 1) as
 * plain structures, and their msgpack form. Knows neither Samba nor sockets,
 * so that the golden-bytes test can compile it alone.
 */
#ifndef PERSISTENT_WIRE_H
#define PERSISTENT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <msgpack.h>

#define WIRE_VERSION 1
#define WIRE_COOKIE_SIZE 16
#define WIRE_GUID_SIZE 16
#define WIRE_MESSAGE_MAX 1048576
#define WIRE_REASON_SIZE 32
#define WIRE_ENDED_MAX 64 /* handles on one file that give way to one open */
#define WIRE_HOLDERS_MAX 16

/* Samba's struct server_id, which smbstatus --json shows the same way. */
struct wire_server_id {
	uint64_t pid;
	uint32_t task_id;
	uint32_t vnn;
	uint64_t unique_id;
};

/* What fstat(2) says of the file behind a kept descriptor. */
struct wire_stat {
	uint64_t dev;
	uint64_t ino;
	uint64_t nlink;
	uint64_t size_bytes;
	int64_t mtime_ns;
	int64_t ctime_ns;
};

/* SMB2_CREATE_APP_INSTANCE_ID and _VERSION, MS-SMB2 2.2.13.2.13 and .15. */
struct wire_app_instance {
	bool given;
	uint8_t id[WIRE_GUID_SIZE];
	bool has_version;
	uint64_t version_high;
	uint64_t version_low;
};

/* docs/protocol.md 1.2, in the order of its table. */
struct wire_record {
	const uint8_t *cookie;
	const char *kind;
	unsigned durable_version;
	const char *share;
	const char *connect_path;
	const char *path;
	const char *user;
	const char *owner_sid;
	uint32_t uid;
	const char *client_address;
	const char *client_name;
	const uint8_t *client_guid;
	const uint8_t *create_guid;
	const uint8_t *lease_key; /* NULL: an oplock */
	unsigned oplock;
	uint32_t lease_state;
	unsigned lease_version;
	unsigned lease_epoch;
	uint64_t persistent_id;
	uint64_t share_file_id;
	uint32_t access_mask;
	uint32_t share_access;
	uint32_t create_options;
	uint64_t opened_realtime_ns;
	uint32_t timeout_ms;
	struct wire_server_id server_id;
	uint64_t dev;
	uint64_t ino;
	const uint8_t *records_epoch;
	const char *local_access; /* "yield" or "keep" */
	const char *known_as; /* NULL: the client knows the file's name */
	bool survives_host;   /* `durability` is `host` */
	bool posix_locking;   /* its locks are mirrored in the kernel */
	struct wire_app_instance app_instance;
};

enum wire_verdict_kind {
	WIRE_VERDICT_RESUME,
	WIRE_VERDICT_REFUSE,
};

struct wire_verdict {
	enum wire_verdict_kind kind;
	char reason[WIRE_REASON_SIZE];
	bool final;
	bool level_lost;
	bool have_holder;
	struct wire_server_id holder;
};

enum wire_reply_type {
	WIRE_REPLY_WELCOME,
	WIRE_REPLY_ACK,
	WIRE_REPLY_FLUSHING,
	WIRE_REPLY_VERDICT,
	WIRE_REPLY_ARRIVED,
	WIRE_REPLY_CONTENDED,
	WIRE_REPLY_IMPORTS,
	WIRE_REPLY_TAKEN_OVER,
	WIRE_REPLY_ERROR,
};

/* An open that is to be closed by the smbd child that has it. */
struct wire_holder {
	uint8_t cookie[WIRE_COOKIE_SIZE];
	struct wire_server_id server_id;
};

struct wire_reply {
	enum wire_reply_type type;
	uint64_t seq;
	bool flushed; /* of an ack: what it is for outlives the host */
	struct wire_verdict verdict;
	uint32_t ended[WIRE_ENDED_MAX]; /* persistent ids */
	size_t num_ended;
	struct wire_imports *imports; /* wire_imports.h; NULL: none */
	/* of `takenOver` */
	bool refused;
	struct wire_holder holders[WIRE_HOLDERS_MAX];
	size_t num_holders;
};

/* The body of a grant or resumed event, and the keeper's record. */
void wire_pack_record(msgpack_packer *pk, const struct wire_record *r);

/*
 * The events, each as the pair [type, body]. record_body is what
 * wire_pack_record() made.
 */
void wire_event_record(msgpack_sbuffer *out, const char *type,
		       const msgpack_sbuffer *record_body);
/* note: what the keeper has noted of it (descriptors.h); length 0: nothing */
void wire_event_lock(msgpack_sbuffer *out, const uint8_t *cookie,
		     uint64_t start, uint64_t count, bool exclusive,
		     const void *note, size_t note_length);
void wire_event_unlock(msgpack_sbuffer *out, const uint8_t *cookie,
		       uint64_t start, uint64_t count,
		       const void *note, size_t note_length);
void wire_event_disconnect(msgpack_sbuffer *out, const uint8_t *cookie,
			   const struct wire_stat *st, const char *path,
			   uint64_t monotonic_ns, uint64_t realtime_ns);
void wire_event_resume_failed(msgpack_sbuffer *out, const uint8_t *cookie,
			      const char *reason, bool final);
void wire_event_close(msgpack_sbuffer *out, const uint8_t *cookie,
		      const char *reason);
void wire_event_imported(msgpack_sbuffer *out, const uint8_t *cookie,
			 const uint8_t *records_epoch);
void wire_event_import_failed(msgpack_sbuffer *out, const uint8_t *cookie,
			      const char *reason);
void wire_event_rename(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
		       bool is_directory, const char *from, const char *to);
void wire_event_conflict(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
			 const char *client_address, const char *status);
void wire_event_unlink(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
		       const char *path);
/* smbd sets the file's modification time; the data stays */
void wire_event_write_time(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
			   int64_t from_ns, int64_t to_ns);
/* opens while persistd was away; the last one was by client_address */
void wire_event_unsafe(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
		       const char *client_address, uint64_t allowed,
		       uint64_t refused);
/* count cookies of WIRE_COOKIE_SIZE bytes, one behind the other */
void wire_event_sync(msgpack_sbuffer *out, const uint8_t *cookies,
		     size_t count);

/* The requests. events is a run of num_events packed events. */
void wire_pack_hello(msgpack_sbuffer *out, uint64_t seq,
		     const struct wire_server_id *id,
		     const char *module_version, const char *samba_version);
void wire_pack_events(msgpack_sbuffer *out, uint64_t seq,
		      const struct wire_server_id *id,
		      const char *events, size_t events_len,
		      size_t num_events);
void wire_pack_claim(msgpack_sbuffer *out, uint64_t seq,
		     const uint8_t *cookie, const struct wire_server_id *id,
		     const char *share, const uint8_t *client_guid,
		     const struct wire_stat *st, uint64_t now_monotonic_ns);
/* lease_key, create_guid: NULL if the CREATE has none */
void wire_pack_arrive(msgpack_sbuffer *out, uint64_t seq,
		      const struct wire_server_id *id,
		      const char *client_address, const uint8_t *client_guid,
		      const uint8_t *lease_key, const uint8_t *create_guid,
		      uint64_t dev, uint64_t ino);
/* alive: the persistent ids of the opens that are still in smbd's records */
void wire_pack_contend(msgpack_sbuffer *out, uint64_t seq,
		       const struct wire_server_id *id,
		       const char *client_address, uint64_t dev, uint64_t ino,
		       uint32_t access_mask,
		       const uint32_t *alive, size_t num_alive);

/*
 * share: whose handles; NULL: those of the file. round: what was told before in
 * the same round is being done.
 */
void wire_pack_import(msgpack_sbuffer *out, uint64_t seq,
		      const struct wire_server_id *id,
		      const uint8_t *records_epoch, const uint8_t *client_guid,
		      const char *share, uint64_t dev, uint64_t ino,
		      uint64_t round);
/* What a CREATE with an AppInstanceId asks for. */
struct wire_takeover {
	const char *client_address;
	const uint8_t *client_guid;
	const char *share;
	uint64_t dev;
	uint64_t ino;
	const struct wire_app_instance *app_instance;
	bool may_close;   /* the user has GENERIC_READ on the file */
	uint32_t wait_ms; /* for holders to be gone; 0: only who they are */
};
void wire_pack_takeover(msgpack_sbuffer *out, uint64_t seq,
			const struct wire_server_id *id,
			const struct wire_takeover *t);

/*
 * Reads a reply of persistd. False for anything that is not exactly one
 * well-formed message of this version. wire_reply_free() frees what the reply
 * holds then.
 */
bool wire_parse_reply(const void *data, size_t len, struct wire_reply *reply);
void wire_reply_free(struct wire_reply *reply);

#endif
