/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How long a handle may stay disconnected: what the client asked for and
 * stock Samba caps, within what the share says.
 */
#ifndef PERSISTENT_TIMEOUTS_H
#define PERSISTENT_TIMEOUTS_H

struct persistent_handle;

/* smbd's scavenger multiplies in 32 bits: no timeout above 71 minutes. */
#define TIMEOUTS_LONGEST_MS (70 * 60 * 1000)

/*
 * Of a durable handle, or of a persistent one (60 s if its client leaves it to
 * us, 300 s at most; `persistent:persistent timeout` and `... max`): sets
 * the open's durable_timeout_msec and the Timeout of the DH2Q response
 * (MS-SMB2 2.2.14.2.12). True if it differs from what stock decided, so that
 * the open's record must be stored again.
 */
bool timeouts_settle(struct persistent_handle *h);

/*
 * The timeout of FSCTL_LMR_REQUEST_RESILIENCY in milliseconds, 0 meaning the
 * share's `persistent:resilient timeout` (120 s). False if it is above
 * `persistent:resilient timeout max` (300 s).
 */
bool timeouts_resilient(const struct connection_struct *conn,
			uint32_t asked_ms, uint32_t *timeout_ms);

#endif
