// node --test: the parser, by the cases that Python's decoder is tested with.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { MAX_MESSAGE_UNITS, Parser } from '../../src/penstock/web/client/sse.js';

const VECTORS = JSON.parse(readFileSync(new URL('../vectors/sse.json', import.meta.url), 'utf8'));

const bytesOf = (chunk) =>
  typeof chunk === 'string' ? new TextEncoder().encode(chunk) : Buffer.from(chunk.hex, 'hex');

function read(chunks) {
  const messages = [];
  const parser = new Parser((message) => messages.push(message));
  for (const chunk of chunks) parser.feed(chunk);
  return { messages, parser };
}

function check({ messages: expected, ...after }, { messages, parser }) {
  assert.deepEqual(messages, expected);
  if ('last_id' in after) assert.equal(parser.lastId, after.last_id);
  if ('retry_ms' in after) assert.equal(parser.retryMs, after.retry_ms);
}

for (const one of VECTORS.cases) {
  test(one.name, () => check(one, read(one.chunks.map(bytesOf))));
  test(`${one.name}, byte by byte`, () => {
    check(one, read([...Buffer.concat(one.chunks.map(bytesOf))].map((byte) => new Uint8Array([byte]))));
  });
}

test('comments are told apart from messages', () => {
  const comments = [];
  const parser = new Parser(assert.fail, (text) => comments.push(text));
  parser.feed(bytesOf(': \n: heartbeat 15\n\n:x\n\n'));
  assert.deepEqual(comments, [' ', ' heartbeat 15', 'x']);
});

test('what is no stream of ours is not gathered for ever', () => {
  const chunk = new Uint8Array(64 * 1024).fill(97);
  const parser = new Parser(assert.fail);
  const feedAll = (times) => {
    for (let n = 0; n < times; n += 1) parser.feed(chunk);
  };
  assert.throws(() => feedAll(MAX_MESSAGE_UNITS / chunk.length + 1), RangeError);
  const lines = new Parser(assert.fail);
  const line = bytesOf(`data: ${'a'.repeat(1000)}\n`);
  assert.throws(() => {
    for (let n = 0; n < 2000; n += 1) lines.feed(line);
  }, RangeError);
});
