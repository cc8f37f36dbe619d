// SPDX-License-Identifier: GPL-3.0-or-later
import { spawnSync } from 'node:child_process';

/**
 * A command that runs another with mounts of its own, which go with its last process.
 * In a chroot, whose root is no mount, they cannot be made private.
 */
export function unshareMounts(): [string, ...string[]] {
  const isMountPoint = spawnSync('mountpoint', ['-q', '/']).status === 0;
  return ['unshare', '--mount', ...(isMountPoint ? [] : ['--propagation', 'unchanged'])];
}
