/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the module stores in smbd's record of an open (backend_cookie in
 * smbXsrv_open_global.tdb): the name under which the keeper has the
 * descriptor, and inside it the cookie that stock Samba would have stored, so
 * that stock's own reconnect still works when our daemons are away.
 */
#ifndef PERSISTENT_COOKIE_H
#define PERSISTENT_COOKIE_H

#include "wire.h"

enum persistent_kind {
	PERSISTENT_KIND_DURABLE = 0,
	PERSISTENT_KIND_RESILIENT = 1,
	PERSISTENT_KIND_PERSISTENT = 2, /* `persistent:strength = yes` */
};

/*
 * How a protected open that is away stands in smbd's records, and what it had
 * before. Its entry and its locks belong to the surrogate, a process id that
 * exists for as long as the keeper holds the descriptor; it has no oplock or
 * lease there, since nobody could acknowledge a break.
 */
struct persistent_surrogate {
	uint64_t pid;             /* 0: not protected */
	uint16_t op_type;
	uint16_t lease_version;
	uint32_t lease_state;
	uint16_t lease_epoch;
	struct smb2_lease_key lease_key;
};

struct persistent_cookie {
	uint8_t cookie[16];
	uint8_t durable_version;  /* 1: DHnQ, 2: DH2Q, 0: neither */
	enum persistent_kind kind;
	bool is_pathref;          /* the descriptor is an O_PATH one */
	uint32_t disconnects;     /* how often it was disconnected so far */
	uint32_t create_options;
	uint32_t timeout_ms;      /* the client's, while smbd is told more */
	uint32_t lock_count;      /* when it was disconnected */
	struct persistent_surrogate surrogate;
	struct wire_app_instance app_instance;
	DATA_BLOB stock;          /* vfs_default's own cookie */
};

/* As the messages name it (docs/protocol.md 1.2). */
const char *cookie_kind_name(enum persistent_kind kind);

/* The kind of that name; durable if there is none. */
enum persistent_kind cookie_kind_named(const char *name);

/*
 * Whether its share mode and locks stay in force while its client is away, and
 * it stays itself whatever becomes of its oplock or lease.
 */
bool cookie_is_protected(const struct persistent_cookie *c);

/* c->stock is copied into the result. */
NTSTATUS cookie_push(TALLOC_CTX *mem_ctx, const struct persistent_cookie *c,
		     DATA_BLOB *blob);

/* False if blob is none of ours. c->stock points into blob. */
bool cookie_pull(const DATA_BLOB *blob, struct persistent_cookie *c);

/* blob was made by cookie_push(): the kind in it is another one. */
void cookie_change_kind(const DATA_BLOB *blob, enum persistent_kind kind);

#endif
