/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Samba as this module sees it: its headers, and everything that differs
 * between its versions. No other file tests a version.
 */
#ifndef PERSISTENT_SAMBA_COMPAT_H
#define PERSISTENT_SAMBA_COMPAT_H

#include "includes.h"
#include "system/filesys.h"
#include "smbd/smbd.h"
#include "smbd/globals.h"
#include "smbd/smbXsrv_open.h"
#include "util_tdb.h"
#include "locking/share_mode_lock.h"
#include "locking/leases_db.h"
#include "locking/proto.h"
#include "librpc/gen_ndr/ndr_open_files.h"
#include "librpc/gen_ndr/ndr_smbXsrv.h"
#include "lib/dbwrap/dbwrap.h"
#include "dbwrap/dbwrap_open.h"
#include "lib/tsocket/tsocket.h"
#include "lib/util/server_id.h"
#include "libcli/security/security.h"
#include "libcli/smb/smb2_create_blob.h"
#include "messages.h"
#include "serverid.h"
#include "fake_file.h"
#include "wire.h"

#if SMB_VFS_INTERFACE_VERSION != 47
#error "this Samba is not supported; supported: 4.17 (VFS interface 47)"
#endif

/* of smbd/open.c; no header has it */
extern const struct generic_mapping file_generic_mapping;

/*
 * smbd makes up connections without a client, for a DFS referral or an RPC;
 * their tevent context dies with them.
 */
static inline bool is_clients_connection(const struct connection_struct *conn)
{
	return conn->sconn != NULL && conn->sconn->client != NULL;
}

static inline struct wire_server_id wire_from_server_id(
	const struct server_id *id)
{
	return (struct wire_server_id) {
		.pid = id->pid,
		.task_id = id->task_id,
		.vnn = id->vnn,
		.unique_id = id->unique_id,
	};
}

#endif
