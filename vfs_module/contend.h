/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Somebody comes for a file of which handles are away. For a file without
 * parked descriptors each of these is one memory read.
 */
#ifndef PERSISTENT_CONTEND_H
#define PERSISTENT_CONTEND_H

#include "wire.h"

/*
 * Before an open: a client that opens anew with its lease key or create GUID,
 * instead of resuming, has forgotten its handle and finds it out of its way.
 */
void contend_arriving(struct connection_struct *conn,
		      const struct smb_filename *smb_fname,
		      const struct smb2_lease *lease,
		      const struct smb2_create_blobs *in_context_blobs);

/*
 * After an open that succeeded: smbd has removed the share-mode entries of
 * disconnected opens that were in its way. persistd ends those handles, so
 * that no kernel lock of theirs is left when the CREATE is answered; protected
 * handles have lost their oplock or lease.
 */
void contend_opened(const struct files_struct *fsp);

/*
 * The file is being written, or was renamed or unlinked, by an open that left
 * those of others with a lease as they were (keep.h): now their lease would
 * break, and so they end. At a rename or an unlink smbd has removed their
 * entries itself.
 */
void contend_written(struct connection_struct *conn,
		     const SMB_STRUCT_STAT *st);
void contend_renamed(struct connection_struct *conn,
		     const SMB_STRUCT_STAT *st);

/*
 * Before a lock, and before a READ or WRITE: whether a lock of a disconnected
 * durable handle, or of one whose smbd child has died, forbids it. smbd itself
 * would delete such a lock as nobody's. (The owner's own client can get here,
 * by another open under the same lease.)
 */
bool contend_lock(struct files_struct *fsp, const struct lock_struct *plock);
bool contend_io(struct files_struct *fsp, const struct lock_struct *plock);

/* Before smbd sets the file's modification time: handles that are away keep. */
void contend_write_time(const struct files_struct *fsp,
			const struct smb_file_time *ft);

/* smbd's records of handles that persistd has ended (reply->ended) go. */
void contend_forget(struct connection_struct *conn, const SMB_STRUCT_STAT *st,
		    const struct wire_reply *reply);

/* How the messages name the client, talloc'ed or constant. */
const char *contend_client_address(TALLOC_CTX *mem_ctx,
				   const struct connection_struct *conn);

/* After an open or a lock that was refused: it may be such a handle's doing. */
void contend_refused(const struct connection_struct *conn,
		     const SMB_STRUCT_STAT *st, NTSTATUS status);

#endif
