// SPDX-License-Identifier: GPL-3.0-or-later
/** What valgrind's memcheck says of an instance that ran with `dev-samba up --valgrind`. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Finding {
  /** As valgrind names it: InvalidRead, UninitCondition, Leak_DefinitelyLost ... */
  kind: string;
  what: string;
  /** Innermost first. */
  stack: { object: string; where: string }[];
}

/** Of all processes, which must have ended: memcheck looks for leaks at the end. */
export function findings(logDir: string): { processes: number; found: Finding[] } {
  const files = readdirSync(logDir).filter((name) => name.startsWith('memcheck.'));
  const found = files.flatMap((name) => {
    const xml = readFileSync(join(logDir, name), 'utf8');
    if (!xml.includes('</valgrindoutput>')) throw new Error(`${name} has no end`);
    return all(xml, 'error').map(finding);
  });
  return { processes: files.length, found };
}

export function passesThrough({ stack }: Finding, library: string): boolean {
  return stack.some(({ object }) => object.endsWith(`/${library}`));
}

export function describe({ kind, what, stack }: Finding): string {
  return `${kind}: ${what}\n${stack.map(({ where }) => `    ${where}`).join('\n')}`;
}

function finding(xml: string): Finding {
  const stack = all(all(xml, 'stack')[0] ?? '', 'frame').map((frame) => {
    const object = first(frame, 'obj');
    const line = first(frame, 'line');
    const place = line === '' ? object : `${first(frame, 'file')}:${line}`;
    return { object, where: `${first(frame, 'fn') || '?'} (${place})` };
  });
  return { kind: first(xml, 'kind'), what: first(xml, 'what') || first(xml, 'text'), stack };
}

/** Of the elements of that name, none of which holds another of that name. */
function all(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>(.*?)</${name}>`, 'gs'))].map((m) => m[1] ?? '');
}

function first(xml: string, name: string): string {
  return all(xml, name)[0] ?? '';
}
