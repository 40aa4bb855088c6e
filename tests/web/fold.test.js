// node --test: the fold and the rule of coming back, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Fold,
  isLast,
  KEPT_ITEMS,
  KEPT_ITEM_UNITS,
  KEPT_STEPS,
  KEPT_TEXT,
  countPoints,
  skipPoints,
  textBetween,
} from '../../src/penstock/web/client/fold.js';

const text = (seq, pos, words, more = {}) => ({ type: 'text', seq, at_ms: seq, pos, text: words, ...more });
const fold = (...events) => {
  const folded = new Fold();
  const verdicts = events.map((event) => folded.apply(event));
  return { folded, verdicts };
};

test('a merged event leads where its parts lead', () => {
  const parts = fold(text(1, 0, 'one '), text(2, 4, 'two '), text(3, 8, 'three')).folded;
  const merged = fold(text(3, 0, 'one two three', { n: 3 })).folded;
  assert.equal(merged.textOf(''), parts.textOf(''));
  assert.equal(merged.position, parts.position);
});

test('an event that came before changes nothing', () => {
  const { folded, verdicts } = fold(text(1, 0, 'a'), text(2, 1, 'b'), text(2, 1, 'b'), text(1, 0, 'a'));
  assert.deepEqual(verdicts, ['taken', 'taken', 'duplicate', 'duplicate']);
  assert.equal(folded.textOf(''), 'ab');
});

test('a merge that begins in what is here adds only what is new', () => {
  const { folded } = fold(text(1, 0, 'né '), text(2, 3, '🙂🙂'), text(4, 0, 'né 🙂🙂 – 👍!', { n: 4 }));
  assert.equal(folded.textOf(''), 'né 🙂🙂 – 👍!');
});

test('positions are code points, not UTF-16 units', () => {
  const { folded, verdicts } = fold(text(1, 0, '🙂'), text(2, 1, '👍🏽'), text(3, 3, '.'));
  assert.deepEqual(verdicts, ['taken', 'taken', 'taken']);
  assert.equal(folded.textOf(''), '🙂👍🏽.');
  assert.equal(countPoints('a🙂b'), 3);
  assert.equal(skipPoints('a🙂b', 2), 'b');
});

test('a missing event is a gap and changes nothing', () => {
  const { folded, verdicts } = fold(text(1, 0, 'a'), text(3, 2, 'c'), text(4, 2, 'cd', { n: 2 }));
  assert.deepEqual(verdicts, ['taken', 'gap', 'gap']);
  assert.equal(folded.position, 1);
  assert.equal(folded.textOf(''), 'a');
});

test('a text that begins beyond what has come is a gap', () => {
  assert.deepEqual(fold(text(1, 5, 'late')).verdicts, ['gap']);
});

test('an event of a later version is passed over, and counts', () => {
  const { folded, verdicts } = fold({ type: 'hologram', seq: 1 }, text(2, 0, 'a'));
  assert.deepEqual(verdicts, ['taken', 'taken']);
  assert.equal(folded.textOf(''), 'a');
});

test('a reset withdraws everything after its event and leads back to the state before', () => {
  const { folded } = fold(
    text(1, 0, '🙂 one '),
    { type: 'span-start', seq: 2, at_ms: 2, span: 's', name: 'search' },
    { type: 'progress', seq: 3, done: 1, total: 3 },
    { type: 'replace', seq: 4, value: 'early' },
    text(5, 6, 'lost'),
    text(6, 0, 'lost too', { span: 's' }),
    { type: 'span-end', seq: 7, at_ms: 7, span: 's', output: 1 },
    { type: 'span-start', seq: 8, at_ms: 8, span: 't', name: 'lost' },
    { type: 'progress', seq: 9, done: 2, total: 3 },
    { type: 'replace', seq: 10, value: 'late' },
    { type: 'json', seq: 11, value: 1 },
    { type: 'log', seq: 12, message: 'lost' },
    { type: 'reset', seq: 13, to: 4, reason: 'attempt 2' },
    text(14, 6, 'two'),
  );
  assert.equal(folded.textOf(''), '🙂 one two');
  assert.equal(folded.textOf('s'), '');
  assert.deepEqual([...folded.steps.keys()], ['s']);
  assert.equal(folded.steps.get('s').end, null);
  assert.equal(folded.progress.done, 1);
  assert.deepEqual(
    folded.replaced.map((item) => item.value),
    ['early'],
  );
  assert.deepEqual([folded.values, folded.logs], [[], []]);
  assert.deepEqual(
    folded.notices.map(({ seq, to, message }) => [seq, to, message]),
    [[13, 4, 'attempt 2']],
  );
  assert.equal(folded.position, 14);
});

test('a reset about a cursor starts anew, even after the end', () => {
  const { folded, verdicts } = fold(
    text(1, 0, 'old'),
    { type: 'end', seq: 2, at_ms: 2, state: 'succeeded' },
    { type: 'reset', to: 0, reason: 'the cursor belongs to another stream' },
    text(1, 0, 'new'),
  );
  assert.deepEqual(verdicts, ['taken', 'taken', 'taken', 'taken']);
  assert.equal(folded.textOf(''), 'new');
  assert.equal(folded.end, null);
});

const within = (count, most) => assert.ok(count <= most && count >= most * 0.8, `${count} of ${most}`);

