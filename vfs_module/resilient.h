/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * FSCTL_LMR_REQUEST_RESILIENCY (MS-SMB2 2.2.31.3 and 3.3.5.15.9): the client
 * asks that its open, whatever oplock or lease it has, survives the loss of
 * the connection for a time, with its share mode and locks in force. A persistent
 * handle has more than that: it stays one, and takes the timeout.
 */
#ifndef PERSISTENT_RESILIENT_H
#define PERSISTENT_RESILIENT_H

/*
 * NT_STATUS_INVALID_PARAMETER: short input, or a timeout above the share's
 * `persistent:resilient timeout max`; NT_STATUS_NOT_SUPPORTED: not this file,
 * share or dialect, or our daemons are away. The handle is then as it was.
 */
NTSTATUS resilient_request(struct vfs_handle_struct *vfs,
			   struct files_struct *fsp, const uint8_t *in,
			   uint32_t in_len);

#endif
