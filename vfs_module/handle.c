/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "clock.h"
#include "descriptors.h"
#include "durability.h"
#include "fault.h"
#include "handle.h"
#include "lost_connection.h"
#include "open_name.h"
#include "persistd.h"
#include "strength.h"
#include "timeouts.h"

#include <sys/random.h>

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#define SECURE_BUDGET_NS (200 * CLOCK_NS_PER_MS)
#define APP_INSTANCE_HURRY_MS 50

/* All of this smbd child, for the times when persistd or the keeper is new. */
static struct persistent_handle *handles;

struct persistent_handle *handle_of(struct vfs_handle_struct *vfs,
				    const struct files_struct *fsp)
{
	if (fsp == NULL || fsp->vfs_extension == NULL) {
		return NULL;
	}
	return VFS_FETCH_FSP_EXTENSION(vfs, fsp);
}

struct persistent_handle *handle_find(const uint8_t *cookie)
{
	struct persistent_handle *h = handles;

	while (h != NULL &&
	       memcmp(h->cookie.cookie, cookie, WIRE_COOKIE_SIZE) != 0) {
		h = h->next;
	}
	return h;
}

bool handles_exist(void)
{
	return handles != NULL;
}

bool handle_is_kept(const struct persistent_handle *h)
{
	/* one that comes back is still parked until it is announced */
	return h->deposited || h->state == HANDLE_RESUMED;
}

NTSTATUS handle_stock_cookie(struct vfs_handle_struct *vfs,
			     struct files_struct *fsp, TALLOC_CTX *mem_ctx,
			     DATA_BLOB *cookie)
{
	int locks = fsp->current_lock_count;
	NTSTATUS status;

	/* stock has none for a handle with mirrored locks */
	fsp->current_lock_count = 0;
	*cookie = data_blob_null;
	status = SMB_VFS_NEXT_DURABLE_COOKIE(vfs, fsp, mem_ctx, cookie);
	fsp->current_lock_count = locks;
	return status;
}

void handle_put_known_name(const struct persistent_handle *h,
			   TALLOC_CTX *mem_ctx, DATA_BLOB *stock)
{
	const char *name = handle_known_name(h);

	if (name != NULL && !open_name_put(mem_ctx, name, stock)) {
		DBG_WARNING("%s: its client may be refused, who knows it as "
			    "%s\n", fsp_str_dbg(h->fsp), name);
	}
}

static void handle_destroy(void *data)
{
	struct persistent_handle *h = data;

	TALLOC_FREE(h->true_name);
	TALLOC_FREE(h->known_as);
	TALLOC_FREE(h->renamed_to);
	DLIST_REMOVE(handles, h);
}

struct persistent_handle *handle_add(struct vfs_handle_struct *vfs,
				     struct files_struct *fsp,
				     uint8_t durable_version)
{
	struct persistent_handle *h = VFS_ADD_FSP_EXTENSION(
		vfs, fsp, struct persistent_handle, handle_destroy);

	if (h == NULL) {
		return NULL;
	}
	h->fsp = fsp;
	h->state = HANDLE_ASKED;
	h->cookie.durable_version = durable_version;
	if (getrandom(h->cookie.cookie, sizeof(h->cookie.cookie), 0) !=
	    sizeof(h->cookie.cookie)) {
		generate_random_buffer(h->cookie.cookie,
				       sizeof(h->cookie.cookie));
	}
	DLIST_ADD(handles, h);
	lost_connection_watch(fsp->conn->sconn);
	return h;
}

void handle_remove(struct vfs_handle_struct *vfs, struct files_struct *fsp)
{
	VFS_REMOVE_FSP_EXTENSION(vfs, fsp);
}

char *handle_path(TALLOC_CTX *mem_ctx, const struct connection_struct *conn,
		  const char *base_name)
{
	if (base_name[0] == '/') {
		return talloc_strdup(mem_ctx, base_name);
	}
	return talloc_asprintf(mem_ctx, "%s/%s", conn->connectpath,
			       base_name);
}

struct wire_stat handle_wire_stat(const struct stat *st)
{
	return (struct wire_stat) {
		.dev = st->st_dev,
		.ino = st->st_ino,
		.nlink = st->st_nlink,
		.size_bytes = st->st_size,
		.mtime_ns = clock_timespec_ns(&st->st_mtim),
		.ctime_ns = clock_timespec_ns(&st->st_ctim),
	};
}

static void queue_record(struct persistent_handle *h, const char *type,
			 const msgpack_sbuffer *record)
{
	msgpack_sbuffer event = { 0 };

	msgpack_sbuffer_init(&event);
	wire_event_record(&event, type, record);
	link_queue_grant(h->cookie.cookie, &event);
}

static void deposit(struct persistent_handle *h, const msgpack_sbuffer *record)
{
	h->deposited = descriptors_deposit(h->cookie.cookie,
					   fsp_get_pathref_fd(h->fsp),
					   record->data, record->size);
}

