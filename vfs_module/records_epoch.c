/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "records.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_LOCKING

#define EPOCH_SIZE 16

/*
 * A database of our own with the life of smbd's: the first process that opens
 * it when no other has it open wipes it. Who holds it open holds smbd's, too,
 * so these are never wiped without it. (That it may be wiped without them, when
 * the last client was gone for a while, only means that handles are looked for
 * that are still there.)
 */
static bool read_or_make(struct db_context *db, uint8_t epoch[EPOCH_SIZE])
{
	static const char name[] = "epoch";
	TDB_DATA value = { .dptr = NULL };
	struct db_record *rec = NULL;
	bool ok = true;

	rec = dbwrap_fetch_locked(db, db, string_term_tdb_data(name));
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
	struct db_context *db = NULL;

	if (!known) {
		known = true;
		db = records_open_db("persistent_epoch.tdb", 0, 0, 0600,
				     DBWRAP_LOCK_ORDER_1);
		if (db == NULL || !read_or_make(db, epoch)) {
			/* one of its own: all is imported at each connect */
			generate_random_buffer(epoch, EPOCH_SIZE);
		}
	}
	return epoch;
}
