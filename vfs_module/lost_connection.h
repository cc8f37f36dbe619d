/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Ends the connection that smbd has found broken while it sent an oplock or
 * lease break: stock closes its socket then and leaves it at that, so that an
 * smbd child without any connection stays, and with it all that its client has
 * open, which neither times out nor lets others in.
 */
#ifndef PERSISTENT_LOST_CONNECTION_H
#define PERSISTENT_LOST_CONNECTION_H

/* From now on, as long as there are handles of ours. Later calls do nothing. */
void lost_connection_watch(struct smbd_server_connection *sconn);

#endif
