/* SPDX-License-Identifier: GPL-3.0-or-later */
/* smbd's record of an open itself: smbXsrv_open_global.tdb. */
#include "samba_compat.h"
#include "fault.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_LOCKING

static struct db_context *open_db(void)
{
	static struct db_context *db = NULL;

	if (db == NULL) {
		/* smbd's own handle of it is of order 1, as are share modes */
		db = records_open_db("smbXsrv_open_global.tdb", 0, 0, 0600,
				     DBWRAP_LOCK_ORDER_3);
	}
	return db;
}

static bool parse_open(TALLOC_CTX *mem_ctx, TDB_DATA value,
		       struct smbXsrv_open_global0 **global)
{
	DATA_BLOB blob = data_blob_const(value.dptr, value.dsize);
	struct smbXsrv_open_globalB b = { .version = 0 };
	enum ndr_err_code err = NDR_ERR_INVALID_POINTER;

	if (value.dsize > 0) {
		err = ndr_pull_struct_blob(
			&blob, mem_ctx, &b,
			(ndr_pull_flags_fn_t)ndr_pull_smbXsrv_open_globalB);
	}
	if (!NDR_ERR_CODE_IS_SUCCESS(err) || b.version != SMBXSRV_VERSION_0 ||
	    b.info.info0 == NULL) {
		return false;
	}
	*global = b.info.info0;
	return true;
}

/*
 * While persistd was asked, another smbd child may have written the open's
 * record: its holder, who disconnected, or one that resumed it. True if so; op
 * then has the newer one, locked, and *owner is whose it is.
 */
static bool take_newer(struct smbXsrv_open *op, struct server_id *owner)
{
	struct smbXsrv_open_global0 *newer = NULL;
	struct db_context *db = open_db();
	struct db_record *rec = NULL;
	uint8_t key[4] = { 0 };

	if (db == NULL) {
		return false;
	}
	RSIVAL(key, 0, op->global->open_global_id);
	rec = dbwrap_fetch_locked(db, op, make_tdb_data(key, sizeof(key)));
	if (rec == NULL) {
		return false;
	}
	if (!parse_open(op, dbwrap_record_get_value(rec), &newer) ||
	    server_id_equal(&newer->server_id, &op->global->server_id)) {
		TALLOC_FREE(rec);
		return false;
	}
	*owner = newer->server_id;
	op->global = newer;
	op->global->db_rec = talloc_move(op->global, &rec);
	return true;
}

void records_give_back(struct smbXsrv_open *op, bool keep,
		       const struct server_id *holder)
{
	struct smbXsrv_open_table *table = op->table;
	struct server_id owner = { 0 };
	NTTIME disconnected_at = 0;
	NTSTATUS status;

	fault_point("give-back.begin");
	if (keep && take_newer(op, &owner)) {
		holder = server_id_is_disconnected(&owner) ? NULL : &owner;
	}
	disconnected_at = op->global->disconnect_time;
	op->compat = NULL;
	op->global->durable = keep;
	status = smbXsrv_open_close(op, disconnected_at);
	if (NT_STATUS_IS_OK(status) && keep && holder != NULL) {
		op->global->server_id = *holder;
		op->table = table;
		status = smbXsrv_open_update(op);
		op->table = NULL;
	}
	if (!NT_STATUS_IS_OK(status)) {
		DBG_ERR("cannot restore the record of open 0x%08x: %s\n",
			op->global->open_global_id, nt_errstr(status));
	}
	fault_point("give-back.end");
}

static enum records_open_owner owner_of(
	const struct smbXsrv_open_global0 *global)
{
	if (server_id_is_disconnected(&global->server_id)) {
		return RECORDS_OPEN_DISCONNECTED;
	}
	return records_is_alive(&global->server_id) ? RECORDS_OPEN_ALIVE :
						      RECORDS_OPEN_DEAD;
}

enum records_open_owner records_open_read(TALLOC_CTX *mem_ctx,
					  uint32_t persistent_id,
					  struct smbXsrv_open_global0 **global)
{
	struct db_context *db = open_db();
	TDB_DATA value = { .dptr = NULL };
	uint8_t key[4] = { 0 };

	*global = NULL;
	RSIVAL(key, 0, persistent_id);
	if (db == NULL ||
	    !NT_STATUS_IS_OK(dbwrap_fetch(
		    db, mem_ctx, make_tdb_data(key, sizeof(key)), &value)) ||
	    !parse_open(mem_ctx, value, global)) {
		return RECORDS_OPEN_MISSING;
	}
	return owner_of(*global);
}

static bool is_of_file(const struct persistent_cookie *c,
		       const struct file_id *id)
{
	struct vfs_default_durable_cookie stock = { .allow_reconnect = false };
	TALLOC_CTX *frame = talloc_stackframe();
	enum ndr_err_code err = ndr_pull_struct_blob(
		&c->stock, frame, &stock,
		(ndr_pull_flags_fn_t)ndr_pull_vfs_default_durable_cookie);
	bool same = NDR_ERR_CODE_IS_SUCCESS(err) &&
		    file_id_equal(&stock.id, id);

	TALLOC_FREE(frame);
	return same;
}

struct promise {
	const struct file_id *id;
	bool found;
};

static int promised_fn(struct db_record *rec, void *private_data)
{
	struct promise *promise = private_data;
	TALLOC_CTX *frame = talloc_stackframe();
	struct smbXsrv_open_global0 *global = NULL;
	struct persistent_cookie c = { .is_pathref = false };

	promise->found =
		parse_open(frame, dbwrap_record_get_value(rec), &global) &&
		cookie_pull(&global->backend_cookie, &c) &&
		cookie_is_protected(&c) &&
		is_of_file(&c, promise->id) &&
		owner_of(global) == RECORDS_OPEN_DEAD;
	TALLOC_FREE(frame);
	return promise->found;
}

bool records_promised_to_dead(const struct file_id *id)
{
	struct promise promise = { .id = id };
	struct db_context *db = open_db();

	return db != NULL &&
	       NT_STATUS_IS_OK(dbwrap_traverse_read(db, promised_fn, &promise,
						    NULL)) &&
	       promise.found;
}

bool records_open_write(struct smbXsrv_open_global0 *global)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct smbXsrv_open_globalB b = {
		.version = smbXsrv_version_global_current(),
		.info.info0 = global,
	};
	struct db_context *db = open_db();
	struct smbXsrv_open_global0 *present = NULL;
	struct db_record *rec = NULL;
	TDB_DATA value = { .dptr = NULL };
	DATA_BLOB blob = data_blob_null;
	uint8_t key[4] = { 0 };
	bool ok = false;

	RSIVAL(key, 0, global->open_global_id);
	if (db != NULL) {
		rec = dbwrap_fetch_locked(db, frame,
					  make_tdb_data(key, sizeof(key)));
	}
	if (rec == NULL) {
		goto out;
	}
	value = dbwrap_record_get_value(rec);
	if (parse_open(frame, value, &present) &&
	    owner_of(present) == RECORDS_OPEN_ALIVE) {
		goto out;
	}
	if (value.dsize >= 8) {
		b.seqnum = IVAL(value.dptr, 4);
	}
	b.seqnum += 1;
	ok = NDR_ERR_CODE_IS_SUCCESS(ndr_push_struct_blob(
		     &blob, frame, &b,
		     (ndr_push_flags_fn_t)ndr_push_smbXsrv_open_globalB)) &&
	     NT_STATUS_IS_OK(dbwrap_record_store(
		     rec, make_tdb_data(blob.data, blob.length), TDB_REPLACE));
out:
	TALLOC_FREE(frame);
	return ok;
}
