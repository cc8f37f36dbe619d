// SPDX-License-Identifier: GPL-3.0-or-later
/** The module's side of the messages, in C, against the golden bytes; wire.test.ts is the other. */
import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';

interface Golden {
  name: string;
  type: string;
  hex: string;
  value: unknown;
}

interface ServerId {
  pid: number;
  taskId: number;
  vnn: number;
  uniqueId: number | { int: string };
}

interface VerdictBody {
  verdict: string;
  reason?: string;
  final?: boolean;
  levelLost?: boolean;
  ended?: number[] | number;
  serverId?: ServerId;
  flushed?: boolean;
  more?: boolean;
  handles?: ImportBody[];
  refused?: boolean;
  holders?: { cookie: { bin: string }; serverId: ServerId }[];
}

interface ImportBody {
  disconnectedRealtimeNs: { int: string };
  protected: boolean;
  levelLost: boolean;
  locks: { start: number; count: number | { int: string }; exclusive: boolean }[];
}

const FUZZ_ROUNDS = 200_000;
const REPLIES = 'welcome ack flushing arrived contended imports takenOver verdict error'.split(' ');
const golden: Golden[] = JSON.parse(readFileSync('test/golden/messages.json', 'utf8'));
const sent = golden.filter(({ type }) => !REPLIES.includes(type));
const replies = golden.filter(({ type }) => REPLIES.includes(type));
const recordHex = golden.find(({ type }) => type === 'record')?.hex ?? '';
const test = suite('golden');

/** What golden_wire prints; the sanitizers make its exit status another than 0. */
function goldenWire(args: string[], input: Golden[] = []): string {
  const { status, stdout, stderr } = spawnSync('build/test-tools/golden_wire', args, {
    input: input.map(({ name, hex }) => `${name}\t${hex}\n`).join(''),
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  // a header that claims 100 GB is refused for want of memory, which is right
  const said = stderr.split('\n').filter((line) => !/ failed to allocate /.test(line));
  assert.equal(status, 0, said.join('\n'));
  return stdout;
}

function linesOf(output: string): Map<string, string> {
  const lines = output.trimEnd().split('\n');
  return new Map(lines.map((line) => line.split('\t') as [string, string]));
}

/** What the module is to understand of a reply, in golden_wire's words. */
function understood({ type, value }: Golden): string {
  const [, , seq, body] = value as [number, string, number, VerdictBody];
  const words = [type, seq];
  if (Array.isArray(body.ended)) words.push(...body.ended.flatMap((id) => ['ended', id]));
  if (type === 'verdict') words.push(body.verdict);
  if (body.levelLost) words.push('level-lost');
  if (body.reason !== undefined) words.push(body.reason);
  if (body.final) words.push('final');
  if (body.flushed) words.push('flushed');
  if (body.refused) words.push('refused');
  for (const { cookie, serverId } of body.holders ?? []) {
    words.push('held', cookie.bin.slice(0, 2), ...holder(serverId));
  }
  if (body.more !== undefined) words.push(body.more ? 'more' : 'all');
  for (const handle of body.handles ?? []) words.push(...importWords(handle));
  if (body.serverId) words.push(...holder(body.serverId));
  return words.join(' ');
}

function importWords({
  disconnectedRealtimeNs,
  protected: isProtected,
  levelLost,
  locks,
}: ImportBody): (string | number)[] {
  const words = ['handle', recordHex, disconnectedRealtimeNs.int];
  const flags = [Number(isProtected), Number(levelLost)];
  const lockWords = locks.flatMap(({ start, count, exclusive }) => {
    return ['lock', start, typeof count === 'number' ? count : count.int, Number(exclusive)];
  });
  return [...words, ...flags, ...lockWords];
}

function holder({ pid, taskId, vnn, uniqueId }: ServerId): (string | number)[] {
  return ['holder', pid, taskId, vnn, typeof uniqueId === 'number' ? uniqueId : uniqueId.int];
}

const packed = linesOf(goldenWire(['messages']));
for (const { name, hex } of sent) {
  test(`the module sends these bytes: ${name}`, () => assert.equal(packed.get(name), hex));
}

test('the module sends no message without golden bytes', () => {
  assert.deepEqual([...packed.keys()].sort(), sent.map(({ name }) => name).sort());
});

const parsed = linesOf(goldenWire(['replies'], replies));
for (const reply of replies) {
  test(`the module understands: ${reply.name}`, () => {
    assert.equal(parsed.get(reply.name), understood(reply));
  });
}

test('the module refuses what is no reply', () => {
  const refused = linesOf(goldenWire(['replies'], sent));
  for (const { name } of sent) assert.equal(refused.get(name), 'refused', name);
});

test('damaged replies are parsed or refused, and nothing else', () => {
  const output = goldenWire(['fuzz', '1', String(FUZZ_ROUNDS)], replies);
  const [tried = 0, taken = 0] = (output.match(/\d+/g) ?? []).map(Number);
  assert.ok(tried > FUZZ_ROUNDS, output);
  assert.ok(taken > 0 && taken < tried, output);
});

test.run();
