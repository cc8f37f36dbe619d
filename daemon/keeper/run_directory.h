// SPDX-License-Identifier: GPL-3.0-or-later
/* The run directory: ours alone, and one keeper's at a time. */
#ifndef KEEPER_RUN_DIRECTORY_H
#define KEEPER_RUN_DIRECTORY_H

#include <stdbool.h>

/*
 * Make the directory if need be, take its lock for the life of the process
 * and make it the current directory. What fails is logged.
 */
bool run_directory_enter(const char *path);

/* Take away what nobody serves any more. */
void run_directory_leave(void);

/* The lock; a keeper that takes over has it from the one before. */
int run_directory_lock_fd(void);
void run_directory_take_over(int lock_fd);

#endif
