// SPDX-License-Identifier: GPL-3.0-or-later
// Every change of a handle's state goes through `transition`.
//
//   connected ──disconnect──▶ disconnected ──claim──▶ claimed ──resumed──▶ connected
//                                   ▲                    │
//                                   └──lapse, refused────┘
//   any of them ──end──▶ expired (from disconnected only), superseded, closed, failed

import { type FileStat, type ServerId, sameServer } from '../wire/records.js';
import { type Disconnect, type EndedState, isEnded, type State } from './handle.js';

export type Step =
  /** smbd `server` says that it holds the handle. */
  | { readonly step: 'grant' | 'resumed'; readonly server: ServerId }
  /** Said by smbd, or seen by the keeper (`server` null). */
  | {
      readonly step: 'disconnect';
      readonly server: ServerId | null;
      readonly disconnect: Disconnect;
    }
  | { readonly step: 'claim'; readonly by: ServerId; readonly claimDeadlineNs: bigint }
  | { readonly step: 'lapse' }
  | { readonly step: 'refused'; readonly server: ServerId }
  | { readonly step: 'extend'; readonly deadlineNs: bigint }
  | { readonly step: 'writeTime'; readonly mtimeNs: bigint }
  /** Its descriptor is there, and the file is like this. */
  | { readonly step: 'found'; readonly stat: FileStat }
  /** `server` null: not an smbd child's word, so nobody's holding it matters. */
  | { readonly step: 'end'; readonly server: ServerId | null; readonly ended: EndedState };

export type Transition =
  | { readonly legal: true; readonly state: State }
  | { readonly legal: false; readonly from: State['name']; readonly step: Step['step'] };

/** `holder` is the smbd child that the handle's record names. */
export function transition(state: State, holder: ServerId, step: Step): Transition {
  const next = isEnded(state) ? null : nextState(state, holder, step);
  return next === null
    ? { legal: false, from: state.name, step: step.step }
    : { legal: true, state: next };
}

type Live = Exclude<State, EndedState>;

function nextState(state: Live, holder: ServerId, step: Step): State | null {
  switch (step.step) {
    case 'grant':
      return holds(state, holder, step.server) ? { name: 'connected' } : null;
    case 'resumed':
      return state.name === 'claimed' || holds(state, holder, step.server)
        ? { name: 'connected' }
        : null;
    case 'disconnect':
      return disconnected(state, holder, step.server, step.disconnect);
    case 'claim':
      return state.name === 'disconnected'
        ? {
            name: 'claimed',
            by: step.by,
            claimDeadlineNs: step.claimDeadlineNs,
            disconnect: state.disconnect,
          }
        : null;
    case 'lapse':
      return state.name === 'claimed' ? fallBack(state.disconnect) : null;
    case 'refused':
      return refused(state, step.server);
    case 'extend':
      return state.name === 'disconnected'
        ? fallBack({ ...state.disconnect, deadlineNs: step.deadlineNs })
        : null;
    case 'writeTime':
      return state.name === 'disconnected'
        ? fallBack(atTime(state.disconnect, step.mtimeNs))
        : null;
    case 'found':
      return state.name === 'connected'
        ? null
        : {
            ...state,
            disconnect: { ...state.disconnect, stat: state.disconnect.stat ?? step.stat },
          };
    case 'end':
      return mayEnd(state, holder, step.server, step.ended) ? step.ended : null;
  }
}

function atTime(disconnect: Disconnect, mtimeNs: bigint): Disconnect {
  const { stat } = disconnect;
  return stat === null ? disconnect : { ...disconnect, stat: { ...stat, mtimeNs } };
}

function fallBack(disconnect: Disconnect): State {
  return { name: 'disconnected', disconnect };
}

/**
 * May `server` say that it holds the handle now? Events of one smbd child come
 * in order, those of two do not: what a former holder says late is void. A claim
 * that lapsed, or that a restart of persistd forgot, may still come true, also
 * when another one was granted since: smbd's records let only one of them resume.
 */
function holds(state: Live, holder: ServerId, server: ServerId): boolean {
  switch (state.name) {
    case 'connected':
      return sameServer(holder, server);
    case 'disconnected':
      return true;
    case 'claimed':
      return sameServer(state.by, server);
  }
}

/** smbd may tell more about what the keeper saw first, hence disconnected twice. */
function disconnected(
  state: Live,
  holder: ServerId,
  server: ServerId | null,
  disconnect: Disconnect,
): State | null {
  if (server === null) return state.name === 'connected' ? fallBack(disconnect) : null;
  if (state.name === 'claimed' || !sameServer(holder, server)) return null;
  return fallBack(disconnect);
}

function refused(state: Live, server: ServerId): State | null {
  if (state.name === 'disconnected') return state;
  return state.name === 'claimed' && sameServer(state.by, server)
    ? fallBack(state.disconnect)
    : null;
}

function mayEnd(
  state: Live,
  holder: ServerId,
  server: ServerId | null,
  ended: EndedState,
): boolean {
  if (ended.name === 'expired') return state.name === 'disconnected';
  return state.name !== 'connected' || server === null || sameServer(holder, server);
}
