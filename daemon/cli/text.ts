// SPDX-License-Identifier: GPL-3.0-or-later

import stringWidth from 'string-width';
import wrapAnsi from 'wrap-ansi';

export const PAGE_COLUMNS = 80;

// C0, DEL, C1, and the characters that reorder or hide what follows them (bidirectional overrides,
// zero-width ones, line and paragraph separators, the byte order mark): the name of a file must
// not be able to drive the terminal, nor look like another name.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** Text from outside, safe to print on a terminal. A backslash stays: Windows clients' names. */
export function safeText(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return (
      SHORT_ESCAPES[character] ??
      (code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`)
    );
  });
}

/** Shortens text in its middle to at most `columns` of the terminal; a path's end says most. */
export function shortenMiddle(text: string, columns: number): string {
  if (stringWidth(text) <= columns) {
    return text;
  }
  const characters = Array.from(new Intl.Segmenter().segment(text), (part) => part.segment);
  const headColumns = Math.floor((columns - 1) / 3);
  const head = takeColumns(characters, headColumns);
  const tail = takeColumns(characters.reverse(), columns - 1 - stringWidth(head.join('')));
  return `${head.join('')}…${tail.reverse().join('')}`;
}

function takeColumns(characters: readonly string[], columns: number): string[] {
  const taken: string[] = [];
  let used = 0;
  for (const character of characters) {
    used += stringWidth(character);
    if (used > columns) {
      break;
    }
    taken.push(character);
  }
  return taken;
}

export function padTo(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - stringWidth(text)));
}

/** Wraps prose to the page, every line indented alike. */
export function wrapIndented(text: string, indent: number): string {
  const margin = ' '.repeat(indent);
  return wrapAnsi(text, PAGE_COLUMNS - indent, { hard: false })
    .split('\n')
    .map((line) => margin + line)
    .join('\n');
}
