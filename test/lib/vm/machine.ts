// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * A virtual machine of qemu without KVM. Its file system is the host's, read only; what it
 * writes elsewhere than on its disks is gone with it. The network ends in qemu.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Disk } from './disk.js';

export const TOP = process.cwd();
/** From the start to the end of an init: 30 s with a core of its own. */
const BOOT_BOUND_MS = 600_000;

/** Where kernel and initial RAM disk are, or why there can be no machine. */
export function findKernel(): { dir: string } | { why: string } {
  try {
    const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
    const out = execFileSync(join(TOP, 'scripts/vm-kernel'), { stdio, encoding: 'utf8' });
    return { dir: out.trim() };
  } catch (error) {
    return { why: (error as { stderr?: string }).stderr?.trim() || String(error) };
  }
}

export interface MachineOptions {
  /** With kernel and initrd. */
  kernelDir: string;
  /** Of this machine alone: console, sockets. */
  dir: string;
  /** A program of test/fixtures/vm; its one argument is `dir`. */
  init: string;
  /** Kernel modules beside those that each machine needs. */
  modules: readonly string[];
  /** Options of -netdev user. */
  network: string;
  disks?: readonly Disk[];
  /**
   * Its clock counts instructions while it computes, one in a nanosecond (-icount). What is
   * to be done within a part of a second then has the time that it has on a real machine,
   * however slow or busy the host is; but a second can take minutes.
   */
  countsInstructions?: boolean;
}

export class Machine {
  readonly #options: MachineOptions;
  readonly #qemu: ChildProcess;
  #shell: Socket | undefined;

  private constructor(options: MachineOptions) {
    this.#options = options;
    rmSync(this.#path('console'), { force: true });
    const log = openSync(join(options.dir, 'qemu.log'), 'a');
    this.#qemu = spawn('qemu-system-x86_64', qemuArguments(options), {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
  }

  /** Returns when the init of the machine says that it is ready. */
  static async boot(options: MachineOptions): Promise<Machine> {
    for (const disk of options.disks ?? []) await disk.plugIn();
    const machine = new Machine(options);
    try {
      machine.#shell = await machine.#until('its shell', () => connected(machine.#path('shell')));
      await machine.#until('its start', async () => /^vm: ready\r?$/m.test(machine.console()));
    } catch (error) {
      await machine.powerOff();
      throw error;
    }
    return machine;
  }

  /** What it wrote since its start. */
  console(): string {
    const path = this.#path('console');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** Runs a command of sh(1) and returns its output; throws if it fails. */
  async sh(command: string): Promise<string> {
    const shell = this.#shell as Socket;
    shell.write(`${command}\n`);
    let answer = '';
    while (!/\0\d+\n$/.test(answer)) answer += String((await once(shell, 'data'))[0]);
    const end = answer.lastIndexOf('\0');
    if (answer.slice(end + 1) !== '0\n') throw new Error(`${command}: ${answer}`);
    return answer.slice(0, end);
  }

  /** A command of qemu's monitor, such as `set_link net off`. */
  async monitor(command: string): Promise<void> {
    const monitor = await connected(this.#path('monitor'));
    if (!monitor) throw new Error("qemu's monitor does not answer");
    monitor.end(`${command}\n`);
    await once(monitor.resume(), 'close');
  }

  /** The power is cut: nothing that a disk had only in its cache is there afterwards. */
  async powerOff(): Promise<void> {
    const { disks = [] } = this.#options;
    this.#shell?.destroy();
    if (this.#qemu.exitCode === null && this.#qemu.signalCode === null) {
      const gone = once(this.#qemu, 'exit');
      // nobody in the machine shall see its disks go first
      this.#qemu.kill('SIGSTOP');
      for (const disk of disks) await disk.cutPower();
      this.#qemu.kill('SIGKILL');
      await gone;
    }
    for (const disk of disks) await disk.cutPower();
  }

  #path(name: string): string {
    return join(this.#options.dir, name);
  }

  async #until<T>(what: string, probe: () => Promise<T | undefined | false>): Promise<T> {
    const end = Date.now() + BOOT_BOUND_MS;
    for (;;) {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      const { exitCode, signalCode } = this.#qemu;
      if (exitCode !== null || signalCode !== null || Date.now() > end) {
        const log = readFileSync(this.#path('qemu.log'), 'utf8') + this.console();
        throw new Error(`a machine: ${what}: not within ${BOOT_BOUND_MS} ms\n${log}`);
      }
      await delay(50);
    }
  }
}

function connected(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path, () => resolve(socket));
    socket.on('error', () => resolve(undefined));
  });
}

function qemuArguments({
  kernelDir,
  dir,
  init,
  modules,
  network,
  disks = [],
  countsInstructions,
}: MachineOptions) {
  const program = ['/bin/sh', join(TOP, 'test/fixtures/vm', init), dir].join(',');
  const kernelOptions = [
    'console=ttyS0 quiet panic=-1 mitigations=off no_timer_check cryptomgr.notests=1',
    `with=${modules.join(',')} then=${program}`,
  ];
  return [
    ...'-nodefaults -no-user-config -no-reboot -display none'.split(' '),
    ...'-accel tcg,thread=single -cpu max -smp 1 -m 1024'.split(' '),
    ...(countsInstructions ? ['-icount', 'shift=0'] : []),
    ...['-kernel', join(kernelDir, 'kernel'), '-initrd', join(kernelDir, 'initrd')],
    ...['-append', kernelOptions.join(' ')],
    '-virtfs',
    'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap',
    ...['-serial', `file:${join(dir, 'console')}`],
    ...['-monitor', `unix:${join(dir, 'monitor')},server=on,wait=off`],
    ...['-device', 'virtio-serial-pci'],
    ...['-chardev', `socket,id=shell,path=${join(dir, 'shell')},server=on,wait=off`],
    ...['-device', 'virtserialport,chardev=shell,name=shell'],
    ...['-netdev', `user,id=net,restrict=on,${network}`],
    ...['-device', 'virtio-net-pci,netdev=net,romfile='],
    ...disks.flatMap((disk) => ['-drive', `if=virtio,format=raw,file=${disk.url}`]),
  ];
}
