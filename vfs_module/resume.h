/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client comes back for its handle: the kept descriptor and smbd's records
 * of the open become a files_struct again.
 *
 * This is the module's own implementation and not stock's with answers put
 * into its mouth, because stock's cannot resume one of several opens of a file
 * (4.17), nor an open with byte-range locks beside those of others or with
 * `posix locking = yes`, nor an unlinked file. When our daemons are away the
 * caller lets stock's do what it can.
 */
#ifndef PERSISTENT_RESUME_H
#define PERSISTENT_RESUME_H

#include "cookie.h"

enum resume_outcome {
	RESUME_DONE,
	/* The keeper or persistd does not have it or cannot be asked. */
	RESUME_ASK_STOCK,
	/* Not this client, not now; the handle waits on. */
	RESUME_REFUSED,
	/* The handle has ended; its records are gone. */
	RESUME_ENDED,
};

struct persistent_handle;

struct resume_request {
	struct vfs_handle_struct *vfs;
	struct smb_request *smb1req;
	struct smbXsrv_open *op;
	struct persistent_cookie cookie;
	TALLOC_CTX *mem_ctx;
};

struct resume_result {
	struct files_struct *fsp;
	DATA_BLOB cookie;
	bool have_holder;
	struct server_id holder; /* RESUME_REFUSED: who has it now */
};

/* smbd asks for the cookie of a handle that was resumed a moment ago. */
NTSTATUS resume_cookie_again(struct persistent_handle *h, TALLOC_CTX *mem_ctx,
			     DATA_BLOB *cookie);

enum resume_outcome resume(const struct resume_request *req,
			   struct resume_result *result);

#endif
