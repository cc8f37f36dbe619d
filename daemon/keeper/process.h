// SPDX-License-Identifier: GPL-3.0-or-later
/* What /proc tells of a process that touched a kept file. */
#ifndef KEEPER_PROCESS_H
#define KEEPER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "keeper_protocol.h"

/* A file as both stat(2) and /proc/PID/fdinfo know it. */
struct process_file {
	uint64_t dev;
	uint64_t ino;
	uint64_t fdinfo_ino; /* overlayfs has two numbers for one file */
};

/* 0, or -ENOTSUP: this kernel's fdinfo names no inodes (Linux before 5.14). */
int process_fdinfo_ino(int fd, uint64_t *ino);

/*
 * Whether the process has the file open for writing. Looks at no more than
 * 512 of its descriptors and asks no file system but that of the file.
 */
bool process_writes(pid_t pid, const struct process_file *file);

/* Its name, padded with zeros; empty if it is gone. */
void process_name(pid_t pid, char name[KEEPER_PROCESS_NAME]);

#endif
