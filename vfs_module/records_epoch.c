/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_LOCKING

#define EPOCH_SIZE 16

/*
 * One of smbd's databases is the place to name the life of all: the smbd that
 * listens holds each of them open, and the first one that opens them wipes them.
 * This one has a single record, which smbd finds by its key.
 */
static struct db_context *epoch_db(void)
{
	static struct db_context *db = NULL;

	if (db == NULL) {
		db = records_open_db("smbXsrv_version_global.tdb", 0, 0, 0600,
				     DBWRAP_LOCK_ORDER_4);
	}
	return db;
}

static bool read_or_make(uint8_t epoch[EPOCH_SIZE])
{
	struct db_context *db = epoch_db();
	TDB_DATA value = { .dptr = NULL };
	struct db_record *rec = NULL;
	bool ok = true;

	if (db != NULL) {
		rec = dbwrap_fetch_locked(db, db, string_tdb_data("persistent/epoch"));
	}
	if (rec == NULL) {
		return false;
	}
	value = dbwrap_record_get_value(rec);
	if (value.dsize == EPOCH_SIZE) {
		memcpy(epoch, value.dptr, EPOCH_SIZE);
	} else {
		generate_random_buffer(epoch, EPOCH_SIZE);
		ok = NT_STATUS_IS_OK(dbwrap_record_store(
			rec, make_tdb_data(epoch, EPOCH_SIZE), TDB_REPLACE));
	}
	TALLOC_FREE(rec);
	return ok;
}

const uint8_t *records_epoch(void)
{
	static uint8_t epoch[EPOCH_SIZE];
	static bool known;

	if (!known) {
		known = true;
		if (!read_or_make(epoch)) {
			/* one of this process: all is imported at a connect */
			generate_random_buffer(epoch, EPOCH_SIZE);
		}
	}
	return epoch;
}

static char *complete_key(TALLOC_CTX *mem_ctx, const char *share)
{
	return talloc_asprintf(mem_ctx, "persistent/complete/%s", share);
}

bool records_are_complete(const char *share)
{
	struct db_context *db = epoch_db();
	char *key = complete_key(talloc_tos(), share);
	bool complete = db != NULL && key != NULL &&
			dbwrap_exists(db, string_tdb_data(key));

	TALLOC_FREE(key);
	return complete;
}

void records_set_complete(const char *share)
{
	static uint8_t yes = 1;
	struct db_context *db = epoch_db();
	char *key = complete_key(talloc_tos(), share);

	if (db != NULL && key != NULL && !records_are_complete(share)) {
		(void)dbwrap_store(db, string_tdb_data(key),
				   make_tdb_data(&yes, sizeof(yes)),
				   TDB_REPLACE);
	}
	TALLOC_FREE(key);
}
