/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the module stores in smbd's record of an open (backend_cookie in
 * smbXsrv_open_global.tdb): the name under which the keeper has the
 * descriptor, and inside it the cookie that stock Samba would have stored, so
 * that stock's own reconnect still works when our daemons are away.
 */
#ifndef PERSISTENT_COOKIE_H
#define PERSISTENT_COOKIE_H

struct persistent_cookie {
	uint8_t cookie[16];
	uint8_t durable_version;  /* 1: DHnQ, 2: DH2Q */
	bool is_pathref;          /* the descriptor is an O_PATH one */
	uint32_t disconnects;     /* how often it was disconnected so far */
	uint32_t create_options;
	DATA_BLOB stock;          /* vfs_default's own cookie */
};

/* c->stock is copied into the result. */
NTSTATUS cookie_push(TALLOC_CTX *mem_ctx, const struct persistent_cookie *c,
		     DATA_BLOB *blob);

/* False if blob is none of ours. c->stock points into blob. */
bool cookie_pull(const DATA_BLOB *blob, struct persistent_cookie *c);

#endif
