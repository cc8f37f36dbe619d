// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A surrogate is a thread that does nothing but exist while a descriptor is
 * parked. smbd takes the records of a handle (share modes, byte-range locks)
 * as valid while the process that they name exists, which it asks with
 * kill(pid, 0); Linux answers that for a thread's id as well. Its records name
 * the surrogate, so they hold as long as the descriptor is kept, and lapse
 * when it is given back, closed, or lost with the keeper: nobody has to say so.
 */
#ifndef KEEPER_SURROGATE_H
#define KEEPER_SURROGATE_H

#include <stdint.h>

struct surrogate;

/* It exists on return. 0 or a negative errno. */
int surrogate_start(struct surrogate **surrogate);

/* What kill(2) knows it by. */
uint32_t surrogate_id(const struct surrogate *surrogate);

/* It exists no more on return. NULL is allowed. */
void surrogate_end(struct surrogate *surrogate);

#endif
