// SPDX-License-Identifier: GPL-3.0-or-later
/** What may become of a handle, by who was killed where, and what was going on. */
import type { End, Kind } from './handle.js';

export type Victim = 'smbd' | 'keeper' | 'persistd';
export type Allowed = 'resumed' | 'ended' | 'either';

export interface Case {
  scenario: string;
  point: string;
  victim: Victim;
  kind: Kind;
  durability: 'process' | 'host';
  /** Its client was gone before anybody was killed. */
  wasAway: boolean;
  /** What its client did to it. */
  end: End | null;
  isTooEarly: boolean;
}

type Condition = { [K in keyof Case]?: RegExp | Case[K] };

export interface Rule {
  when: Condition;
  allows: Allowed;
  /** For people; of docs/outcomes.md, docs/recovery.md and docs/limits.md. */
  why: string;
}

/** Where of two keepers one is killed, the other has everything. */
const KEEPER_POINTS = /^(keeper\.|handover\.before-fork|takeover\.in-command)/;
const BOTH_KILLED =
  'persistd and fdkeeper were killed a moment after its client went: docs/recovery.md';
const ANOTHER_CAME = 'another client came: docs/outcomes.md';

/** The first that fits. */
export const RULES: readonly Rule[] = [
  {
    when: { scenario: /^(own orphan|take over)$/, victim: 'persistd' },
    allows: 'either',
    why: 'without persistd nobody ended it: docs/limits.md',
  },
  { when: { end: 'closed' }, allows: 'ended', why: 'its client ended it' },
  { when: { end: 'perhaps closed' }, allows: 'either', why: 'its client was ending it' },
  { when: { scenario: 'expire' }, allows: 'ended', why: 'its time has passed' },
  {
    when: { scenario: /^(contend|change|unlink)$/, kind: 'durable' },
    allows: 'either',
    why: ANOTHER_CAME,
  },
  {
    when: { scenario: 'read beside', victim: 'smbd' },
    allows: 'either',
    why: 'the newcomer was killed before it was put back: docs/limits.md',
  },
  {
    when: { scenario: 'opened without the module' },
    allows: 'either',
    why: 'opened through a share without the module: docs/outcomes.md',
  },
  {
    when: { scenario: 'local process', kind: 'durable' },
    allows: 'either',
    why: 'a local process came: docs/local-access.md',
  },
  {
    when: { isTooEarly: true, kind: 'durable' },
    allows: 'either',
    why: 'its client returned while persistd or fdkeeper was away: as on stock',
  },
  {
    when: { point: KEEPER_POINTS, scenario: /^resume/, kind: 'durable' },
    allows: 'either',
    why: 'fdkeeper was killed while its client returned: as on stock',
  },
  {
    when: { scenario: /^keeper starts/, victim: 'persistd', durability: 'process', wasAway: true },
    allows: 'either',
    why: BOTH_KILLED,
  },
  {
    when: { scenario: /^persistd starts/, victim: 'keeper', durability: 'process', wasAway: true },
    allows: 'either',
    why: BOTH_KILLED,
  },
  {
    when: { point: KEEPER_POINTS, scenario: /^(drop|child killed)/, durability: 'process' },
    allows: 'either',
    why: 'fdkeeper was killed before its smbd child had told all: docs/recovery.md',
  },
  {
    when: { point: KEEPER_POINTS, scenario: /^drop/, kind: /resilient|persistent/ },
    allows: 'either',
    why: 'fdkeeper did not answer at the drop: docs/limits.md',
  },
  { when: {}, allows: 'resumed', why: 'promised' },
];

const fits = (one: Case, when: Condition): boolean =>
  Object.entries(when).every(([key, wanted]) => {
    const value = one[key as keyof Case];
    return wanted instanceof RegExp ? wanted.test(String(value)) : value === wanted;
  });

export function ruleOf(one: Case): Rule {
  const rule = RULES.find(({ when }) => fits(one, when));
  if (rule === undefined) throw new Error('the last rule fits all');
  return rule;
}

export function victimOf(point: string): Victim {
  if (point.startsWith('persistd.')) return 'persistd';
  return /^(keeper|handover|takeover)\./.test(point) ? 'keeper' : 'smbd';
}

/** The keeper that had the descriptors, and none that took over, is gone. */
export const isKeeperLost = ({ point, scenario }: Pick<Case, 'point' | 'scenario'>): boolean =>
  KEEPER_POINTS.test(point) || scenario.startsWith('keeper starts');

/** Of an upgrade, in which there are two keepers. */
export const isOfTwo = (point: string): boolean => /^(handover|takeover)\./.test(point);
