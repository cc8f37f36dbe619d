/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire.h"
#include "wire_imports.h"

#include <string.h>

static void pack_str(msgpack_packer *pk, const char *s)
{
	size_t len = strlen(s);

	msgpack_pack_str(pk, len);
	msgpack_pack_str_body(pk, s, len);
}

static void pack_bin(msgpack_packer *pk, const void *data, size_t len)
{
	msgpack_pack_bin(pk, len);
	msgpack_pack_bin_body(pk, data, len);
}

static void pack_path(msgpack_packer *pk, const char *key, const char *path)
{
	pack_str(pk, key);
	pack_bin(pk, path, strlen(path));
}

static void pack_cookie(msgpack_packer *pk, const uint8_t *cookie)
{
	pack_str(pk, "cookie");
	pack_bin(pk, cookie, WIRE_COOKIE_SIZE);
}

static void pack_u64(msgpack_packer *pk, const char *key, uint64_t value)
{
	pack_str(pk, key);
	msgpack_pack_uint64(pk, value);
}

static void pack_i64(msgpack_packer *pk, const char *key, int64_t value)
{
	pack_str(pk, key);
	msgpack_pack_int64(pk, value);
}

static void pack_text(msgpack_packer *pk, const char *key, const char *value)
{
	pack_str(pk, key);
	pack_str(pk, value);
}

static void pack_bool(msgpack_packer *pk, const char *key, bool value)
{
	pack_str(pk, key);
	if (value) {
		msgpack_pack_true(pk);
	} else {
		msgpack_pack_false(pk);
	}
}

static void pack_bin16_or_nil(msgpack_packer *pk, const char *key,
			      const uint8_t *value)
{
	pack_str(pk, key);
	if (value != NULL) {
		pack_bin(pk, value, 16);
	} else {
		msgpack_pack_nil(pk);
	}
}

static void pack_server_id(msgpack_packer *pk, const struct wire_server_id *id)
{
	pack_str(pk, "serverId");
	msgpack_pack_map(pk, 4);
	pack_u64(pk, "pid", id->pid);
	pack_u64(pk, "taskId", id->task_id);
	pack_u64(pk, "vnn", id->vnn);
	pack_u64(pk, "uniqueId", id->unique_id);
}

static void pack_stat(msgpack_packer *pk, const struct wire_stat *st)
{
	pack_str(pk, "stat");
	msgpack_pack_map(pk, 6);
	pack_u64(pk, "dev", st->dev);
	pack_u64(pk, "ino", st->ino);
	pack_u64(pk, "nlink", st->nlink);
	pack_u64(pk, "sizeBytes", st->size_bytes);
	pack_i64(pk, "mtimeNs", st->mtime_ns);
	pack_i64(pk, "ctimeNs", st->ctime_ns);
}

static void pack_app_instance(msgpack_packer *pk,
			      const struct wire_app_instance *app)
{
	pack_str(pk, "appInstance");
	msgpack_pack_map(pk, 2);
	pack_str(pk, "id");
	pack_bin(pk, app->id, WIRE_GUID_SIZE);
	pack_str(pk, "version");
	if (app->has_version) {
		msgpack_pack_map(pk, 2);
		pack_u64(pk, "high", app->version_high);
		pack_u64(pk, "low", app->version_low);
	} else {
		msgpack_pack_nil(pk);
	}
}

