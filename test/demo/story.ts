// SPDX-License-Identifier: GPL-3.0-or-later
/** Tells a story in steps, each with what proves it, in 80 columns. */
import { stripVTControlCharacters } from 'node:util';
import wrapAnsi from 'wrap-ansi';

const COLUMNS = 80;
const INDENT = '      ';

export class Story {
  readonly #print: (line: string) => void;
  #steps = 0;
  #proofs = 0;
  #failed = 0;

  constructor(print: (line: string) => void = console.log) {
    this.#print = print;
  }

  get proofs(): number {
    return this.#proofs;
  }

  get failed(): number {
    return this.#failed;
  }

  say(text: string): void {
    this.#print(wrapAnsi(text, COLUMNS));
  }

  step(text: string): void {
    this.#steps += 1;
    this.#print('');
    this.say(`${this.#steps}. ${text}`);
  }

  /** One claim with its evidence; a false one is shown and remembered. */
  prove(claim: string, isTrue: boolean, evidence: string): void {
    this.#proofs += 1;
    if (!isTrue) this.#failed += 1;
    this.#print(`   ${isTrue ? '✓' : '✗ NOT'} ${claim}`);
    for (const line of wrapAnsi(evidence, COLUMNS - INDENT.length).split('\n')) {
      this.#print(`${INDENT}${line}`);
    }
  }

  /** The output of a command, as it would be typed. */
  command(typed: string, output: string): void {
    this.#print(`   $ ${typed}`);
    for (const line of stripVTControlCharacters(output).trimEnd().split('\n')) {
      this.#print(`   ${line}`);
    }
  }
}
