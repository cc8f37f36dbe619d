/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Somebody opens a file of which handles are away.
 */
#ifndef PERSISTENT_CONTEND_H
#define PERSISTENT_CONTEND_H

/*
 * Call it when an open has succeeded. smbd has removed the share-mode entries
 * of disconnected opens that were in its way; this makes persistd end those
 * handles, so that no kernel lock of theirs is left when the CREATE is
 * answered. For a file without parked descriptors it is one memory read.
 */
void contend_opened(const struct files_struct *fsp);

#endif
