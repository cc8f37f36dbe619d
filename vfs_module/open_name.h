/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a file was called when its handle was disconnected, and is called now. */
#ifndef PERSISTENT_OPEN_NAME_H
#define PERSISTENT_OPEN_NAME_H

/* From stock's own cookie, which is parsed into parsed. NULL: not readable. */
struct smb_filename *open_name_then(TALLOC_CTX *mem_ctx,
				    const DATA_BLOB *stock,
				    struct vfs_default_durable_cookie *parsed);

/*
 * The file's name relative to the share; NULL if the old one is still one of
 * its names, or it has none below the share.
 */
struct smb_filename *open_name_if_changed(TALLOC_CTX *mem_ctx,
					  struct connection_struct *conn,
					  const struct smb_filename *then,
					  int fd, const struct stat *st);

/*
 * Stock's cookie with another name in it. False, and unchanged, if it is not
 * readable.
 */
bool open_name_put(TALLOC_CTX *mem_ctx, const char *name, DATA_BLOB *stock);

#endif
