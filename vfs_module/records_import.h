/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Puts the records of an open that is away back into smbd's databases: after
 * its smbd child was killed they name a dead owner, after a restart of smbd
 * there are none.
 */
#ifndef PERSISTENT_RECORDS_IMPORT_H
#define PERSISTENT_RECORDS_IMPORT_H

#include "wire_imports.h"

/* MS-SMB2 3.3.1.10, Open.LockSequenceArray: buckets 1 to 64. */
#define RECORDS_LOCK_SEQUENCES 64

/*
 * Which LOCK requests were answered last, and the one that was being done when
 * this was written: its entry counts only if its lock came or went.
 */
struct records_lock_sequence {
	bool known;
	uint8_t array[RECORDS_LOCK_SEQUENCES];
	uint8_t last; /* index of the entry in question */
	bool unlock;
	uint64_t start;
	uint64_t size;
};

struct records_import {
	struct connection_struct *conn;
	const struct wire_import *handle;
	struct stat st;              /* of the kept descriptor */
	uint64_t surrogate;          /* 0: not protected */
	bool entry_just_deleted;     /* by an open that came to nothing */
	struct records_lock_sequence sequence;
};

enum records_import_result {
	RECORDS_IMPORT_DONE,       /* or found to be in order */
	RECORDS_IMPORT_HELD,       /* by a living smbd child */
	RECORDS_IMPORT_SUPERSEDED, /* others have the file already */
	RECORDS_IMPORT_FAILED,
};

enum records_import_result records_import(const struct records_import *in);

/*
 * Whether an smbd child that has the file open is dead. Takes no lock. If none
 * is, owners are those that live, talloc'ed; NULL if there is none.
 */
bool records_owner_died(TALLOC_CTX *mem_ctx, const struct file_id *id,
			struct server_id **owners);

#endif