void wire_pack_record(msgpack_packer *pk, const struct wire_record *r)
{
	msgpack_pack_map(pk, 30 + (r->known_as != NULL) +
				 r->app_instance.given +
				 r->survives_host + r->posix_locking);
	pack_cookie(pk, r->cookie);
	pack_text(pk, "kind", r->kind);
	pack_u64(pk, "durableVersion", r->durable_version);
	pack_text(pk, "share", r->share);
	pack_path(pk, "connectPath", r->connect_path);
	pack_path(pk, "path", r->path);
	pack_text(pk, "user", r->user);
	pack_text(pk, "ownerSid", r->owner_sid);
	pack_u64(pk, "uid", r->uid);
	pack_text(pk, "clientAddress", r->client_address);
	pack_text(pk, "clientName", r->client_name);
	pack_str(pk, "clientGuid");
	pack_bin(pk, r->client_guid, WIRE_GUID_SIZE);
	pack_str(pk, "createGuid");
	pack_bin(pk, r->create_guid, WIRE_GUID_SIZE);
	pack_bin16_or_nil(pk, "leaseKey", r->lease_key);
	pack_u64(pk, "oplock", r->oplock);
	pack_u64(pk, "leaseState", r->lease_state);
	pack_u64(pk, "leaseVersion", r->lease_version);
	pack_u64(pk, "leaseEpoch", r->lease_epoch);
	pack_u64(pk, "persistentId", r->persistent_id);
	pack_u64(pk, "shareFileId", r->share_file_id);
	pack_u64(pk, "accessMask", r->access_mask);
	pack_u64(pk, "shareAccess", r->share_access);
	pack_u64(pk, "createOptions", r->create_options);
	pack_u64(pk, "openedRealtimeNs", r->opened_realtime_ns);
	pack_u64(pk, "timeoutMs", r->timeout_ms);
	pack_server_id(pk, &r->server_id);
	pack_u64(pk, "dev", r->dev);
	pack_u64(pk, "ino", r->ino);
	pack_str(pk, "recordsEpoch");
	pack_bin(pk, r->records_epoch, WIRE_GUID_SIZE);
	pack_text(pk, "localAccess", r->local_access);
	if (r->known_as != NULL) {
		pack_path(pk, "knownAs", r->known_as);
	}
	if (r->app_instance.given) {
		pack_app_instance(pk, &r->app_instance);
	}
	if (r->survives_host) {
		pack_text(pk, "durability", "host");
	}
	if (r->posix_locking) {
		pack_bool(pk, "posixLocking", true);
	}
}

static void event_begin(msgpack_packer *pk, msgpack_sbuffer *out,
			const char *type)
{
	msgpack_packer_init(pk, out, msgpack_sbuffer_write);
	msgpack_pack_array(pk, 2);
	pack_str(pk, type);
}

void wire_event_record(msgpack_sbuffer *out, const char *type,
		       const msgpack_sbuffer *record_body)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, type);
	msgpack_sbuffer_write(out, record_body->data, record_body->size);
}

static void pack_note(msgpack_packer *pk, const void *note, size_t length)
{
	if (length > 0) {
		pack_str(pk, "note");
		pack_bin(pk, note, length);
	}
}

void wire_event_lock(msgpack_sbuffer *out, const uint8_t *cookie,
		     uint64_t start, uint64_t count, bool exclusive,
		     const void *note, size_t note_length)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "lock");
	msgpack_pack_map(&pk, 4 + (note_length > 0));
	pack_cookie(&pk, cookie);
	pack_u64(&pk, "start", start);
	pack_u64(&pk, "count", count);
	pack_bool(&pk, "exclusive", exclusive);
	pack_note(&pk, note, note_length);
}

void wire_event_unlock(msgpack_sbuffer *out, const uint8_t *cookie,
		       uint64_t start, uint64_t count,
		       const void *note, size_t note_length)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "unlock");
	msgpack_pack_map(&pk, 3 + (note_length > 0));
	pack_cookie(&pk, cookie);
	pack_u64(&pk, "start", start);
	pack_u64(&pk, "count", count);
	pack_note(&pk, note, note_length);
}

void wire_event_disconnect(msgpack_sbuffer *out, const uint8_t *cookie,
			   const struct wire_stat *st, const char *path,
			   uint64_t monotonic_ns, uint64_t realtime_ns)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "disconnect");
	msgpack_pack_map(&pk, 5);
	pack_cookie(&pk, cookie);
	pack_stat(&pk, st);
	pack_path(&pk, "path", path);
	pack_u64(&pk, "monotonicNs", monotonic_ns);
	pack_u64(&pk, "realtimeNs", realtime_ns);
}

void wire_event_resume_failed(msgpack_sbuffer *out, const uint8_t *cookie,
			      const char *reason, bool final)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "resumeFailed");
	msgpack_pack_map(&pk, 3);
	pack_cookie(&pk, cookie);
	pack_text(&pk, "reason", reason);
	pack_bool(&pk, "final", final);
}

