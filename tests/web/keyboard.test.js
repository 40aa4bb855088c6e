import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Row } from '../../src/penstock/web/console/keyboard.js';

const KEYS = ['j', 'g r', 'g g x', 'r'].map((keys) => ({ keys, does: keys, act() {} }));

function pressed(...presses) {
  const row = new Row();
  return presses.map(([key, ms]) => row.press(key, KEYS, ms)?.keys);
}

test('a single key acts at once', () => assert.deepEqual(pressed(['j', 0]), ['j']));
test('a row acts with its last key', () => assert.deepEqual(pressed(['g', 0], ['r', 200]), [undefined, 'g r']));
test('a row of three', () => assert.deepEqual(pressed(['g', 0], ['g', 1], ['x', 2]), [undefined, undefined, 'g g x']));
test('a key that comes late begins anew', () => assert.deepEqual(pressed(['g', 0], ['r', 5000]), [undefined, 'r']));
test('a key that does not fit the row acts for itself', () =>
  assert.deepEqual(pressed(['g', 0], ['j', 1]), [undefined, 'j']));
test('a key without meaning ends the row', () =>
  assert.deepEqual(pressed(['g', 0], ['z', 1], ['r', 2]), [undefined, undefined, 'r']));
