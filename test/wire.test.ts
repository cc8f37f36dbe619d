// SPDX-License-Identifier: GPL-3.0-or-later
// The golden bytes were made by another msgpack implementation, so they show
// that both directions here agree with what C writes and reads.

import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Body,
  decodeMessage,
  encodeMessage,
  MAX_REQUEST_BYTES,
  MessageError,
  pack,
  unpack,
} from '../daemon/src/shared/message.js';
import { WireError } from '../daemon/src/wire/codec.js';
import { handleRecord } from '../daemon/src/wire/records.js';
import {
  decodeRequest,
  encodeRequest,
  encodeTakeoverAnswer,
  encodeVerdict,
  REFUSAL_REASONS,
  type RefusalReason,
  type TakeoverAnswer,
  type Verdict,
} from '../daemon/src/wire/smbd.js';

interface Golden {
  name: string;
  type: string;
  hex: string;
  value: unknown;
}

const golden = JSON.parse(readFileSync('test/golden/messages.json', 'utf8')) as Golden[];

const REQUESTS = ['hello', 'events', 'claim', 'arrive', 'contend', 'import', 'takeover'];

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** {bin: hex} is bytes, {int: decimal} an integer that JSON cannot hold. */
function fromDescription(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromDescription);
  if (!isObject(value)) return value;
  if (typeof value['bin'] === 'string') return Buffer.from(value['bin'], 'hex');
  if (typeof value['int'] === 'string') return BigInt(value['int']);
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, fromDescription(item)]),
  );
}

function find(name: string): Golden {
  const found = golden.find((one) => one.name === name);
  assert.ok(found, `golden message ${name}`);
  return found!;
}

function bodyOf(name: string): Body {
  return decodeMessage(Buffer.from(find(name).hex, 'hex')).body;
}

test('every message and event of the protocol has golden bytes', () => {
  const messages = new Set(golden.map(({ type }) => type));
  const replies = [
    'welcome',
    'ack',
    'flushing',
    'verdict',
    'arrived',
    'contended',
    'imports',
    'takenOver',
    'error',
  ];
  for (const type of [...REQUESTS, ...replies]) {
    assert.ok(messages.has(type), type);
  }
  const events = new Set<string>();
  for (const { type, hex } of golden) {
    if (type !== 'events') continue;
    const body = decodeMessage(Buffer.from(hex, 'hex')).body as { events: [string, unknown][] };
    for (const [event] of body.events) events.add(event);
  }
  assert.equal([...events].sort(), [
    ...['close', 'conflict', 'disconnect', 'grant', 'importFailed', 'imported', 'lock'],
    ...['rename', 'resumeFailed', 'resumed', 'sync', 'unlink', 'unlock', 'unsafe', 'writeTime'],
  ]);
});

for (const { name, hex, value, type } of golden) {
  test(`${name}: the description packs to the golden bytes`, () => {
    assert.is(pack(fromDescription(value)).toString('hex'), hex);
  });

  test(`${name}: the golden bytes unpack to the description`, () => {
    assert.is(pack(unpack(Buffer.from(hex, 'hex'))).toString('hex'), hex);
  });

  if (REQUESTS.includes(type)) {
    test(`${name}: decoded and encoded again it is the same bytes`, () => {
      const message = decodeMessage(Buffer.from(hex, 'hex'), MAX_REQUEST_BYTES);
      const request = decodeRequest(message.type, message.body);
      const again = encodeMessage(request.type, message.seq, encodeRequest(request));
      assert.is(again.toString('hex'), hex);
    });
  }
}

test('the deposited handle record decodes and encodes to the same bytes', () => {
  const { hex } = find('handle record as deposited with the keeper');
  const record = handleRecord.decode(unpack(Buffer.from(hex, 'hex')), 'record');
  assert.is(record.cookie, '000102030405060708090a0b0c0d0e0f');
  assert.is(record.serverId.uniqueId, 0x8123456789abcdefn);
  assert.is(pack(handleRecord.encode(record)).toString('hex'), hex);
});

test('verdicts are encoded as the golden bytes', () => {
  const serverId = {
    pid: 4711n,
    taskId: 0,
    vnn: 0xffff_ffff,
    uniqueId: 0x8123456789abcdefn,
  };
  const check = (name: string, verdict: Verdict): void => {
    assert.is(encodeMessage('verdict', 9, encodeVerdict(verdict)).toString('hex'), find(name).hex);
  };
  const path = '/srv/data/final.txt';
  check('verdict: resume', { verdict: 'resume', path, levelLost: false });
  check('verdict: resume, level lost', { verdict: 'resume', path, levelLost: true });
  check('verdict: refuse, connected elsewhere', {
    verdict: 'refuse',
    reason: 'connected',
    final: false,
    serverId,
  });
  const final: RefusalReason[] = ['expired', 'closed', 'superseded', 'modified'];
  for (const reason of REFUSAL_REASONS) {
    if (reason === 'connected') continue;
    const isFinal = final.includes(reason);
    check(`verdict: refuse${isFinal ? ' for good' : ''}, ${reason}`, {
      verdict: 'refuse',
      reason,
      final: isFinal,
    });
  }
});

