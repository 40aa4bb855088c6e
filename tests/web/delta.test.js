// node --test: deltas of cumulative values, by the cases that the Python tests read too, and in the fold.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { applyDelta } from '../../src/penstock/web/client/delta.js';
import { Fold } from '../../src/penstock/web/client/fold.js';

const VECTORS = JSON.parse(readFileSync(new URL('../vectors/delta.json', import.meta.url), 'utf8'));

for (const { name, old, delta, new: made } of VECTORS.apply) {
  test(`vector: ${name}`, () => {
    const before = JSON.stringify([old, delta]);
    assert.deepEqual(applyDelta(old, delta), made);
    assert.equal(JSON.stringify([old, delta]), before, 'neither is changed');
  });
}

for (const { name, old, delta } of VECTORS.refused) {
  test(`refused: ${name}`, () => assert.throws(() => applyDelta(old, delta), RangeError));
}

test('a key by the name of a prototype is a key', () => {
  const [old, added] = [JSON.parse('{"__proto__": {"a": ""}}'), JSON.parse('[["append", ["__proto__", "a"], "x"]]')];
  assert.equal(JSON.stringify(applyDelta(old, added)), '{"__proto__":{"a":"x"}}');
  assert.equal(JSON.stringify(applyDelta({}, [['set', ['__proto__'], 1]])), '{"__proto__":1}');
});

const replace = (seq, more) => ({ type: 'replace', seq, ...more });
const append = (text) => ({ delta: [['append', [], text]] });
const fold = (...events) => {
  const folded = new Fold();
  return { folded, verdicts: events.map((event) => folded.apply(event)) };
};
const shown = ({ folded }) => folded.replaced.map(({ value }) => value);

test('a cumulative value grows by deltas, each span its own', () => {
  const made = fold(
    replace(1, { value: 'one' }),
    replace(2, { value: null, span: 's' }),
    replace(3, append(' two')),
    replace(4, { delta: [['set', [], ['x']]], span: 's' }),
    replace(5, { delta: [['insert', [3], ' 😀']] }),
  );
  assert.deepEqual(made.verdicts, Array(5).fill('taken'));
  assert.deepEqual(shown(made), ['one 😀 two', ['x']]);
});

test('merged deltas lead where their parts lead', () => {
  const parts = fold(replace(1, { value: 'a' }), replace(2, append('b')), replace(3, append('c')));
  const merged = fold(replace(1, { value: 'a' }), replace(3, { n: 2, ...append('bc') }));
  assert.deepEqual(shown(merged), shown(parts));
});

test('a delta that can not be applied is a gap and changes nothing', () => {
  const begun = [replace(1, { value: 'a' }), replace(2, append('b'))];
  for (const event of [
    replace(3, { ...append('x'), span: 's' }), // nothing before it
    replace(3, { delta: [['append', ['a'], 'x']] }), // leads nowhere
    replace(3, { n: 2, ...append('bc') }), // made against what was before
  ]) {
    const made = fold(...begun, event);
    assert.deepEqual(made.verdicts, ['taken', 'taken', 'gap']);
    assert.deepEqual(shown(made), ['ab']);
    assert.equal(made.folded.position, 2);
  }
});

test('a reset leads back to the value before, from which deltas go on', () => {
  const made = fold(
    replace(1, { value: 'kept' }),
    replace(2, { ...append(' lost'), edge: true }),
    { type: 'reset', seq: 3, to: 1 },
    replace(4, append(' again')),
  );
  assert.deepEqual(shown(made), ['kept again']);
});
