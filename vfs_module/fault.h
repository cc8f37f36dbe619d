/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Named points at which tests hold or kill a process of ours. Only a test build
 * (make test-build) has them; in any other the macro is nothing.
 *
 * At the point NAME, with DIR the directory that the environment's
 * PERSISTENT_FAULTS names: if there is a FIFO DIR/NAME, the process waits until
 * somebody has opened it for writing and closed it again. If there is a file
 * DIR/NAME.kill, the process ends by SIGKILL. Whoever comes first removes the
 * name, so each happens once only.
 */
#ifndef PERSISTENT_FAULT_H
#define PERSISTENT_FAULT_H

#ifdef PERSISTENT_FAULTS
void fault_reached(const char *name);
#define fault_point(name) fault_reached(name)
#else
#define fault_point(name) ((void)0)
#endif

#endif
