// SPDX-License-Identifier: GPL-3.0-or-later
// Which log line an event is worth.

import type { Logger } from 'pino';
import type { WatchEvent, WatchEventName } from './shared/admin.js';

const LEVELS: Readonly<Record<WatchEventName, 'debug' | 'info' | 'warn' | 'error'>> = {
  grant: 'debug',
  lock: 'debug',
  unlock: 'debug',
  rename: 'debug',
  unlink: 'debug',
  close: 'debug',
  disconnect: 'info',
  resume: 'info',
  import: 'info',
  remade: 'info',
  refuse: 'info',
  conflict: 'info',
  'level-lost': 'info',
  expire: 'info',
  supersede: 'info',
  extend: 'info',
  fail: 'warn',
  unsafe: 'warn',
  'keeper-lost': 'warn',
  'keeper-back': 'info',
  'store-failing': 'error',
  'store-back': 'info',
};

export function logEvent(log: Logger, { at: _at, event, ...subject }: WatchEvent): void {
  const level = event === 'close' && subject.reason === 'admin' ? 'info' : LEVELS[event];
  log[level](subject, event);
}
