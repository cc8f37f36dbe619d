// SPDX-License-Identifier: GPL-3.0-or-later
/** What persistd publishes, as `persistctl watch --json` prints it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { WatchEvent, WatchEventName } from '../../daemon/src/shared/admin.js';
import type { DevSamba } from './dev-samba.js';

export interface Watch {
  readonly events: readonly WatchEvent[];
  /** The first of its name for a path that ends so, and when it came. */
  next(event: WatchEventName, pathEnd: string): Promise<WatchEvent>;
  end(): Promise<void>;
}

export async function watch(samba: DevSamba): Promise<Watch> {
  const program = join(process.cwd(), 'build/daemon/cli/main.js');
  const child = spawn(
    process.execPath,
    [program, '--run-dir', join(samba.dir, 'run'), 'watch', '--json'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const events: WatchEvent[] = [];
  createInterface(child.stdout).on('line', (line) => events.push(JSON.parse(line)));
  await once(createInterface(child.stderr), 'line'); // it says that it watches
  return {
    events,
    next: (event, pathEnd) =>
      samba.until(`${event} of ${pathEnd}`, () =>
        events.find((e) => e.event === event && e.path?.endsWith(pathEnd)),
      ),
    end: async () => {
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}
