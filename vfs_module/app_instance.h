/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SMB2_CREATE_APP_INSTANCE_ID and _VERSION (MS-SMB2 2.2.13.2.13 and .15): an
 * application that runs on a cluster names its opens. When it starts on another
 * node, that node takes its files from the first one, connected or not
 * (3.3.5.9.13).
 */
#ifndef PERSISTENT_APP_INSTANCE_H
#define PERSISTENT_APP_INSTANCE_H

#include "wire.h"

/* Other smbd children may ask this one to close an open. Call it as root. */
void app_instance_listen(struct smbd_server_connection *sconn);

/* What the CREATE says; not given: nothing that counts. */
struct wire_app_instance app_instance_read(
	const struct smb_request *req,
	const struct smb2_create_blobs *in_context_blobs);

/*
 * Before an open: opens of the same instance on the file by other clients are
 * closed. An error: the CREATE is to be refused with it, since such an open is
 * of a newer version. When persistd is away, or a holder does not close in
 * time, the CREATE goes on as on stock Samba.
 */
NTSTATUS app_instance_arriving(struct connection_struct *conn,
			       const struct smb_filename *smb_fname,
			       const struct wire_app_instance *app);

#endif