void wire_event_close(msgpack_sbuffer *out, const uint8_t *cookie,
		      const char *reason)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "close");
	msgpack_pack_map(&pk, 2);
	pack_cookie(&pk, cookie);
	pack_text(&pk, "reason", reason);
}

void wire_event_imported(msgpack_sbuffer *out, const uint8_t *cookie,
			 const uint8_t *records_epoch)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "imported");
	msgpack_pack_map(&pk, 2);
	pack_cookie(&pk, cookie);
	pack_str(&pk, "recordsEpoch");
	pack_bin(&pk, records_epoch, WIRE_GUID_SIZE);
}

void wire_event_import_failed(msgpack_sbuffer *out, const uint8_t *cookie,
			      const char *reason)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "importFailed");
	msgpack_pack_map(&pk, 2);
	pack_cookie(&pk, cookie);
	pack_text(&pk, "reason", reason);
}

void wire_event_rename(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
		       bool is_directory, const char *from, const char *to)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "rename");
	msgpack_pack_map(&pk, 5);
	pack_u64(&pk, "dev", dev);
	pack_u64(&pk, "ino", ino);
	pack_bool(&pk, "isDirectory", is_directory);
	pack_path(&pk, "from", from);
	pack_path(&pk, "to", to);
}

void wire_event_conflict(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
			 const char *client_address, const char *status)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "conflict");
	msgpack_pack_map(&pk, 4);
	pack_u64(&pk, "dev", dev);
	pack_u64(&pk, "ino", ino);
	pack_text(&pk, "clientAddress", client_address);
	pack_text(&pk, "status", status);
}

void wire_event_unlink(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
		       const char *path)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "unlink");
	msgpack_pack_map(&pk, 3);
	pack_u64(&pk, "dev", dev);
	pack_u64(&pk, "ino", ino);
	pack_path(&pk, "path", path);
}

void wire_event_write_time(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
			   int64_t from_ns, int64_t to_ns)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "writeTime");
	msgpack_pack_map(&pk, 4);
	pack_u64(&pk, "dev", dev);
	pack_u64(&pk, "ino", ino);
	pack_i64(&pk, "fromNs", from_ns);
	pack_i64(&pk, "toNs", to_ns);
}

void wire_event_unsafe(msgpack_sbuffer *out, uint64_t dev, uint64_t ino,
		       const char *client_address, uint64_t allowed,
		       uint64_t refused)
{
	msgpack_packer pk = { 0 };

	event_begin(&pk, out, "unsafe");
	msgpack_pack_map(&pk, 5);
	pack_u64(&pk, "dev", dev);
	pack_u64(&pk, "ino", ino);
	pack_str(&pk, "clientAddress");
	pack_str(&pk, client_address);
	pack_u64(&pk, "allowed", allowed);
	pack_u64(&pk, "refused", refused);
}

void wire_event_sync(msgpack_sbuffer *out, const uint8_t *cookies,
		     size_t count)
{
	msgpack_packer pk = { 0 };
	size_t i = 0;

	event_begin(&pk, out, "sync");
	msgpack_pack_map(&pk, 1);
	pack_str(&pk, "cookies");
	msgpack_pack_array(&pk, count);
	for (i = 0; i < count; i++) {
		pack_bin(&pk, cookies + i * WIRE_COOKIE_SIZE,
			 WIRE_COOKIE_SIZE);
	}
}

static void message_begin(msgpack_packer *pk, msgpack_sbuffer *out,
			  const char *type, uint64_t seq)
{
	msgpack_packer_init(pk, out, msgpack_sbuffer_write);
	msgpack_pack_array(pk, 4);
	msgpack_pack_uint64(pk, WIRE_VERSION);
	pack_str(pk, type);
	msgpack_pack_uint64(pk, seq);
}

void wire_pack_hello(msgpack_sbuffer *out, uint64_t seq,
		     const struct wire_server_id *id,
		     const char *module_version, const char *samba_version)
{
	msgpack_packer pk = { 0 };

	message_begin(&pk, out, "hello", seq);
	msgpack_pack_map(&pk, 3);
	pack_server_id(&pk, id);
	pack_text(&pk, "moduleVersion", module_version);
	pack_text(&pk, "sambaVersion", samba_version);
}

