// SPDX-License-Identifier: GPL-3.0-or-later
/** docs/outcomes.md names tests: they exist. */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';

const table = readFileSync('docs/outcomes.md', 'utf8');
const test = suite('outcomes table');

/** Letters, as the document's own table has them. */
const files = new Map(
  [...table.matchAll(/\| ([A-Z]) \| `([a-z-]+\.test\.ts)`/g)].map(([, letter, file]) => [
    letter ?? '',
    `test/${file}`,
  ]),
);
const named = [...table.matchAll(/\b([A-Z]): "([^"]+)"/g)].map(([, letter = '', name = '']) => ({
  letter,
  name,
}));

const quoted = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** The names that a file gives its tests; where one is made of parts, any part will do. */
function namesIn(file: string): RegExp[] {
  const own = readFileSync(file, 'utf8');
  // the outages of persistd and of the keeper share theirs
  const source = own.includes('./lib/outages.js')
    ? readFileSync('test/lib/outages.ts', 'utf8')
    : own;
  return [...source.matchAll(/\btest\(\s*(['"`])((?:\\.|(?!\1)[^\\])+)\1/g)].map(
    ([, , name = '']) => {
      const literal = name.split(/\$\{[^}]*\}/).map((part) => quoted(part.replace(/\\(.)/g, '$1')));
      return new RegExp(`^${literal.join('.+')}$`);
    },
  );
}

test('the document names tests of files that it lists', () => {
  assert.ok(named.length > 40, `${named.length} tests`);
  for (const { letter, name } of named) assert.ok(files.has(letter), `${letter}: "${name}"`);
});

for (const [letter, file] of files) {
  test(`the tests of ${file} exist`, () => {
    const known = namesIn(file);
    assert.ok(known.length > 0);
    const mine = named.filter((one) => one.letter === letter);
    assert.ok(mine.length > 0, 'it is listed for nothing');
    for (const { name } of mine)
      assert.ok(
        known.some((one) => one.test(name)),
        `"${name}"`,
      );
  });
}

test.run();