static void announce_grant(struct persistent_handle *h,
			   const msgpack_sbuffer *record)
{
	fault_point("grant.before-deposit");
	if (descriptors_ready()) {
		deposit(h, record);
	}
	fault_point("grant.after-deposit");
	if (h->deposited) {
		queue_record(h, "grant", record);
	}
	fault_point("grant.after-event");
}

static void announce_resume(struct persistent_handle *h,
			    const msgpack_sbuffer *record)
{
	fault_point("resume.before-adopt");
	h->deposited = descriptors_adopt(h->cookie.cookie, record->data,
					 record->size);
	fault_point("resume.after-adopt");
	queue_record(h, "resumed", record);
	link_flush();
	fault_point("resume.after-event");
}

/*
 * Until now the fsp had the name that the client asked for, since the lease
 * check compares them (MS-SMB2 3.3.5.9.7); from now on it has its own.
 */
static void take_true_name(struct persistent_handle *h)
{
	if (h->true_name != NULL) {
		NTSTATUS status;

		h->known_as = talloc_strdup(NULL, h->fsp->fsp_name->base_name);
		h->renamed_to = talloc_strdup(NULL, h->true_name->base_name);
		h->true_name->st = h->fsp->fsp_name->st;
		status = fsp_set_smb_fname(h->fsp, h->true_name);
		if (!NT_STATUS_IS_OK(status)) {
			DBG_WARNING("%s keeps its old name: %s\n",
				    fsp_str_dbg(h->fsp), nt_errstr(status));
		}
		TALLOC_FREE(h->true_name);
	}
}

/*
 * A reconnect by DHnC made smbd forget the create GUID, and with it every
 * later reconnect by DH2C.
 */
static bool restore_create_guid(struct persistent_handle *h)
{
	struct smbXsrv_open_global0 *global = h->fsp->op->global;

	if (h->state != HANDLE_RESUMED || GUID_all_zero(&h->create_guid) ||
	    !GUID_all_zero(&global->create_guid)) {
		return false;
	}
	global->create_guid = h->create_guid;
	return true;
}

/* One of which not all is on disk in time outlives processes only. */
static void settle_durability(struct persistent_handle *h, int wait_ms)
{
	if (!h->survives_host || !h->deposited || durability_settle(wait_ms)) {
		return;
	}
	DBG_WARNING("%s would not outlive the host: persistd has not all of "
		    "it on disk\n", fsp_str_dbg(h->fsp));
	h->process_only = true;
	handle_tell_again(h);
}

/* Another node may come as soon as the CREATE is answered. */
static void hurry_app_instance(const struct persistent_handle *h)
{
	if (h->cookie.app_instance.given) {
		(void)link_settle(APP_INSTANCE_HURRY_MS);
	}
}

void handle_announce(struct persistent_handle *h)
{
	const bool is_new = h->state == HANDLE_GRANTED;
	msgpack_sbuffer record = { 0 };
	bool changed = false;

	take_true_name(h);
	changed = restore_create_guid(h);
	if (is_new) {
		changed |= timeouts_settle(h);
	}
	fault_point("grant.before-record");
	if (changed) {
		NTSTATUS status = smbXsrv_open_update(h->fsp->op);

		if (!NT_STATUS_IS_OK(status)) {
			DBG_ERR("cannot store the record of %s: %s\n",
				fsp_str_dbg(h->fsp), nt_errstr(status));
		}
	}

	msgpack_sbuffer_init(&record);
	if (handle_pack_record(h, &record)) {
		if (h->state == HANDLE_RESUMED) {
			announce_resume(h, &record);
		} else {
			announce_grant(h, &record);
		}
	}
	msgpack_sbuffer_destroy(&record);
	h->state = HANDLE_ANNOUNCED;
	if (is_new && h->cookie.kind == PERSISTENT_KIND_PERSISTENT) {
		strength_settle(h);
	} else {
		settle_durability(h, DURABILITY_WAIT_MS);
	}
	h->out_context_blobs = NULL;
	hurry_app_instance(h);
}

void handle_announce_plain(struct persistent_handle *h)
{
	if (h->cookie.app_instance.given && !h->plain) {
		h->plain = true;
		handle_tell_again(h);
		hurry_app_instance(h);
	}
}

bool handle_is_secure(const struct persistent_handle *h)
{
	uint64_t deadline_ns = clock_monotonic_ns() + SECURE_BUDGET_NS;
	struct stat st = { 0 };

	/* a refusal of the deposit would come before this answer */
	return h->deposited &&
	       fstat(fsp_get_pathref_fd(h->fsp), &st) == 0 &&
	       descriptors_settled(st.st_dev, st.st_ino, deadline_ns) &&
	       h->deposited &&
	       (h->survives_host ?
			durability_settle(clock_ms_until(deadline_ns)) :
			link_settle(clock_ms_until(deadline_ns)));
}

