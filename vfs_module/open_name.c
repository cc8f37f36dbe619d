/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samba_compat.h"
#include "open_name.h"

struct smb_filename *open_name_then(
	TALLOC_CTX *mem_ctx, const DATA_BLOB *stock,
	struct vfs_default_durable_cookie *parsed)
{
	enum ndr_err_code err = ndr_pull_struct_blob(
		stock, mem_ctx, parsed,
		(ndr_pull_flags_fn_t)ndr_pull_vfs_default_durable_cookie);

	if (!NDR_ERR_CODE_IS_SUCCESS(err) || parsed->base_name == NULL) {
		return NULL;
	}
	return synthetic_smb_fname(mem_ctx, parsed->base_name, NULL, NULL, 0,
				   0);
}

/*
 * Where the file is now, relative to the share; NULL if it is no longer
 * anywhere below it.
 */
static struct smb_filename *name_now(TALLOC_CTX *mem_ctx,
				     const struct connection_struct *conn,
				     int fd, const struct stat *st)
{
	size_t share_len = strlen(conn->connectpath);
	char link[PATH_MAX] = { 0 };
	struct stat there = { 0 };
	char *proc = NULL;
	ssize_t len = -1;

	if (st->st_nlink == 0) {
		return NULL;
	}
	proc = talloc_asprintf(mem_ctx, "/proc/self/fd/%d", fd);
	if (proc == NULL) {
		return NULL;
	}
	len = readlink(proc, link, sizeof(link) - 1);
	TALLOC_FREE(proc);
	if (len <= 0 || (size_t)len >= sizeof(link) - 1) {
		return NULL;
	}
	link[len] = '\0';
	if (lstat(link, &there) == -1 || there.st_dev != st->st_dev ||
	    there.st_ino != st->st_ino) {
		/* that name of it is gone; others remain */
		return NULL;
	}
	if (strncmp(link, conn->connectpath, share_len) != 0 ||
	    link[share_len] != '/') {
		return NULL;
	}
	return synthetic_smb_fname(mem_ctx, link + share_len + 1, NULL, NULL,
				   0, 0);
}

/*
 * Whether the old name is still one of the file's, as smbd sees it: through
 * all modules, symbolic links and hard links.
 */
static bool still_named(struct connection_struct *conn,
			const struct smb_filename *name, const struct stat *st)
{
	struct smb_filename *n = cp_smb_filename(talloc_tos(), name);
	bool same = n != NULL && SMB_VFS_STAT(conn, n) == 0 &&
		    n->st.st_ex_dev == st->st_dev &&
		    n->st.st_ex_ino == st->st_ino;

	TALLOC_FREE(n);
	return same;
}

struct smb_filename *open_name_if_changed(TALLOC_CTX *mem_ctx,
					  struct connection_struct *conn,
					  const struct smb_filename *then,
					  int fd, const struct stat *st)
{
	struct smb_filename *now = name_now(mem_ctx, conn, fd, st);

	if (now != NULL && still_named(conn, then, st)) {
		TALLOC_FREE(now);
	}
	return now;
}

bool open_name_put(TALLOC_CTX *mem_ctx, const char *name, DATA_BLOB *stock)
{
	TALLOC_CTX *frame = talloc_stackframe();
	struct vfs_default_durable_cookie c = { .magic = "" };
	DATA_BLOB blob = data_blob_null;
	bool ok = NDR_ERR_CODE_IS_SUCCESS(ndr_pull_struct_blob(
		stock, frame, &c,
		(ndr_pull_flags_fn_t)ndr_pull_vfs_default_durable_cookie));

	if (ok) {
		c.base_name = name;
		ok = NDR_ERR_CODE_IS_SUCCESS(ndr_push_struct_blob(
			&blob, mem_ctx, &c,
			(ndr_push_flags_fn_t)
				ndr_push_vfs_default_durable_cookie));
	}
	if (ok) {
		data_blob_free(stock);
		*stock = blob;
	}
	TALLOC_FREE(frame);
	return ok;
}