void wire_pack_events(msgpack_sbuffer *out, uint64_t seq,
		      const struct wire_server_id *id,
		      const char *events, size_t events_len,
		      size_t num_events)
{
	msgpack_packer pk = { 0 };

	message_begin(&pk, out, "events", seq);
	msgpack_pack_map(&pk, 2);
	pack_server_id(&pk, id);
	pack_str(&pk, "events");
	msgpack_pack_array(&pk, num_events);
	msgpack_sbuffer_write(out, events, events_len);
}

void wire_pack_claim(msgpack_sbuffer *out, uint64_t seq,
		     const uint8_t *cookie, const struct wire_server_id *id,
		     const char *share, const uint8_t *client_guid,
		     const struct wire_stat *st, uint64_t now_monotonic_ns)
{
	msgpack_packer pk = { 0 };

	message_begin(&pk, out, "claim", seq);
	msgpack_pack_map(&pk, 6);
	pack_cookie(&pk, cookie);
	pack_server_id(&pk, id);
	pack_text(&pk, "share", share);
	pack_str(&pk, "clientGuid");
	pack_bin(&pk, client_guid, WIRE_GUID_SIZE);
	pack_stat(&pk, st);
	pack_u64(&pk, "now", now_monotonic_ns);
}

void wire_pack_arrive(msgpack_sbuffer *out, uint64_t seq,
		      const struct wire_server_id *id,
		      const char *client_address, const uint8_t *client_guid,
		      const uint8_t *lease_key, const uint8_t *create_guid,
		      uint64_t dev, uint64_t ino)
{
	msgpack_packer pk = { 0 };

	message_begin(&pk, out, "arrive", seq);
	msgpack_pack_map(&pk, 7);
	pack_server_id(&pk, id);
	pack_text(&pk, "clientAddress", client_address);
	pack_str(&pk, "clientGuid");
	pack_bin(&pk, client_guid, WIRE_GUID_SIZE);
	pack_bin16_or_nil(&pk, "leaseKey", lease_key);
	pack_bin16_or_nil(&pk, "createGuid", create_guid);
	pack_u64(&pk, "dev", dev);
	pack_u64(&pk, "ino", ino);
}

void wire_pack_contend(msgpack_sbuffer *out, uint64_t seq,
		       const struct wire_server_id *id,
		       const char *client_address, uint64_t dev, uint64_t ino,
		       uint32_t access_mask,
		       const uint32_t *alive, size_t num_alive)
{
	msgpack_packer pk = { 0 };
	size_t i = 0;

	message_begin(&pk, out, "contend", seq);
	msgpack_pack_map(&pk, 6);
	pack_server_id(&pk, id);
	pack_text(&pk, "clientAddress", client_address);
	pack_u64(&pk, "dev", dev);
	pack_u64(&pk, "ino", ino);
	pack_u64(&pk, "accessMask", access_mask);
	pack_str(&pk, "alive");
	msgpack_pack_array(&pk, num_alive);
	for (i = 0; i < num_alive; i++) {
		msgpack_pack_uint32(&pk, alive[i]);
	}
}

void wire_pack_import(msgpack_sbuffer *out, uint64_t seq,
		      const struct wire_server_id *id,
		      const uint8_t *records_epoch, const uint8_t *client_guid,
		      const char *share, uint64_t dev, uint64_t ino,
		      uint64_t round)
{
	msgpack_packer pk = { 0 };

	message_begin(&pk, out, "import", seq);
	msgpack_pack_map(&pk, 7);
	pack_server_id(&pk, id);
	pack_str(&pk, "recordsEpoch");
	pack_bin(&pk, records_epoch, WIRE_GUID_SIZE);
	pack_str(&pk, "clientGuid");
	pack_bin(&pk, client_guid, WIRE_GUID_SIZE);
	pack_str(&pk, "share");
	if (share != NULL) {
		pack_str(&pk, share);
	} else {
		msgpack_pack_nil(&pk);
	}
	pack_u64(&pk, "dev", dev);
	pack_u64(&pk, "ino", ino);
	pack_u64(&pk, "round", round);
}

