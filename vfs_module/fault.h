/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Named points at which tests hold or kill a process of ours. Only a test build
 * (make test-build) has them; in any other the macro is nothing.
 *
 * At the point NAME, with DIR the directory that the environment's
 * PERSISTENT_FAULTS names: if there is a FIFO DIR/NAME, the process waits until
 * somebody has opened it for writing and closed it again. If there is a file
 * DIR/NAME.kill, the process ends by SIGKILL. Whoever comes first removes the
 * name, so each happens once only. The time that a process is held does not
 * pass by its own clock (clock.h), so that no question of its comes too late.
 */
#ifndef PERSISTENT_FAULT_H
#define PERSISTENT_FAULT_H

#include <stdint.h>

#ifdef PERSISTENT_FAULTS
void fault_reached(const char *name);
uint64_t fault_held_ns(void);
#define fault_point(name) fault_reached(name)
#else
#define fault_point(name) ((void)0)
#define fault_held_ns() UINT64_C(0)
#endif

#endif
