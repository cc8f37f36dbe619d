// SPDX-License-Identifier: GPL-3.0-or-later
/* What systemd is told of a keeper that it started: sd_notify(3). */
#ifndef KEEPER_NOTIFY_H
#define KEEPER_NOTIFY_H

/*
 * This process serves, and is the main one of its unit (Type=notify,
 * NotifyAccess=all). Nothing without systemd.
 */
void notify_serving(void);

#endif