void wire_pack_takeover(msgpack_sbuffer *out, uint64_t seq,
			const struct wire_server_id *id,
			const struct wire_takeover *t)
{
	msgpack_packer pk = { 0 };

	message_begin(&pk, out, "takeover", seq);
	msgpack_pack_map(&pk, 9);
	pack_server_id(&pk, id);
	pack_text(&pk, "clientAddress", t->client_address);
	pack_str(&pk, "clientGuid");
	pack_bin(&pk, t->client_guid, WIRE_GUID_SIZE);
	pack_text(&pk, "share", t->share);
	pack_u64(&pk, "dev", t->dev);
	pack_u64(&pk, "ino", t->ino);
	pack_app_instance(&pk, t->app_instance);
	pack_bool(&pk, "mayClose", t->may_close);
	pack_u64(&pk, "waitMs", t->wait_ms);
}

static bool is_str(const msgpack_object *o, const char *s)
{
	return o->type == MSGPACK_OBJECT_STR &&
	       o->via.str.size == strlen(s) &&
	       memcmp(o->via.str.ptr, s, o->via.str.size) == 0;
}

static const msgpack_object *map_get(const msgpack_object *map,
				     const char *key)
{
	uint32_t i = 0;

	for (i = 0; i < map->via.map.size; i++) {
		if (is_str(&map->via.map.ptr[i].key, key)) {
			return &map->via.map.ptr[i].val;
		}
	}
	return NULL;
}

static bool map_u64(const msgpack_object *map, const char *key, uint64_t *out)
{
	const msgpack_object *o = map_get(map, key);

	if (o == NULL || o->type != MSGPACK_OBJECT_POSITIVE_INTEGER) {
		return false;
	}
	*out = o->via.u64;
	return true;
}

static bool map_bool(const msgpack_object *map, const char *key, bool *out)
{
	const msgpack_object *o = map_get(map, key);

	if (o == NULL || o->type != MSGPACK_OBJECT_BOOLEAN) {
		return false;
	}
	*out = o->via.boolean;
	return true;
}

static bool parse_server_id(const msgpack_object *o, struct wire_server_id *id)
{
	uint64_t task_id = 0;
	uint64_t vnn = 0;

	if (o->type != MSGPACK_OBJECT_MAP ||
	    !map_u64(o, "pid", &id->pid) ||
	    !map_u64(o, "taskId", &task_id) || task_id > UINT32_MAX ||
	    !map_u64(o, "vnn", &vnn) || vnn > UINT32_MAX ||
	    !map_u64(o, "uniqueId", &id->unique_id)) {
		return false;
	}
	id->task_id = task_id;
	id->vnn = vnn;
	return true;
}

static bool parse_verdict(const msgpack_object *body, struct wire_verdict *v)
{
	const msgpack_object *o = map_get(body, "verdict");

	if (o == NULL) {
		return false;
	}
	if (is_str(o, "resume")) {
		v->kind = WIRE_VERDICT_RESUME;
		return map_bool(body, "levelLost", &v->level_lost);
	}
	if (!is_str(o, "refuse")) {
		return false;
	}
	v->kind = WIRE_VERDICT_REFUSE;

	o = map_get(body, "reason");
	if (o == NULL || o->type != MSGPACK_OBJECT_STR ||
	    o->via.str.size >= sizeof(v->reason)) {
		return false;
	}
	memcpy(v->reason, o->via.str.ptr, o->via.str.size);

	if (!map_bool(body, "final", &v->final)) {
		return false;
	}

	o = map_get(body, "serverId");
	if (o != NULL && o->type != MSGPACK_OBJECT_NIL) {
		v->have_holder = parse_server_id(o, &v->holder);
		return v->have_holder;
	}
	return true;
}

static bool parse_ended(const msgpack_object *body, struct wire_reply *r)
{
	const msgpack_object *ended = map_get(body, "ended");
	uint32_t i = 0;

	if (ended == NULL || ended->type != MSGPACK_OBJECT_ARRAY ||
	    ended->via.array.size > WIRE_ENDED_MAX) {
		return false;
	}
	for (i = 0; i < ended->via.array.size; i++) {
		const msgpack_object *o = &ended->via.array.ptr[i];

		if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
		    o->via.u64 > UINT32_MAX) {
			return false;
		}
		r->ended[i] = o->via.u64;
	}
	r->num_ended = ended->via.array.size;
	return true;
}

