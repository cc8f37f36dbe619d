/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "cookie.h"

/*
 * Layout, little endian: magic (16), version u32, cookie (16),
 * durable version u8, is pathref u8, kind u8, zero u8, disconnects u32,
 * create options u32; the surrogate: pid u64, op_type u16, lease version u16,
 * lease state u32, lease epoch u16, zero u16, lease key (16); timeout u32, lock
 * count u32, zero u32; then stock's cookie up to the end.
 */
#define COOKIE_MAGIC "persistent-open\n"
#define COOKIE_MAGIC_SIZE 16
#define COOKIE_VERSION 1
#define COOKIE_HEADER_SIZE 96

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
	SCVAL(out.data, 38, c->kind);
	SIVAL(out.data, 40, c->disconnects);
	SIVAL(out.data, 44, c->create_options);
	SBVAL(out.data, 48, c->surrogate.pid);
	SSVAL(out.data, 56, c->surrogate.op_type);
	SSVAL(out.data, 58, c->surrogate.lease_version);
	SIVAL(out.data, 60, c->surrogate.lease_state);
	SSVAL(out.data, 64, c->surrogate.lease_epoch);
	SBVAL(out.data, 68, c->surrogate.lease_key.data[0]);
	SBVAL(out.data, 76, c->surrogate.lease_key.data[1]);
	SIVAL(out.data, 84, c->timeout_ms);
	SIVAL(out.data, 88, c->lock_count);
	memcpy(out.data + COOKIE_HEADER_SIZE, c->stock.data, c->stock.length);
	*blob = out;
	return NT_STATUS_OK;
}

bool cookie_pull(const DATA_BLOB *blob, struct persistent_cookie *c)
{
	if (blob->length < COOKIE_HEADER_SIZE ||
	    memcmp(blob->data, COOKIE_MAGIC, COOKIE_MAGIC_SIZE) != 0 ||
	    IVAL(blob->data, 16) != COOKIE_VERSION ||
	    CVAL(blob->data, 38) > PERSISTENT_KIND_RESILIENT) {
		return false;
	}
	*c = (struct persistent_cookie) {
		.durable_version = CVAL(blob->data, 36),
		.is_pathref = CVAL(blob->data, 37) != 0,
		.kind = CVAL(blob->data, 38),
		.disconnects = IVAL(blob->data, 40),
		.create_options = IVAL(blob->data, 44),
		.timeout_ms = IVAL(blob->data, 84),
		.lock_count = IVAL(blob->data, 88),
		.surrogate = {
			.pid = BVAL(blob->data, 48),
			.op_type = SVAL(blob->data, 56),
			.lease_version = SVAL(blob->data, 58),
			.lease_state = IVAL(blob->data, 60),
			.lease_epoch = SVAL(blob->data, 64),
			.lease_key.data = {
				BVAL(blob->data, 68),
				BVAL(blob->data, 76),
			},
		},
		.stock = data_blob_const(blob->data + COOKIE_HEADER_SIZE,
					 blob->length - COOKIE_HEADER_SIZE),
	};
	memcpy(c->cookie, blob->data + 20, sizeof(c->cookie));
	return true;
}
