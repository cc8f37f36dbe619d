// SPDX-License-Identifier: GPL-3.0-or-later
/** What the figures were measured on. */
import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release } from 'node:os';

export interface Machine {
  date: string;
  cpu: string;
  cpus: number;
  kernel: string;
  samba: string;
  node: string;
  /** Of the last minute before the benchmark: others' work makes figures worse. */
  load: number;
}

export function machine(): Machine {
  const all = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: all[0]?.model.trim() ?? 'unknown',
    cpus: all.length,
    kernel: release(),
    samba: execFileSync('/usr/sbin/smbd', ['-V'], { encoding: 'utf8' }).trim(),
    node: process.version,
    load: loadavg()[0] ?? 0,
  };
}

export function renderMachine(of: Machine): string {
  return [
    `${of.date}, ${of.cpus} x ${of.cpu}, load before: ${of.load.toFixed(1)}`,
    `Linux ${of.kernel}, Samba ${of.samba.replace(/^Version /, '')}, Node ${of.node}`,
  ].join('\n');
}
