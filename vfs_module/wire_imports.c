/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire_imports.h"

#include <stdlib.h>
#include <string.h>

struct reader {
	const msgpack_object *map;
	msgpack_zone *zone;
	bool ok;
};

static const msgpack_object *field(struct reader *r, const char *key,
				   msgpack_object_type type)
{
	size_t len = strlen(key);
	uint32_t i = 0;

	for (i = 0; i < r->map->via.map.size; i++) {
		const msgpack_object_kv *kv = &r->map->via.map.ptr[i];

		if (kv->key.type == MSGPACK_OBJECT_STR &&
		    kv->key.via.str.size == len &&
		    memcmp(kv->key.via.str.ptr, key, len) == 0 &&
		    kv->val.type == type) {
			return &kv->val;
		}
	}
	r->ok = false;
	return NULL;
}

static uint64_t u64(struct reader *r, const char *key, uint64_t max)
{
	const msgpack_object *o =
		field(r, key, MSGPACK_OBJECT_POSITIVE_INTEGER);

	if (o == NULL || o->via.u64 > max) {
		r->ok = false;
		return 0;
	}
	return o->via.u64;
}

static uint32_t u32(struct reader *r, const char *key)
{
	return u64(r, key, UINT32_MAX);
}

static bool boolean(struct reader *r, const char *key)
{
	const msgpack_object *o = field(r, key, MSGPACK_OBJECT_BOOLEAN);

	return o != NULL && o->via.boolean;
}

/* With the zero byte behind it that msgpack does not have. */
static const char *string(struct reader *r, const char *from, uint32_t size)
{
	char *s = msgpack_zone_malloc(r->zone, (size_t)size + 1);

	if (s == NULL || memchr(from, 0, size) != NULL) {
		r->ok = false;
		return "";
	}
	memcpy(s, from, size);
	s[size] = 0;
	return s;
}

static const char *text(struct reader *r, const char *key)
{
	const msgpack_object *o = field(r, key, MSGPACK_OBJECT_STR);

	return o != NULL ? string(r, o->via.str.ptr, o->via.str.size) : "";
}

static const char *path(struct reader *r, const char *key)
{
	const msgpack_object *o = field(r, key, MSGPACK_OBJECT_BIN);

	return o != NULL ? string(r, o->via.bin.ptr, o->via.bin.size) : "";
}

static const uint8_t *bin16(struct reader *r, const char *key)
{
	static const uint8_t none[16];
	const msgpack_object *o = field(r, key, MSGPACK_OBJECT_BIN);

	if (o == NULL || o->via.bin.size != sizeof(none)) {
		r->ok = false;
		return none;
	}
	return (const uint8_t *)o->via.bin.ptr;
}

static const uint8_t *bin16_or_nil(struct reader *r, const char *key)
{
	struct reader probe = *r;

	probe.ok = true;
	if (field(&probe, key, MSGPACK_OBJECT_NIL) != NULL) {
		return NULL;
	}
	return bin16(r, key);
}

static struct reader inside(const struct reader *r, const msgpack_object *map)
{
	static const msgpack_object empty = { .type = MSGPACK_OBJECT_MAP };
	bool is_map = map != NULL && map->type == MSGPACK_OBJECT_MAP;

	return (struct reader) {
		.map = is_map ? map : &empty,
		.zone = r->zone,
		.ok = is_map,
	};
}

static struct wire_server_id server_id(struct reader *r)
{
	struct reader in =
		inside(r, field(r, "serverId", MSGPACK_OBJECT_MAP));
	struct wire_server_id id = {
		.pid = u64(&in, "pid", UINT64_MAX),
		.task_id = u32(&in, "taskId"),
		.vnn = u32(&in, "vnn"),
		.unique_id = u64(&in, "uniqueId", UINT64_MAX),
	};

	r->ok &= in.ok;
	return id;
}

/* nil of a module that did not say. */
static const char *local_access(struct reader *r)
{
	struct reader probe = *r;
	const msgpack_object *o =
		field(&probe, "localAccess", MSGPACK_OBJECT_STR);

	return o != NULL ? string(r, o->via.str.ptr, o->via.str.size) : "";
}

/* The key is absent where the client knows the file's name. */
static const char *known_as(struct reader *r)
{
	struct reader probe = *r;

	if (field(&probe, "knownAs", MSGPACK_OBJECT_BIN) == NULL) {
		return NULL;
	}
	return path(r, "knownAs");
}

/* The key is absent unless the CREATE had an AppInstanceId. */
static struct wire_app_instance app_instance(struct reader *r)
{
	struct reader probe = *r;
	const msgpack_object *map =
		field(&probe, "appInstance", MSGPACK_OBJECT_MAP);
	struct wire_app_instance app = { .given = false };
	struct reader in = { .ok = false };
	struct reader version = { .ok = false };

	if (map == NULL) {
		return app;
	}
	in = inside(r, map);
	app.given = true;
	memcpy(app.id, bin16(&in, "id"), sizeof(app.id));
	probe = in;
	map = field(&probe, "version", MSGPACK_OBJECT_MAP);
	if (map != NULL) {
		version = inside(r, map);
		app.has_version = true;
		app.version_high = u64(&version, "high", UINT64_MAX);
		app.version_low = u64(&version, "low", UINT64_MAX);
		r->ok &= version.ok;
	}
	r->ok &= in.ok;
	return app;
}

