/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Handles that smbd has forgotten, since it died, come back into its records
 * before anybody can open their files.
 */
#ifndef PERSISTENT_IMPORT_H
#define PERSISTENT_IMPORT_H

/* All of the share that a client connects to. As root. */
void import_share(struct connection_struct *conn);

/*
 * Those of one file that is about to be opened or locked, if an smbd child that
 * had it open is dead. A memory read where no handle is away.
 */
void import_file(struct connection_struct *conn, const SMB_STRUCT_STAT *st);

#endif
