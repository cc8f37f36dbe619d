/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "cookie.h"

/*
 * Layout, little endian: magic (16), version u32, cookie (16),
 * durable version u8, is pathref u8, zero u16, disconnects u32, create
 * options u32, then stock's cookie up to the end.
 */
#define COOKIE_MAGIC "persistent-open\n"
#define COOKIE_MAGIC_SIZE 16
#define COOKIE_VERSION 1
#define COOKIE_HEADER_SIZE 48

NTSTATUS cookie_push(TALLOC_CTX *mem_ctx, const struct persistent_cookie *c,
		     DATA_BLOB *blob)
{
	DATA_BLOB out = data_blob_talloc_zero(
		mem_ctx, COOKIE_HEADER_SIZE + c->stock.length);

	if (out.data == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	memcpy(out.data, COOKIE_MAGIC, COOKIE_MAGIC_SIZE);
	SIVAL(out.data, 16, COOKIE_VERSION);
	memcpy(out.data + 20, c->cookie, sizeof(c->cookie));
	SCVAL(out.data, 36, c->durable_version);
	SCVAL(out.data, 37, c->is_pathref);
	SIVAL(out.data, 40, c->disconnects);
	SIVAL(out.data, 44, c->create_options);
	memcpy(out.data + COOKIE_HEADER_SIZE, c->stock.data, c->stock.length);
	*blob = out;
	return NT_STATUS_OK;
}

bool cookie_pull(const DATA_BLOB *blob, struct persistent_cookie *c)
{
	if (blob->length < COOKIE_HEADER_SIZE ||
	    memcmp(blob->data, COOKIE_MAGIC, COOKIE_MAGIC_SIZE) != 0 ||
	    IVAL(blob->data, 16) != COOKIE_VERSION) {
		return false;
	}
	*c = (struct persistent_cookie) {
		.durable_version = CVAL(blob->data, 36),
		.is_pathref = CVAL(blob->data, 37) != 0,
		.disconnects = IVAL(blob->data, 40),
		.create_options = IVAL(blob->data, 44),
		.stock = data_blob_const(blob->data + COOKIE_HEADER_SIZE,
					 blob->length - COOKIE_HEADER_SIZE),
	};
	memcpy(c->cookie, blob->data + 20, sizeof(c->cookie));
	return true;
}
