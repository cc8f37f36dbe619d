// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * A disk with a volatile cache, as real ones have. qemu alone would be too kind: what it
 * wrote to an image survives its SIGKILL in the host's page cache, flushed or not. nbdkit's
 * filter `cache` keeps each write to itself until the guest flushes (nbdkit-cache-filter(1));
 * when it is killed, the image has what was flushed, and nothing else. The host itself stays
 * up, so it need not flush the image (nbdkit-fua-filter(1), discard).
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const BOUND_MS = 20_000;
/** The smallest that mkfs.xfs(8) makes. */
const SIZE_BYTES = 320 * 1024 * 1024;

export class Disk {
  readonly #image: string;
  #server: ChildProcess | undefined;

  /** A new image, empty, or with a file system named `srv`. */
  constructor(image: string, fs?: 'ext4' | 'xfs') {
    this.#image = image;
    writeFileSync(image, '');
    truncateSync(image, SIZE_BYTES);
    if (fs) execFileSync(`mkfs.${fs}`, ['-q', '-L', 'srv', image]);
  }

  get url(): string {
    return `nbd:unix:${this.#socket}`;
  }

  async plugIn(): Promise<void> {
    rmSync(this.#socket, { force: true });
    const server = spawn(
      'nbdkit',
      [
        ...['--foreground', '--unix', this.#socket, '--filter=cache', '--filter=fua'],
        ...['file', this.#image, 'cache=writeback', 'fuamode=discard'],
      ],
      { stdio: ['ignore', 'inherit', 'inherit'] },
    );
    this.#server = server;
    const end = Date.now() + BOUND_MS;
    while (!existsSync(this.#socket)) {
      if (server.exitCode !== null || Date.now() > end) throw new Error('nbdkit does not start');
      await delay(10);
    }
  }

  async cutPower(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const gone = once(server, 'exit');
    server.kill('SIGKILL');
    await gone;
  }

  get #socket(): string {
    return `${this.#image}.socket`;
  }
}
