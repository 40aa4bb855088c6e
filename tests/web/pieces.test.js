// node --test: large events put together, by the cases that the Python tests read too.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { MAX_WHOLE_UNITS, Pieces } from '../../src/penstock/web/client/pieces.js';

const VECTORS = JSON.parse(readFileSync(new URL('../vectors/pieces.json', import.meta.url), 'utf8'));

function together(events) {
  const pieces = new Pieces();
  return events.map((event) => pieces.add(event)).filter((whole) => whole !== null);
}

for (const { name, events, whole } of VECTORS.together) {
  test(`vector: ${name}`, () => assert.deepEqual(together(events), whole));
}

for (const { name, events } of VECTORS.refused) {
  test(`refused: ${name}`, () => assert.throws(() => together(events)));
}

test('a piece that comes again is passed over', () => {
  const row = VECTORS.together.find(({ events }) => events.filter(({ type }) => type === 'piece').length === 3);
  const [first, second, ...rest] = row.events;
  assert.deepEqual(together([first, second, first, second, ...rest]), row.whole);
});

test('no more is held than an event may have', () => {
  const pieces = new Pieces();
  const data = 'x'.repeat(MAX_WHOLE_UNITS / 2);
  pieces.add({ type: 'piece', part: 0, parts: 9, data, seq: 1 });
  pieces.add({ type: 'piece', part: 1, parts: 9, data, seq: 2 });
  assert.throws(() => pieces.add({ type: 'piece', part: 2, parts: 9, data, seq: 3 }), /too long/);
});
