/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PERSISTENT_KERNEL_LOCKS_H
#define PERSISTENT_KERNEL_LOCKS_H

/*
 * The kernel's OFD locks behind byte-range locks (posix locking = yes). smbd
 * locks in the kernel first and writes its record afterwards: a child that is
 * killed in between leaves a lock with the description that no record has, and
 * that nobody can release.
 *
 * Releases what the description fd has locked and the open `owner` (a persistent
 * id) has not, by smbd's record of the file. What it has is locked throughout.
 */
void kernel_locks_release_unknown(int fd, uint64_t owner,
				  const struct lock_struct *locks,
				  size_t num_locks);

#endif
