/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Lock sequence (MS-SMB2 3.3.5.14): a LOCK request that is sent again after a
 * resume is answered without being done twice. smbd writes the array of what
 * it has done to its database when the handle is disconnected; so that it
 * outlives an smbd child that is killed, the keeper has a note of it before the
 * LOCK is answered.
 */
#ifndef PERSISTENT_LOCK_SEQUENCE_H
#define PERSISTENT_LOCK_SEQUENCE_H

#include "descriptors.h"
#include "records_import.h"

struct persistent_handle;

/*
 * A lock of the handle came (unlock: went) by a LOCK request that is being
 * done. Only the last lock of a request is noted, since only then is it done.
 * What the keeper has now, length 0 if it is told nothing.
 */
struct descriptors_note lock_sequence_note(const struct persistent_handle *h,
					   const struct lock_struct *l,
					   bool unlock);

/* What such a note says. */
struct records_lock_sequence lock_sequence_read(
	const struct descriptors_note *note);

#endif
