/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Opens of a file that may belong to a handle which is away, at a time when
 * smbd's records do not say so and persistd cannot be asked: after a crash, with
 * persistd away. `persistent:unsafe` of the share decides.
 */
#ifndef PERSISTENT_UNSAFE_H
#define PERSISTENT_UNSAFE_H

/* Counts and logs the open. False: it is to be refused. */
bool unsafe_may_open(const struct connection_struct *conn,
		     const struct smb_filename *smb_fname);

/* How such an open is refused. */
NTSTATUS unsafe_refusal(const struct connection_struct *conn);

/* persistd is back: it is told of what happened meanwhile. */
void unsafe_tell(void);

#endif
