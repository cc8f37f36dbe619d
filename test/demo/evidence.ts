// SPDX-License-Identifier: GPL-3.0-or-later
/** What the kernel says about a file that smbd and the keeper have open. */
import { readlinkSync, statSync } from 'node:fs';
import type { DevSamba } from '../lib/dev-samba.js';
import { fdtool } from '../lib/keeper-parts.js';

export interface Fact {
  holds: boolean;
  evidence: string;
}

export class KeptFile {
  readonly #samba: DevSamba;
  readonly #dev: number;
  readonly #ino: number;

  constructor(samba: DevSamba, path: string) {
    this.#samba = samba;
    const { dev, ino } = statSync(path);
    this.#dev = dev;
    this.#ino = ino;
  }

  /** Whether the smbd child that serves the client has the keeper's file description. */
  isSharedWithKeeper(): Fact {
    const keeper = this.#samba.pid('keeper');
    for (const child of this.#samba.status().clientPids) {
      const answer = fdtool('same-description', child, keeper, this.#dev, this.#ino);
      const [verdict, fd, kept] = answer.split(' ');
      if (verdict === 'same') {
        return {
          holds: true,
          evidence: `kcmp(2): fd ${fd} of smbd ${child} = fd ${kept} of fdkeeper ${keeper}`,
        };
      }
    }
    return { holds: false, evidence: 'kcmp(2): no smbd child has it' };
  }

  /** Whether the keeper alone has the file open. */
  isOnlyInKeeper(): Fact {
    const keeper = this.#samba.pid('keeper');
    const [fd = ''] = this.#descriptors(keeper);
    const children = this.#samba.status().clientPids.flatMap((pid) => this.#descriptors(pid));
    if (fd === '') return { holds: false, evidence: `fdkeeper ${keeper} has no descriptor of it` };
    const target = readlinkSync(`/proc/${keeper}/fd/${fd}`).replace(
      `${this.#samba.dir}/shares/`,
      '',
    );
    return {
      holds: children.length === 0,
      evidence: `fdkeeper ${keeper}: fd ${fd} -> ${target}; smbd: ${children.length} descriptors`,
    };
  }

  #descriptors(pid: number): string[] {
    return fdtool('find-fd', pid, this.#dev, this.#ino).split('\n').filter(Boolean);
  }
}
