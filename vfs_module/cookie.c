/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "cookie.h"

/*
 * Layout, little endian: magic (16), version u32, cookie (16),
 * durable version u8, is pathref u8, kind u8, app instance u8, disconnects u32,
 * create options u32; the surrogate: pid u64, op_type u16, lease version u16,
 * lease state u32, lease epoch u16, zero u16, lease key (16); timeout u32, lock
 * count u32, zero u32; if the app instance is not 0 (1: without, 2: with a
 * version), its id (16), version high u64 and low u64; then stock's cookie up
 * to the end.
 */
#define COOKIE_MAGIC "persistent-open\n"
#define COOKIE_MAGIC_SIZE 16
#define COOKIE_VERSION 1
#define COOKIE_HEADER_SIZE 96
#define COOKIE_APP_INSTANCE_SIZE 32
#define COOKIE_KIND_OFFSET 38

static const char *const kind_names[] = {
	[PERSISTENT_KIND_DURABLE] = "durable",
	[PERSISTENT_KIND_RESILIENT] = "resilient",
	[PERSISTENT_KIND_PERSISTENT] = "persistent",
};

const char *cookie_kind_name(enum persistent_kind kind)
{
	return kind_names[kind];
}

enum persistent_kind cookie_kind_named(const char *name)
{
	size_t kind = ARRAY_SIZE(kind_names) - 1;

	while (kind > PERSISTENT_KIND_DURABLE &&
	       strcmp(kind_names[kind], name) != 0) {
		kind--;
	}
	return kind;
}

bool cookie_is_protected(const struct persistent_cookie *c)
{
	return c->kind != PERSISTENT_KIND_DURABLE;
}

static uint8_t *push_app_instance(uint8_t *out,
				  const struct wire_app_instance *app)
{
	if (!app->given) {
		return out;
	}
	memcpy(out, app->id, sizeof(app->id));
	SBVAL(out, 16, app->version_high);
	SBVAL(out, 24, app->version_low);
	return out + COOKIE_APP_INSTANCE_SIZE;
}

static void pull_app_instance(const uint8_t *in, uint8_t form,
			      struct wire_app_instance *app)
{
	if (form == 0) {
		return;
	}
	*app = (struct wire_app_instance) {
		.given = true,
		.has_version = form == 2,
		.version_high = BVAL(in, 16),
		.version_low = BVAL(in, 24),
	};
	memcpy(app->id, in, sizeof(app->id));
}

NTSTATUS cookie_push(TALLOC_CTX *mem_ctx, const struct persistent_cookie *c,
		     DATA_BLOB *blob)
{
	const struct wire_app_instance *app = &c->app_instance;
	DATA_BLOB out = data_blob_talloc_zero(
		mem_ctx, COOKIE_HEADER_SIZE + c->stock.length +
			 (app->given ? COOKIE_APP_INSTANCE_SIZE : 0));
	uint8_t *rest = NULL;

	if (out.data == NULL) {
		return NT_STATUS_NO_MEMORY;
	}
	memcpy(out.data, COOKIE_MAGIC, COOKIE_MAGIC_SIZE);
	SIVAL(out.data, 16, COOKIE_VERSION);
	memcpy(out.data + 20, c->cookie, sizeof(c->cookie));
	SCVAL(out.data, 36, c->durable_version);
	SCVAL(out.data, 37, c->is_pathref);
	SCVAL(out.data, COOKIE_KIND_OFFSET, c->kind);
	SCVAL(out.data, 39, app->given ? 1 + app->has_version : 0);
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
	rest = push_app_instance(out.data + COOKIE_HEADER_SIZE, app);
	memcpy(rest, c->stock.data, c->stock.length);
	*blob = out;
	return NT_STATUS_OK;
}

bool cookie_pull(const DATA_BLOB *blob, struct persistent_cookie *c)
{
	size_t header = COOKIE_HEADER_SIZE;

	if (blob->length < COOKIE_HEADER_SIZE ||
	    memcmp(blob->data, COOKIE_MAGIC, COOKIE_MAGIC_SIZE) != 0 ||
	    IVAL(blob->data, 16) != COOKIE_VERSION ||
	    CVAL(blob->data, COOKIE_KIND_OFFSET) >= ARRAY_SIZE(kind_names) ||
	    CVAL(blob->data, 39) > 2) {
		return false;
	}
	if (CVAL(blob->data, 39) != 0) {
		header += COOKIE_APP_INSTANCE_SIZE;
	}
	if (blob->length < header) {
		return false;
	}
	*c = (struct persistent_cookie) {
		.durable_version = CVAL(blob->data, 36),
		.is_pathref = CVAL(blob->data, 37) != 0,
		.kind = CVAL(blob->data, COOKIE_KIND_OFFSET),
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
		.stock = data_blob_const(blob->data + header,
					 blob->length - header),
	};
	memcpy(c->cookie, blob->data + 20, sizeof(c->cookie));
	pull_app_instance(blob->data + COOKIE_HEADER_SIZE,
			  CVAL(blob->data, 39), &c->app_instance);
	return true;
}

void cookie_change_kind(const DATA_BLOB *blob, enum persistent_kind kind)
{
	SCVAL(blob->data, COOKIE_KIND_OFFSET, kind);
}
