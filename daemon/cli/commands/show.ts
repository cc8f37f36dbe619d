// SPDX-License-Identifier: GPL-3.0-or-later

import type { Argv } from 'yargs';
import type { HandleView } from '../../src/shared/handle-view.js';
import { type GlobalOptions, withConnection } from '../connection.js';
import { durationText, relativeText } from '../durations.js';
import { explained } from '../explain.js';
import { parseId } from '../ids.js';
import { print, printJson } from '../output.js';
import { locksText, oplockText, refusedText, shareModeText } from '../protection.js';
import { padTo, safeText } from '../text.js';

const LABEL_COLUMNS = 14;

export function addShow(argv: Argv<GlobalOptions>): Argv<GlobalOptions> {
  return argv.command(
    'show <id>',
    'Show all there is to know about one handle',
    (command) =>
      command
        .positional('id', {
          type: 'string',
          demandOption: true,
          describe: "The handle's id, or as much of it as is unique",
          coerce: parseId,
        })
        .option('json', {
          type: 'boolean',
          default: false,
          describe: 'Print one JSON object',
        }),
    async (args) => {
      const { handle } = await withConnection(args, (connection) =>
        explained(`show ${args.id}`, connection.request('show', { id: args.id })),
      );
      if (args.json) {
        printJson({ handle });
      } else {
        print(describe(handle, Date.now()));
      }
    },
  );
}

function describe(handle: HandleView, nowMs: number): string {
  const { fileid, server_id: server } = handle;
  const lines: [string, string | null][] = [
    ['Id', handle.id],
    ['Kind', kindText(handle)],
    ['State', stateText(handle)],
    ['Reason', handle.reason],
    ['Share', handle.share],
    ['File', handle.unlinked ? `${handle.path} (deleted, its data is kept)` : handle.path],
    ['User', `${handle.username} (uid ${handle.uid})`],
    ['Client', [handle.remote_machine, handle.hostname && `(${handle.hostname})`].join(' ')],
    ['Opened', momentText(handle.opened_at, nowMs)],
    ['Disconnected', handle.disconnected_at && momentText(handle.disconnected_at, nowMs)],
    ['Expires', handle.expires_at && momentText(handle.expires_at, nowMs)],
    ['Timeout', durationText(handle.timeout_ms)],
    ['Resumes', String(handle.resumes)],
    ['Share mode', shareModeText(handle)],
    ['Locks', locksText(handle)],
    ['Oplock', oplockText(handle)],
    ['Lease key', handle.lease_key],
    ['Refused', refusedText(handle)],
    ['Access mask', handle.access_mask],
    ['Client GUID', handle.client_guid],
    ['Create GUID', handle.create_guid],
    ['App instance', appInstanceText(handle)],
    ['Inode', `${fileid.inode} on device ${fileid.devid}`],
    ['smbd', `pid ${server.pid}, unique id ${server.unique_id}`],
    ['Descriptor', descriptorText(handle)],
    ['Outlives', handle.durability === 'host' ? 'a reset of the host' : 'processes only'],
  ];
  return lines
    .filter((line): line is [string, string] => line[1] !== null)
    .map(([label, value]) => `${padTo(label, LABEL_COLUMNS)}${safeText(value).trimEnd()}`)
    .join('\n');
}

function kindText({ kind, durableVersion }: HandleView): string {
  if (durableVersion === 0) return kind;
  const durable = `durable v${durableVersion}`;
  return kind === 'durable' ? durable : `${kind}, opened as ${durable}`;
}

function appInstanceText(handle: HandleView): string | null {
  const { app_instance_id: id, app_instance_version: version } = handle;
  return version === null ? id : `${id}, version ${version}`;
}

function descriptorText({ retained, remade }: HandleView): string {
  if (!retained) return 'not kept';
  return remade ? 'kept by the keeper, made again after it was lost' : 'kept by the keeper';
}

function stateText(handle: HandleView): string {
  return handle.orphan ? `${handle.state} (its smbd child died)` : handle.state;
}

function momentText(rfc3339: string, nowMs: number): string {
  return `${relativeText(Date.parse(rfc3339), nowMs)} (${rfc3339})`;
}
