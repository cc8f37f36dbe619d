/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Handles that smbd has forgotten, since it died, come back into its records
 * before anybody can open their files.
 */
#ifndef PERSISTENT_IMPORT_H
#define PERSISTENT_IMPORT_H

/*
 * All of a share, at the connect of a client or when a sibling has died. As
 * root. Waits only if handles may be missing, and then no longer than 5 s. False:
 * persistd or the keeper is away, and some are still missing.
 */
bool import_share(struct connection_struct *conn);

/*
 * Those of one file that is about to be opened or locked, if an smbd child that
 * had it open is dead. A memory read where the file has no handle.
 */
void import_file(struct connection_struct *conn, const SMB_STRUCT_STAT *st);

#endif
