// SPDX-License-Identifier: GPL-3.0-or-later
/* What systemd is told of a keeper that it started: sd_notify(3). */
#ifndef KEEPER_NOTIFY_H
#define KEEPER_NOTIFY_H

#include <sys/types.h>

/* Without systemd these do nothing. */

/* This process serves. */
void notify_ready(void);

/*
 * The main process of the unit is this one from now on. To be said by the one
 * that was it, before it ends: systemd would take its end for that of the
 * service, and end all the others.
 */
void notify_main_process(pid_t pid);

#endif