test('the answer to a takeover is encoded as the golden bytes', () => {
  const [cookie, second] = ['000102030405060708090a0b0c0d0e0f', '101112131415161718191a1b1c1d1e1f'];
  const self = { pid: 4711n, taskId: 0, vnn: 0xffff_ffff, uniqueId: 0x8123456789abcdefn };
  const other = { pid: 4712n, taskId: 1, vnn: 0, uniqueId: 12345678901234567n };
  const holders = [
    { cookie: cookie as string, serverId: self },
    { cookie: second as string, serverId: other },
  ];
  const check = (name: string, answer: TakeoverAnswer): void => {
    const bytes = encodeMessage('takenOver', 9, encodeTakeoverAnswer(answer));
    assert.is(bytes.toString('hex'), find(name).hex);
  };
  check('takenOver: nothing found', { refused: false, ended: [], holders: [] });
  check('takenOver: refused', { refused: true, ended: [], holders: [] });
  check('takenOver: one ended, two held', { refused: false, ended: [0xffff_ffffn], holders });
});

test('a path that is not UTF-8 keeps its bytes', () => {
  const request = decodeRequest(
    'events',
    bodyOf('events: grant of a persistent handle, path not UTF-8'),
  );
  assert.ok(request.type === 'events');
  const event = request.type === 'events' ? request.body.events[0] : undefined;
  assert.ok(event?.type === 'grant');
  const path = event?.type === 'grant' ? event.body.path : '';
  assert.is(Buffer.from(path, 'latin1').toString('hex'), '2f7372762f646174612ffffe2fc3a92e747874');
});

test('unknown keys are ignored', () => {
  const body = { ...bodyOf('claim'), novelty: [1, 2, 3] };
  assert.equal(decodeRequest('claim', body), decodeRequest('claim', bodyOf('claim')));
});

test('each missing key, and each key of another type, is refused', () => {
  for (const name of ['hello', 'claim', 'arrive', 'contend', 'takeover', 'events: sync']) {
    const { type } = find(name);
    for (const key of Object.keys(bodyOf(name))) {
      const { [key]: _, ...without } = bodyOf(name);
      assert.throws(
        () => decodeRequest(type, without),
        (error: unknown) => error instanceof WireError,
        `${name} without ${key}`,
      );
      assert.throws(
        () => decodeRequest(type, { ...without, [key]: 1.5 }),
        (error: unknown) => error instanceof WireError,
        `${name} with a wrong ${key}`,
      );
    }
  }
});

test('a cookie of another length, a negative size and too large a number are refused', () => {
  const claim = bodyOf('claim');
  const stat = claim['stat'] as Body;
  const wrong: Body[] = [
    { ...claim, cookie: Buffer.alloc(15) },
    { ...claim, cookie: '0123456789abcdef' },
    { ...claim, now: -1 },
    { ...claim, stat: { ...stat, sizeBytes: -1 } },
    { ...claim, stat: { ...stat, mtimeNs: 2n ** 63n } },
    { ...claim, stat: [] },
    { ...claim, share: Buffer.from('data') },
  ];
  for (const body of wrong) {
    assert.throws(
      () => decodeRequest('claim', body),
      (error: unknown) => error instanceof WireError,
    );
  }
});

test('what is no message is refused with MessageError', () => {
  const hello = Buffer.from(find('hello').hex, 'hex');
  const wrong: [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['text', Buffer.from('GET / HTTP/1.0\r\n\r\n')],
    ['cut short', hello.subarray(0, hello.length - 1)],
    ['something behind', Buffer.concat([hello, hello])],
    ['an array header that lies', Buffer.from('ddffffffff', 'hex')],
    ['another version', pack([2, 'hello', 1, {}])],
    ['three elements', pack([1, 'hello', 1])],
    ['type not a string', pack([1, 7, 1, {}])],
    ['negative seq', pack([1, 'hello', -1, {}])],
    ['body not a map', pack([1, 'hello', 1, []])],
    ['an unknown extension', Buffer.from('9401a168d4420100', 'hex')],
    ['nested a thousand deep', Buffer.alloc(1000, 0x91)],
  ];
  for (const [what, bytes] of wrong) {
    assert.throws(
      () => decodeMessage(bytes),
      (error: unknown) => error instanceof MessageError,
      what,
    );
  }
  assert.throws(
    () =>
      decodeMessage(
        pack([1, 'hello', 1, { pad: Buffer.alloc(MAX_REQUEST_BYTES) }]),
        MAX_REQUEST_BYTES,
      ),
    /more than 1048576/,
  );
});

test('ten thousand damaged messages are decoded or refused, and nothing else', () => {
  let seed = 12345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  for (let round = 0; round < 10_000; round++) {
    const { hex } = golden[random(golden.length)]!;
    const bytes = Buffer.from(hex, 'hex');
    for (let change = 0; change <= random(3); change++) bytes[random(bytes.length)] = random(256);
    try {
      const message = decodeMessage(bytes);
      decodeRequest(message.type, message.body);
    } catch (error) {
      assert.ok(error instanceof MessageError || error instanceof WireError, String(error));
    }
  }
});

test('a grant is decoded in microseconds', () => {
  const { hex } = find('events: grant of a durable v2 handle with a lease');
  const bytes = Buffer.from(hex, 'hex');
  const decode = (): unknown => {
    const message = decodeMessage(bytes);
    return decodeRequest(message.type, message.body);
  };
  for (let round = 0; round < 2_000; round++) decode();
  const startNs = process.hrtime.bigint();
  for (let round = 0; round < 5_000; round++) decode();
  const eachUs = Number(process.hrtime.bigint() - startNs) / 5_000 / 1_000;
  assert.ok(eachUs < 200, `${eachUs} us`);
});

test.run();
