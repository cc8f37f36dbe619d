// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What persistd is told, and when. An ENTRY is made at the moment it is sent:
 * until then a change is no more than a place on a list, so a persistd that
 * is slow costs no memory and hears of the last state only.
 *
 *   waiting  deposited; told 20 ms after the first of them, since most opens
 *            are closed again at once
 *   due      to be told now, in this order; the answer to LIST is everything,
 *            and a mark behind it
 */
#ifndef KEEPER_REPORT_H
#define KEEPER_REPORT_H

#include "keeper.h"

/* 0 or a negative errno. */
int report_init(struct keeper *keeper);

void report_deposit(struct keeper *keeper, struct kept *kept);
void report_change(struct keeper *keeper, struct kept *kept);

/* An owner dropped it; table_remove() follows. */
void report_gone(struct keeper *keeper, struct kept *kept);

void report_refused(struct keeper *keeper, const uint8_t *cookie,
		    int32_t status);

/* Everything, then LIST_END with `seq`. */
void report_all(struct keeper *keeper, uint32_t seq);

/* A LIST is being answered; something is due. */
bool report_listing(const struct keeper *keeper);
bool report_pending(const struct keeper *keeper);

/* Another persistd, or none: nothing has been reported yet. */
void report_forget(struct keeper *keeper);

/* Send one due report; false if there is none. */
bool report_next(struct keeper *keeper);

/* Send all, also what was deposited a moment ago. */
void report_now(struct keeper *keeper);

#endif
