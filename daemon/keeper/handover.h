// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The keeper is upgraded: the one that runs (the old one) starts the program
 * that lies where it was started from itself (the new one), which takes over
 * everything.
 *
 *   1. The old one asks the program whether it can (--can-take-over), and
 *      serves on meanwhile. What cannot be executed, is broken or is of
 *      another version ends here.
 *   2. The old one reads from nobody any more, writes all that it knows into
 *      a memfd, forks, and the child becomes the new one (--take-over). It
 *      inherits every descriptor: what is kept, the listening sockets, the
 *      connections of smbd children and persistd with all that lies in them
 *      unread, the marks of watched files, keeper.index and keeper.lock.
 *   3. The new one makes a keeper of it, and says so. It has read from nobody.
 *   4. The old one ends. That is the one moment in which the command changes:
 *      the new one waits for it and then serves, and until then the old one
 *      can go on as if nothing had happened.
 *
 * So each of them alone has all there is while both exist, and either may be
 * killed. No smbd child or persistd notices more than a short silence. The
 * surrogates are threads of a third process (surrogate.h), which neither of
 * the two can take with it.
 *
 * The way is not an exec of the new program in place of the old one: a program
 * that fails then, or is killed, would take everything with it. And it is not
 * an old keeper that stays for its threads: each upgrade would leave one.
 */
#ifndef KEEPER_HANDOVER_H
#define KEEPER_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "keeper.h"

/* What the old one passes to the new one beside its own arguments. */
#define HANDOVER_OPTION "take-over"

/* Remember how this keeper was started. Before anything else. */
void handover_init(char **argv);

/*
 * Begin an upgrade. `seq` is of the UPGRADE that asks for it, if persistd has
 * asked. What comes of it is answered and logged later.
 */
void handover_begin(struct keeper *keeper, bool asked, uint32_t seq);

#endif
