// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A surrogate is a thread that does nothing but exist while a descriptor is
 * parked. smbd takes the records of a handle (share modes, byte-range locks)
 * as valid while the process that they name exists, which it asks with
 * kill(pid, 0); Linux answers that for a thread's id as well. Its records name
 * the surrogate, so they hold as long as the descriptor is kept, and lapse
 * when it is given back, closed, or lost with the keeper: nobody has to say so.
 *
 * The threads are not the keeper's but those of a process beside it, the
 * surrogate host, so that they outlive a keeper that is replaced by another
 * (handover.h). The host ends when no keeper has its socket any more.
 */
#ifndef KEEPER_SURROGATE_H
#define KEEPER_SURROGATE_H

#include <stdint.h>

struct keeper;

/* These return 0 or a negative errno. */

/* Make the host. */
int surrogates_begin(struct keeper *keeper);

/* Use the host that is behind this socket, made by an earlier keeper. */
int surrogates_take_over(struct keeper *keeper, int host_fd);

/* What a keeper that takes over needs; -1: the host is gone. */
int surrogates_host_fd(void);

/* A new one exists on return; `id` is what kill(2) knows it by. */
int surrogate_start(uint32_t *id);

/* It exists no more on return. 0: none, is allowed. */
void surrogate_end(uint32_t id);

#endif
