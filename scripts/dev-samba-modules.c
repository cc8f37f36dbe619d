// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Preloaded (LD_PRELOAD) into the smbd of scripts/dev-samba, so that it looks
 * for modules in a directory of its own. smbd has no setting for that, and the
 * system's directory is not ours to write to.
 *
 * "preload modules" is no way out: a VFS module that registers itself before
 * the first tree connect keeps vfs_init_custom() from registering smbd's
 * built-in backends, and the tree connect then crashes (seen with 4.17.12).
 */
#include <stdlib.h>

const char *get_dyn_MODULESDIR(void);

const char *get_dyn_MODULESDIR(void)
{
	return getenv("DEV_SAMBA_MODULES");
}
