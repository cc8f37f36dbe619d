/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whether a handle that is away ends when a local process comes for its file
 * (docs/local-access.md). The module says what the share wants; persistd acts.
 */
#ifndef PERSISTENT_LOCAL_ACCESS_H
#define PERSISTENT_LOCAL_ACCESS_H

/*
 * "yield" or "keep": the share's `persistent:KIND local access`, else its
 * `persistent:local access`, else durable handles yield and others do not.
 */
const char *local_access(const struct connection_struct *conn,
			 const char *kind);

#endif