test('what is kept is bounded, and the positions still hold', () => {
  const folded = new Fold();
  const piece = 'x'.repeat(10_000);
  let seq = 0;
  for (let i = 0; i < 450; i += 1) assert.equal(folded.apply(text(++seq, i * 10_000, piece)), 'taken');
  within(folded.textOf('').length, KEPT_TEXT);
  assert.equal(folded.texts.get('').cut.units + folded.textOf('').length, 4_500_000);
  for (let i = 0; i < KEPT_ITEMS + 9; i += 1) folded.apply({ type: 'log', seq: ++seq, message: 'm' });
  within(folded.logs.length, KEPT_ITEMS);
  assert.equal(folded.logs.length + folded.dropped.logs, KEPT_ITEMS + 9);
  for (let i = 0; i < KEPT_STEPS + 9; i += 1) {
    folded.apply({ type: 'span-start', seq: ++seq, span: `s${i}`, name: 'n' });
    folded.apply({ type: 'span-end', seq: ++seq, span: `s${i}` });
  }
  within(folded.steps.size, KEPT_STEPS);
  assert.equal(folded.steps.size + folded.dropped.steps, KEPT_STEPS + 9);
  assert.equal(folded.apply({ type: 'reset', seq: ++seq, to: 20 }), 'taken'); // into what was cut
  assert.equal(folded.apply(text(++seq, 200_000, 'after')), 'taken');
  assert.equal(folded.textOf(''), 'after');
});

test('values are bounded by their size, too', () => {
  const folded = new Fold();
  for (let seq = 1; seq <= 40; seq += 1) folded.apply({ type: 'json', seq, value: ['v'.repeat(1_000_000)] });
  assert.ok(folded.values.length <= KEPT_ITEM_UNITS / 1_000_000);
  assert.equal(folded.values.at(-1).seq, 40);
});

test('of many texts the oldest go first, and the one that grows stays', () => {
  const folded = new Fold();
  let seq = 0;
  const piece = 'y'.repeat(100_000);
  for (let i = 0; i < 60; i += 1) folded.apply(text(++seq, 0, piece, { span: `s${i}` }));
  const kept = [...Array(60).keys()].filter((i) => folded.textOf(`s${i}`));
  assert.equal(kept.at(-1), 59);
  assert.ok(kept.length * 100_000 <= KEPT_TEXT && kept[0] === 60 - kept.length);
  assert.equal(folded.apply(text(++seq, 100_000, 'on', { span: 's0' })), 'taken');
  assert.equal(folded.textOf('s0'), 'on');
});

test('neighbours are joined, but not over the edge that a checkpoint makes', () => {
  const { folded } = fold(text(1, 0, 'a'), text(2, 1, 'b'), text(3, 2, 'c', { edge: true }), text(4, 3, 'd'));
  assert.deepEqual(
    folded.texts.get('').pieces.map((piece) => piece.text),
    ['ab', 'cd'],
  );
  folded.apply({ type: 'reset', seq: 5, to: 2 });
  assert.equal(folded.textOf(''), 'ab');
});

test('a part of a text is found by its place', () => {
  const { folded } = fold(text(1, 0, 'one '), { type: 'log', seq: 2, message: 'm' }, text(3, 4, 'two three'));
  const whole = folded.texts.get('');
  assert.equal(textBetween(whole, 2, 7), 'e two'.slice(0, 5));
  assert.equal(textBetween(whole, 4), 'two three');
  assert.equal(textBetween(whole, 13), '');
});

test('a step has what its end tells of it', () => {
  const usage = { input_tokens: 3, output_tokens: 5 };
  const { folded } = fold(
    { type: 'span-start', seq: 1, at_ms: 1, span: 's', name: 'n' },
    { type: 'span-end', seq: 2, at_ms: 9, span: 's', usage, first_ms: 4 },
  );
  assert.deepEqual(folded.steps.get('s').end.usage, usage);
  assert.equal(folded.steps.get('s').end.firstMs, 4);
});

test('bytes are counted as they were before base64', () => {
  const data = Buffer.from('12345').toString('base64');
  assert.equal(fold({ type: 'bytes', seq: 1, data }, { type: 'bytes', seq: 2, data }).folded.bytes, 10);
});

test('a fold stands for all before it, gaps and all; what comes after it goes on', () => {
  const fold = new Fold();
  const events = [
    { type: 'text', seq: 2, n: 2, pos: 0, text: 'one ' },
    { type: 'replace', seq: 9, n: 3, value: 'ab' },
  ];
  assert.equal(fold.apply({ type: 'fold', seq: 9, events }), 'taken');
  assert.equal(fold.apply({ type: 'fold', seq: 9, events }), 'duplicate');
  assert.equal(fold.apply({ type: 'replace', seq: 10, delta: [['append', [], 'c']] }), 'taken');
  assert.equal(fold.apply({ type: 'text', seq: 11, pos: 4, text: 'two' }), 'taken');
  assert.deepEqual([fold.textOf(''), fold.replaced[0].value, fold.position], ['one two', 'abc', 11]);
  assert.equal(isLast({ type: 'fold', seq: 1, events: [] }), false);
});

test('an empty fold is the start', () => {
  const fold = new Fold();
  assert.equal(fold.apply({ type: 'fold', events: [] }), 'taken');
  assert.equal(fold.apply({ type: 'text', seq: 1, pos: 0, text: 'a' }), 'taken');
});
