/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Handles that smbd has forgotten, since it died, come back into its records
 * before anybody can open their files.
 */
#ifndef PERSISTENT_IMPORT_H
#define PERSISTENT_IMPORT_H

/*
 * All of a share, before its client can open anything. As root. Waits only if
 * handles may be missing, and then no longer than 5 s.
 */
void import_at_connect(struct connection_struct *conn);

/*
 * What a sibling that has died left of a share. As root. False: there is more,
 * or persistd or the keeper is away; to be called again.
 */
bool import_of_sibling(struct connection_struct *conn);

/*
 * Those of a file that is about to be opened, if an smbd child that had it open
 * is dead, or all of the share if the tree connect could not. A memory read
 * where the file has no handle. Waits for up to 5 s, once in an outage, where
 * the file may be promised to a client that is away; then it is refused if
 * `persistent:unsafe` says so.
 */
NTSTATUS import_file(struct connection_struct *conn,
		     const struct smb_filename *smb_fname, TALLOC_CTX *mem_ctx,
		     struct server_id **owners);

/*
 * Behind the open: whether one of the owners that import_file() saw (talloc'ed
 * on mem_ctx; NULL before the first call) has died meanwhile, and smbd has
 * taken its promised open for gone. The same is to be done once more then,
 * without the open.
 */
bool import_missed(const struct files_struct *fsp,
		   const struct server_id *owners);

#endif
