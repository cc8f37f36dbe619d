/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Durable handles with a lease of state RH survive an open that neither
 * conflicts with their share mode nor overwrites the file: it would break
 * nothing of theirs (MS-SMB2 3.3.1.4, MS-FSA 2.1.4.12). smbd 4.17 removes the
 * entry of any disconnected open at any other open that is for more than
 * attributes. So the entries are noted before it and put back after it.
 */
#ifndef PERSISTENT_KEEP_H
#define PERSISTENT_KEEP_H

#include "records.h"

struct keep_request {
	struct connection_struct *conn;
	const SMB_STRUCT_STAT *st;
	uint32_t access_mask;
	uint32_t share_access;
	uint32_t create_disposition;
};

/* What there is to be put back: to be freed by keep_end(). */
struct keep {
	struct file_id id;
	struct records_away *away; /* talloc array; NULL: nothing */
	/* the lease that the newcomer may ask for beside them */
	struct smb2_lease lease;
};

/*
 * Before a CREATE. Changes what the newcomer asks for to what the level of
 * those that are away allows it.
 */
void keep_begin(const struct keep_request *req, struct keep *keep,
		uint32_t *oplock_request, const struct smb2_lease **lease);

/* After it; fsp is NULL if it failed. */
void keep_end(struct keep *keep, const struct files_struct *fsp);

#endif