static bool parse_holder(const msgpack_object *o, struct wire_holder *h)
{
	const msgpack_object *cookie = NULL;
	const msgpack_object *id = NULL;

	if (o->type != MSGPACK_OBJECT_MAP) {
		return false;
	}
	cookie = map_get(o, "cookie");
	id = map_get(o, "serverId");
	if (cookie == NULL || cookie->type != MSGPACK_OBJECT_BIN ||
	    cookie->via.bin.size != WIRE_COOKIE_SIZE ||
	    id == NULL || !parse_server_id(id, &h->server_id)) {
		return false;
	}
	memcpy(h->cookie, cookie->via.bin.ptr, WIRE_COOKIE_SIZE);
	return true;
}

static bool parse_taken_over(const msgpack_object *body, struct wire_reply *r)
{
	const msgpack_object *holders = map_get(body, "holders");
	uint32_t i = 0;

	if (!map_bool(body, "refused", &r->refused) ||
	    !parse_ended(body, r) || holders == NULL ||
	    holders->type != MSGPACK_OBJECT_ARRAY ||
	    holders->via.array.size > WIRE_HOLDERS_MAX) {
		return false;
	}
	for (i = 0; i < holders->via.array.size; i++) {
		if (!parse_holder(&holders->via.array.ptr[i],
				  &r->holders[i])) {
			return false;
		}
	}
	r->num_holders = holders->via.array.size;
	return true;
}

static bool parse_message(const msgpack_object *o, struct wire_reply *reply)
{
	const msgpack_object *f = o->via.array.ptr;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 4 ||
	    f[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
	    f[0].via.u64 != WIRE_VERSION ||
	    f[2].type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
	    f[3].type != MSGPACK_OBJECT_MAP) {
		return false;
	}
	reply->seq = f[2].via.u64;

	if (is_str(&f[1], "ack")) {
		reply->type = WIRE_REPLY_ACK;
		return map_get(&f[3], "flushed") == NULL ||
		       map_bool(&f[3], "flushed", &reply->flushed);
	}
	if (is_str(&f[1], "flushing")) {
		reply->type = WIRE_REPLY_FLUSHING;
		return true;
	}
	if (is_str(&f[1], "welcome")) {
		reply->type = WIRE_REPLY_WELCOME;
		return true;
	}
	if (is_str(&f[1], "arrived")) {
		reply->type = WIRE_REPLY_ARRIVED;
		return parse_ended(&f[3], reply);
	}
	if (is_str(&f[1], "contended")) {
		reply->type = WIRE_REPLY_CONTENDED;
		return true;
	}
	if (is_str(&f[1], "takenOver")) {
		reply->type = WIRE_REPLY_TAKEN_OVER;
		return parse_taken_over(&f[3], reply);
	}
	if (is_str(&f[1], "error")) {
		reply->type = WIRE_REPLY_ERROR;
		return true;
	}
	if (is_str(&f[1], "imports")) {
		/* what it holds is read by wire_imports_parse() */
		reply->type = WIRE_REPLY_IMPORTS;
		return true;
	}
	if (is_str(&f[1], "verdict")) {
		reply->type = WIRE_REPLY_VERDICT;
		return parse_verdict(&f[3], &reply->verdict);
	}
	return false;
}

bool wire_parse_reply(const void *data, size_t len, struct wire_reply *reply)
{
	msgpack_unpacked msg = { 0 };
	size_t offset = 0;
	bool ok = false;

	*reply = (struct wire_reply) { 0 };
	if (len == 0 || len > WIRE_MESSAGE_MAX) {
		return false;
	}

	msgpack_unpacked_init(&msg);
	ok = msgpack_unpack_next(&msg, data, len, &offset) ==
	     MSGPACK_UNPACK_SUCCESS;
	ok = ok && offset == len && parse_message(&msg.data, reply);
	msgpack_unpacked_destroy(&msg);
	if (ok && reply->type == WIRE_REPLY_IMPORTS) {
		reply->imports = wire_imports_parse(data, len);
		ok = reply->imports != NULL;
	}
	return ok;
}

void wire_reply_free(struct wire_reply *reply)
{
	wire_imports_free(reply->imports);
	reply->imports = NULL;
}
