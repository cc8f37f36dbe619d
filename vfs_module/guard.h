/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The module reads structures that Samba does not promise to keep from one
 * build to the next, so it runs in the very build that it was compiled for or
 * not at all.
 */
#ifndef PERSISTENT_GUARD_H
#define PERSISTENT_GUARD_H

/* False, after one log line, in any other Samba. */
bool guard_this_samba(void);

#endif
