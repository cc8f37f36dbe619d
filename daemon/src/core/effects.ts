// SPDX-License-Identifier: GPL-3.0-or-later
// What the core wants done. The shells around it do it.

import type { WatchEvent } from '../shared/admin.js';
import type { TakeoverAnswer, Verdict } from '../wire/smbd.js';
import type { Handle, State } from './handle.js';
import type { Step } from './lifecycle.js';

export type Effect =
  /** The handle changed: store it as it is when its batch is committed. */
  | { readonly effect: 'put'; readonly handle: Handle }
  | { readonly effect: 'delete'; readonly id: string }
  /** Tell the keeper to close the descriptor, then report to `Core.dropped`. */
  | { readonly effect: 'drop'; readonly id: string }
  /** Tell the keeper to watch the file, then report to `Core.watched`. */
  | {
      readonly effect: 'watch';
      readonly id: string;
      /** The disconnect that it is for, by its CLOCK_MONOTONIC. */
      readonly sinceNs: bigint;
    }
  /** Ask the keeper what it takes to open the file again, then report to `Core.described`. */
  | { readonly effect: 'describe'; readonly id: string }
  /** Have the keeper make the descriptor again, then report to `Core.remade`. */
  | { readonly effect: 'remake'; readonly handle: Handle }
  /** Tell the keeper that it has all that can be made again. */
  | { readonly effect: 'settled' }
  | { readonly effect: 'publish'; readonly event: WatchEvent }
  /** The answer to the claim that came with this ticket. */
  | {
      readonly effect: 'verdict';
      readonly ticket: number;
      readonly id: string;
      readonly verdict: Verdict;
      /** It rests on what changed in the same batch, which must be committed first. */
      readonly restsOnBatch: boolean;
    }
  /** The answer to a takeover, due when all drops so far are done. */
  | { readonly effect: 'takenOver'; readonly ticket: number; readonly answer: TakeoverAnswer }
  | {
      readonly effect: 'illegal';
      readonly id: string;
      readonly from: State['name'];
      readonly step: Step['step'];
    };
