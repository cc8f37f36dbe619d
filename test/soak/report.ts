// SPDX-License-Identifier: GPL-3.0-or-later
/** What a run amounts to: counters, what went wrong, and each client's last operations. */
const REMEMBERED = 30;

export class Report {
  readonly errors: string[] = [];
  operations = 0;
  drops = 0;
  kills = 0;
  resumes = 0;
  /** Connections that smbd ended by itself. */
  hangUps = 0;
  longestMs = 0;
  longestOperation = '';
  /** Refused resumes, by the rule that explains them. */
  readonly refused = new Map<string, number>();
  readonly statuses = new Map<string, number>();
  readonly #histories = new Map<number, string[]>();
  readonly #startMs = performance.now();
  readonly #trace: ((line: string) => void) | undefined;

  /** `trace` takes each line of each client. */
  constructor(trace?: (line: string) => void) {
    this.#trace = trace;
  }

  get seconds(): number {
    return (performance.now() - this.#startMs) / 1000;
  }

  note(client: number, what: string): void {
    const history = this.#histories.get(client) ?? [];
    const line = `${this.seconds.toFixed(3)} ${what}`;
    this.#trace?.(`client ${client}: ${line}\n`);
    history.push(line);
    if (history.length > REMEMBERED) history.shift();
    this.#histories.set(client, history);
  }

  answered(client: number, what: string, code: string, tookMs: number): void {
    this.operations += 1;
    const key = `${what.split(' ')[0]} ${code}`;
    this.statuses.set(key, (this.statuses.get(key) ?? 0) + 1);
    if (tookMs > this.longestMs) {
      this.longestMs = tookMs;
      this.longestOperation = what;
    }
    this.note(client, `${what}: ${code} (${Math.round(tookMs)} ms)`);
  }

  refusedBy(rule: string): void {
    this.refused.set(rule, (this.refused.get(rule) ?? 0) + 1);
  }

  error(client: number | null, what: string): void {
    const histories = client === null ? [] : (this.#histories.get(client) ?? []);
    const who = client === null ? '' : `client ${client}: `;
    const at = this.seconds.toFixed(3);
    this.errors.push([`${at} ${who}${what}`, ...histories.map((line) => `    ${line}`)].join('\n'));
  }

  progress(): string {
    const refused = [...this.refused.values()].reduce((sum, n) => sum + n, 0);
    return (
      `${Math.floor(this.seconds)} s: ${this.operations} operations, ${this.drops} drops, ` +
      `${this.kills} kills, ${this.resumes} resumes, ${refused} refused, ${this.errors.length} errors`
    );
  }

  summary(): string {
    const tally = (of: Map<string, number>) =>
      [...of]
        .sort(([, a], [, b]) => b - a)
        .map(([what, n]) => `  ${String(n).padStart(7)}  ${what}`);
    return [
      this.progress(),
      `connections that smbd ended: ${this.hangUps}`,
      `longest operation: ${this.longestOperation}, ${Math.round(this.longestMs)} ms`,
      'resumes refused by rule:',
      ...tally(this.refused),
      'answers:',
      ...tally(this.statuses),
      ...this.errors.map((error) => `ERROR ${error}`),
    ].join('\n');
  }
}