static bool read_record(const struct reader *outer, const msgpack_object *map,
			struct wire_record *record)
{
	struct reader r = inside(outer, map);

	*record = (struct wire_record) {
		.cookie = bin16(&r, "cookie"),
		.kind = text(&r, "kind"),
		.durable_version = u32(&r, "durableVersion"),
		.share = text(&r, "share"),
		.connect_path = path(&r, "connectPath"),
		.path = path(&r, "path"),
		.user = text(&r, "user"),
		.owner_sid = text(&r, "ownerSid"),
		.uid = u32(&r, "uid"),
		.client_address = text(&r, "clientAddress"),
		.client_name = text(&r, "clientName"),
		.client_guid = bin16(&r, "clientGuid"),
		.create_guid = bin16(&r, "createGuid"),
		.lease_key = bin16_or_nil(&r, "leaseKey"),
		.oplock = u32(&r, "oplock"),
		.lease_state = u32(&r, "leaseState"),
		.lease_version = u32(&r, "leaseVersion"),
		.lease_epoch = u32(&r, "leaseEpoch"),
		.persistent_id = u64(&r, "persistentId", UINT64_MAX),
		.share_file_id = u64(&r, "shareFileId", UINT64_MAX),
		.access_mask = u32(&r, "accessMask"),
		.share_access = u32(&r, "shareAccess"),
		.create_options = u32(&r, "createOptions"),
		.opened_realtime_ns = u64(&r, "openedRealtimeNs", UINT64_MAX),
		.timeout_ms = u32(&r, "timeoutMs"),
		.server_id = server_id(&r),
		.dev = u64(&r, "dev", UINT64_MAX),
		.ino = u64(&r, "ino", UINT64_MAX),
		.records_epoch = bin16(&r, "recordsEpoch"),
		.local_access = local_access(&r),
		.known_as = known_as(&r),
		.app_instance = app_instance(&r),
	};
	return r.ok;
}

static bool read_locks(struct reader *r, struct wire_import *import)
{
	const msgpack_object *list = field(r, "locks", MSGPACK_OBJECT_ARRAY);
	struct wire_lock *locks = NULL;
	uint32_t i = 0;

	if (list == NULL || list->via.array.size > WIRE_LOCKS_MAX) {
		return false;
	}
	locks = msgpack_zone_malloc(
		r->zone, (list->via.array.size + 1) * sizeof(*locks));
	if (locks == NULL) {
		return false;
	}
	for (i = 0; i < list->via.array.size; i++) {
		struct reader in = inside(r, &list->via.array.ptr[i]);

		locks[i] = (struct wire_lock) {
			.start = u64(&in, "start", UINT64_MAX),
			.count = u64(&in, "count", UINT64_MAX),
			.exclusive = boolean(&in, "exclusive"),
		};
		if (!in.ok) {
			return false;
		}
	}
	import->locks = locks;
	import->num_locks = list->via.array.size;
	return true;
}

static bool read_import(const struct reader *outer, const msgpack_object *map,
			struct wire_import *import)
{
	struct reader r = inside(outer, map);

	import->disconnected_realtime_ns =
		u64(&r, "disconnectedRealtimeNs", UINT64_MAX);
	import->protected = boolean(&r, "protected");
	import->level_lost = boolean(&r, "levelLost");
	return read_record(&r, field(&r, "record", MSGPACK_OBJECT_MAP),
			   &import->record) &&
	       read_locks(&r, import) && r.ok;
}

static bool read_imports(struct wire_imports *imports)
{
	const msgpack_object *message = &imports->message.data;
	struct reader outer = { .zone = imports->message.zone };
	struct reader r = { .zone = NULL };
	const msgpack_object *list = NULL;
	size_t i = 0;

	if (message->type != MSGPACK_OBJECT_ARRAY ||
	    message->via.array.size != 4) {
		return false;
	}
	r = inside(&outer, &message->via.array.ptr[3]);
	imports->more = boolean(&r, "more");
	list = field(&r, "handles", MSGPACK_OBJECT_ARRAY);
	if (!r.ok || list->via.array.size > WIRE_IMPORTS_MAX) {
		return false;
	}
	for (i = 0; i < list->via.array.size; i++) {
		if (!read_import(&r, &list->via.array.ptr[i],
				 &imports->handles[i])) {
			return false;
		}
	}
	imports->count = list->via.array.size;
	return true;
}

struct wire_imports *wire_imports_parse(const void *data, size_t len)
{
	struct wire_imports *imports = calloc(1, sizeof(*imports));
	size_t offset = 0;

	if (imports == NULL) {
		return NULL;
	}
	msgpack_unpacked_init(&imports->message);
	/* what was unpacked points into the message */
	imports->data = malloc(len);
	if (imports->data == NULL) {
		wire_imports_free(imports);
		return NULL;
	}
	memcpy(imports->data, data, len);
	if (msgpack_unpack_next(&imports->message, imports->data, len,
				&offset) != MSGPACK_UNPACK_SUCCESS ||
	    !read_imports(imports)) {
		wire_imports_free(imports);
		return NULL;
	}
	return imports;
}

void wire_imports_free(struct wire_imports *imports)
{
	if (imports != NULL) {
		msgpack_unpacked_destroy(&imports->message);
		free(imports->data);
		free(imports);
	}
}
