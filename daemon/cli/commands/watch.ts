// SPDX-License-Identifier: GPL-3.0-or-later

import { join } from 'node:path';
import stringWidth from 'string-width';
import type { Argv } from 'yargs';
import { Subscriber } from 'zeromq';
import type { WatchEvent } from '../../src/shared/admin.js';
import { VIEW_SCHEMA_VERSION } from '../../src/shared/handle-view.js';
import { decodeMessage } from '../../src/shared/message.js';
import { type GlobalOptions, probeSocket } from '../connection.js';
import { errnoOf } from '../errors.js';
import { shortId } from '../ids.js';
import { note, print } from '../output.js';
import { PAGE_COLUMNS, padTo, safeText, shortenMiddle } from '../text.js';

const EVENT_COLUMNS = 11;
const NAME_COLUMNS = 8;
const REASON_COLUMNS = 15;
const MIN_PATH_COLUMNS = 8;

export function addWatch(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command(
    'watch',
    'Print a line per event, until interrupted',
    (command) =>
      command.options({
        json: { type: 'boolean', default: false, describe: 'Print one JSON object per line' },
        wide: { type: 'boolean', default: false, describe: 'Shorten nothing to fit 80 columns' },
      }),
    async (args) => {
      await probeSocket(args.runDir, 'watch.sock');
      const socket = new Subscriber({ linger: 0 });
      const end = () => socket.close();
      process.once('SIGINT', end);
      process.once('SIGTERM', end);
      const gaps = new GapReporter();
      socket.events.on('disconnect', () => gaps.outage());
      socket.events.on('handshake', () => note('persistctl: watching'));
      socket.subscribe();
      socket.connect(`ipc://${join(args.runDir, 'watch.sock')}`);
      try {
        for await (const [bytes] of socket) {
          const { seq, body } = decodeMessage(bytes ?? Buffer.alloc(0));
          const event = body as unknown as WatchEvent;
          gaps.received(seq);
          print(args.json ? jsonLine(event) : eventLine(event, args.wide));
        }
      } catch (error) {
        // The socket was closed by a signal while it waited.
        if (errnoOf(error) !== 'EBADF') {
          throw error;
        }
      }
    },
  );
}

/** Says on stderr what is missing from the events: ZeroMQ drops them without a word. */
class GapReporter {
  private expectedSeq: number | undefined;

  outage(): void {
    this.expectedSeq = undefined;
    note('persistctl: persistd is gone; waiting for it, events meanwhile are not shown');
  }

  received(seq: number): void {
    const lost = seq - (this.expectedSeq ?? seq);
    if (lost > 0) {
      note(`persistctl: too slow to show everything, ${lost} events are missing here`);
    }
    this.expectedSeq = seq + 1;
  }
}

function jsonLine(event: WatchEvent): string {
  return JSON.stringify({ schemaVersion: VIEW_SCHEMA_VERSION, ...event });
}

function eventLine(event: WatchEvent, wide: boolean): string {
  const time = new Date(event.at).toTimeString().slice(0, 8);
  const shorten = (text: string | undefined, columns: number) =>
    wide ? safeText(text ?? '') : shortenMiddle(safeText(text ?? ''), columns);
  const start = [
    time,
    padTo(event.event, EVENT_COLUMNS),
    padTo(shortId(event.id ?? ''), NAME_COLUMNS),
    padTo(shorten(event.user, NAME_COLUMNS), NAME_COLUMNS),
    '',
  ].join('  ');
  const end = event.reason === undefined ? '' : ` (${shorten(event.reason, REASON_COLUMNS)})`;
  const left = PAGE_COLUMNS - stringWidth(start) - stringWidth(end);
  return `${start}${shorten(event.path, Math.max(MIN_PATH_COLUMNS, left))}${end}`.trimEnd();
}
