/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a handle outlives: the death of any process but fdkeeper (`process`), or
 * fdkeeper's and the host's, too (`host`). For the latter persistd has all that
 * it takes to make the handle again on disk before the CREATE, the LOCK or the
 * resiliency ioctl is answered.
 */
#ifndef PERSISTENT_DURABILITY_H
#define PERSISTENT_DURABILITY_H

/*
 * As long as any other question may take. For a busy disk, as which persistd
 * makes itself heard, link_settle_on_disk() waits a second.
 */
#define DURABILITY_WAIT_MS 200

/*
 * Of a LOCK or UNLOCK: smbd has its own records of the file locked meanwhile.
 * The disk is given its second all the same: the client was promised as much.
 */
#define DURABILITY_LOCK_WAIT_MS 100

/*
 * Whether handles of this kind outlive the host: the share's
 * `persistent:KIND durability`, else its `persistent:durability`; if neither is
 * set, those of kind persistent only.
 */
bool durability_is_host(const struct connection_struct *conn,
			const char *kind);

/* The same for any kind. */
bool durability_may_be_host(const struct connection_struct *conn);

/*
 * Waits for persistd to have on disk what was queued last: at most wait_ms for
 * persistd, at most a second for the disk, and after that in vain not at all for
 * five seconds. False: it would not outlive the host.
 */
bool durability_settle(int wait_ms);

#endif
