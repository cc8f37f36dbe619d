/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client is gone and its handle is kept: the descriptor is parked, and
 * smbd's records say that the open is away.
 */
#ifndef PERSISTENT_DISCONNECT_H
#define PERSISTENT_DISCONNECT_H

struct persistent_handle;

/*
 * The module's durable_disconnect. stock_cookie is what stock stored for the
 * open. An error means that nothing was done, and smbd closes the file.
 */
NTSTATUS disconnect_handle(struct vfs_handle_struct *vfs,
			   struct persistent_handle *h,
			   const DATA_BLOB stock_cookie, TALLOC_CTX *mem_ctx,
			   DATA_BLOB *new_cookie);

#endif
