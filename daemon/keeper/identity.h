// SPDX-License-Identifier: GPL-3.0-or-later
/* What persistd needs to open a file again after the keeper was killed. */
#ifndef KEEPER_IDENTITY_H
#define KEEPER_IDENTITY_H

#include <stdint.h>
#include <sys/types.h>

#include "keeper_protocol.h"

struct file_handle_copy {
	int32_t type;
	uint16_t length; /* 0: the file system has no file handles */
	uint8_t bytes[KEEPER_MAX_FILE_HANDLE];
};

/* 0 or a negative errno. */
int identity_init(void);

void identity_file_handle(int fd, struct file_handle_copy *handle);

/*
 * The file system as text that survives a remount (docs/protocol.md 2.2), or
 * "" where it cannot be told. Valid until the next call. `mount_id` is
 * statx's stx_mnt_id.
 */
const char *identity_file_system(int fd, dev_t dev, uint64_t mount_id);

/*
 * Call `try` with the root directory of each mount of the file system of this
 * identity, the former mount point first, until it returns 0 or more. Returns
 * what it returned last, or -ENODEV: it is not mounted.
 */
typedef int (*identity_try_fn)(int mount_fd, void *context);

int identity_try(const char *identity, identity_try_fn try, void *context);

#endif