bool handle_secure(struct persistent_handle *h)
{
	msgpack_sbuffer record = { 0 };

	if (!descriptors_ready()) {
		return false;
	}
	msgpack_sbuffer_init(&record);
	if (handle_pack_record(h, &record)) {
		if (!h->deposited) {
			deposit(h, &record);
		}
		if (h->deposited) {
			queue_record(h, "grant", &record);
		}
	}
	msgpack_sbuffer_destroy(&record);
	fault_point("resilient.after-deposit");
	return handle_is_secure(h);
}

void handle_closed(struct persistent_handle *h, const char *reason)
{
	msgpack_sbuffer event = { 0 };

	if (handle_is_kept(h)) {
		fault_point("close.before-drop");
		(void)descriptors_drop(h->cookie.cookie);
	} else if (!h->plain) {
		return;
	}
	h->deposited = false;
	h->plain = false;
	fault_point("close.after-drop");
	if (link_unqueue_grant(h->cookie.cookie)) {
		return;
	}
	msgpack_sbuffer_init(&event);
	wire_event_close(&event, h->cookie.cookie, reason);
	link_queue(h->cookie.cookie, &event);
	fault_point("close.after-event");
}

void handle_locked(struct persistent_handle *h, const struct lock_struct *l,
		   const struct descriptors_note *note)
{
	msgpack_sbuffer event = { 0 };

	fault_point("lock.before-event");
	if (h->deposited) {
		msgpack_sbuffer_init(&event);
		wire_event_lock(&event, h->cookie.cookie, l->start, l->size,
				l->lock_type == WRITE_LOCK, note->data,
				note->length);
		link_queue(h->cookie.cookie, &event);
		settle_durability(h, DURABILITY_LOCK_WAIT_MS);
	}
	fault_point("lock.after-event");
}

void handle_unlocked(struct persistent_handle *h, const struct lock_struct *l,
		     const struct descriptors_note *note)
{
	msgpack_sbuffer event = { 0 };

	fault_point("unlock.before-event");
	if (h->deposited) {
		msgpack_sbuffer_init(&event);
		wire_event_unlock(&event, h->cookie.cookie, l->start, l->size,
				  note->data, note->length);
		link_queue(h->cookie.cookie, &event);
		settle_durability(h, DURABILITY_LOCK_WAIT_MS);
	}
	fault_point("unlock.after-event");
}

void handle_tell_again(struct persistent_handle *h)
{
	msgpack_sbuffer record = { 0 };

	msgpack_sbuffer_init(&record);
	if (handle_pack_record(h, &record)) {
		queue_record(h, "grant", &record);
	}
	msgpack_sbuffer_destroy(&record);
}

void handle_changed(struct persistent_handle *h)
{
	msgpack_sbuffer record = { 0 };

	msgpack_sbuffer_init(&record);
	if (h->deposited && handle_pack_record(h, &record)) {
		(void)descriptors_adopt(h->cookie.cookie, record.data,
					record.size);
		queue_record(h, "grant", &record);
	}
	msgpack_sbuffer_destroy(&record);
}

void handles_resync(void)
{
	struct persistent_handle *h = NULL;
	msgpack_sbuffer event = { 0 };
	uint8_t *cookies = NULL;
	size_t count = 0;

	for (h = handles; h != NULL; h = h->next) {
		count += h->deposited || h->plain;
	}
	cookies = talloc_size(talloc_tos(), count * WIRE_COOKIE_SIZE + 1);
	if (cookies == NULL) {
		return;
	}
	count = 0;
	for (h = handles; h != NULL; h = h->next) {
		if (h->deposited || h->plain) {
			handle_tell_again(h);
			memcpy(cookies + count * WIRE_COOKIE_SIZE,
			       h->cookie.cookie, WIRE_COOKIE_SIZE);
			count += 1;
		}
	}
	msgpack_sbuffer_init(&event);
	wire_event_sync(&event, cookies, count);
	link_queue(NULL, &event);
	TALLOC_FREE(cookies);
}

void handles_redeposit(void)
{
	struct persistent_handle *h = NULL;
	msgpack_sbuffer record = { 0 };

	for (h = handles; h != NULL; h = h->next) {
		if (h->state != HANDLE_ANNOUNCED) {
			continue;
		}
		msgpack_sbuffer_init(&record);
		if (handle_pack_record(h, &record)) {
			deposit(h, &record);
			if (h->deposited) {
				queue_record(h, "grant", &record);
			}
		}
		msgpack_sbuffer_destroy(&record);
	}
}

void handles_refused(const uint8_t *cookie, int status)
{
	struct persistent_handle *h = handle_find(cookie);
	msgpack_sbuffer event = { 0 };

	if (h == NULL || !h->deposited) {
		return;
	}
	DBG_WARNING("fdkeeper does not keep %s (%s): it is a stock durable "
		    "handle\n", fsp_str_dbg(h->fsp), strerror(-status));
	h->deposited = false;
	h->plain = false;
	if (!link_unqueue_grant(cookie)) {
		msgpack_sbuffer_init(&event);
		wire_event_close(&event, cookie, "refused");
		link_queue(cookie, &event);
	}
}
