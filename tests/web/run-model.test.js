// node --test: what the page of one run makes of its state, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fold } from '../../src/penstock/web/client/fold.js';
import { Large, brief, lightened } from '../../src/penstock/web/console/run/brief.js';
import { RunModel, stateOf } from '../../src/penstock/web/console/run/model.js';
import { nextOf, search } from '../../src/penstock/web/console/run/search.js';
import { KEPT_ROWS } from '../../src/penstock/web/console/run/transcript.js';
import { plus } from '../../src/penstock/web/console/run/tree.js';

const start = (seq, span, more = {}) => ({ type: 'span-start', seq, at_ms: seq, span, name: span, ...more });
const end = (seq, span, more = {}) => ({ type: 'span-end', seq, at_ms: seq, span, ...more });
const text = (seq, pos, words, span) => ({
  type: 'text',
  seq,
  at_ms: seq,
  pos,
  text: words,
  ...(span ? { span } : {}),
});
const log = (seq, message, level = 'info') => ({ type: 'log', seq, at_ms: seq, message, level });

const nothing = () => ({ all: false, texts: new Set(), steps: new Set(), kinds: new Set() });

/** As the client tells it: after every `each` events. */
function modelOf(events, each = Infinity) {
  const model = new RunModel('run');
  const fold = new Fold();
  let changed = { ...nothing(), all: true };
  events.forEach((event, index) => {
    assert.equal(fold.apply(event), 'taken');
    changed.kinds.add(event.type);
    if (event.type === 'text') changed.texts.add(event.span ?? '');
    if (event.type.startsWith('span')) changed.steps.add(event.span);
    if (event.type === 'reset') changed.all = true;
    if ((index + 1) % each && index < events.length - 1) return;
    model.update(fold, changed);
    model.tree.tidy();
    changed = nothing();
  });
  return model;
}

const rowsOf = (model) => model.tree.rows.map(({ id, depth }) => `${'.'.repeat(depth)}${id}`).join(' ');
const told = (model) => model.transcript.rows.map(({ kind, span, from, to }) => [kind, span, from, to].join(' '));
const found = (model, words) => {
  const steps = search(model, words);
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value;
};

const AGENT = [
  text(1, 0, 'Let me look. '),
  start(2, 'agent', { kind: 'agent' }),
  start(3, 'think', { kind: 'llm', parent: 'agent' }),
  text(4, 0, 'What is there? ', 'think'),
  end(5, 'think', { usage: { input_tokens: 10, output_tokens: 4, cost: 0.5, currency: 'USD' } }),
  start(6, 'call', { kind: 'tool', parent: 'agent', input: { word: 'mill' } }),
  log(7, 'slow', 'warning'),
  log(8, 'said aside'),
  end(9, 'call', { error: { code: 'exception', message: 'it broke' } }),
  end(10, 'agent', { error: { code: 'exception', message: 'it broke' }, usage: { input_tokens: 1 } }),
  text(11, 13, 'It broke.'),
  { type: 'json', seq: 12, at_ms: 12, value: { found: 'wheel' } },
  { type: 'end', seq: 13, at_ms: 13, state: 'failed', error: { code: 'exception', message: 'it broke' } },
];

test('steps are a tree, and the run is its root', () => {
  assert.equal(rowsOf(modelOf(AGENT)), ' .agent ..think ..call');
});

test('however the state comes, in one or in many, the page has the same', () => {
  for (const each of [1, 2, 5]) {
    const model = modelOf(AGENT, each);
    assert.equal(rowsOf(model), rowsOf(modelOf(AGENT)));
    assert.deepEqual(told(model), told(modelOf(AGENT)));
    assert.deepEqual(model.errors, modelOf(AGENT).errors);
  }
});

test('the transcript has what was said, calls, values, logs of weight and the end, in order', () => {
  assert.deepEqual(told(modelOf(AGENT)), [
    'text  0 13',
    'text think 0 15',
    'call call 0 0',
    'log  0 0',
    'text  13 22',
    'value  0 0',
    'end  0 0',
  ]);
});

test('an error counts once, where it began, however many steps it went through', () => {
  const { errors } = modelOf(AGENT);
  assert.deepEqual(errors, [{ seq: 9, span: 'call', message: 'it broke' }]);
});

test('usage is summed over the steps inside; what nobody knows stays unknown', () => {
  const { tree } = modelOf(AGENT);
  assert.deepEqual(
    { ...tree.total, model: 0 },
    { input_tokens: 11, output_tokens: 4, cost: 0.5, currency: 'USD', model: 0 },
  );
  assert.equal(tree.nodes.get('call').total, null);
  assert.ok(Number.isNaN(plus({ cost: 1, currency: 'USD' }, { cost: 1, currency: 'EUR' }).cost));
});

test('words of one who speaks go on in their row; where several speak at once each has its own', () => {
  const both = [start(1, 'a', { kind: 'llm' }), start(2, 'b', { kind: 'llm' })];
  for (let index = 0; index < 6; index += 1) both.push(text(3 + index, index >> 1, 'x', 'ab'[index % 2]));
  assert.ok(told(modelOf(both, 1)).length <= 3);
  assert.deepEqual(told(modelOf([text(1, 0, 'a'), log(2, 'aside'), text(3, 1, 'b')], 1)), ['text  0 2']);
  assert.equal(told(modelOf([text(1, 0, 'a'), log(2, 'bad', 'error'), text(3, 1, 'b')], 1)).length, 3);
});

test('what is folded away is not shown until it is asked for, and new steps in it neither', () => {
  const model = modelOf(AGENT.slice(0, 6));
  const { tree } = model;
  tree.close(tree.nodes.get('agent'), true);
  tree.tidy();
  assert.equal(rowsOf(model), ' .agent');
  tree.add({ ...model.fold.steps.get('call'), id: 'new', parent: 'agent' });
  tree.tidy();
  assert.equal(rowsOf(model), ' .agent');
  tree.reveal('new');
  tree.tidy();
  assert.equal(rowsOf(model), ' .agent ..think ..call ..new');
});

test('a filter shows the steps of a kind and what they stand in', () => {
  const model = modelOf(AGENT);
  model.tree.filterBy(['tool']);
  model.tree.tidy();
  assert.equal(rowsOf(model), ' .agent ..call');
  model.tree.closeAll(true);
  model.tree.filterBy([]);
  model.tree.tidy();
  assert.equal(rowsOf(model), ' .agent');
});

test('steps that begin beside each other are placed under their own', () => {
  const model = modelOf(
    [start(1, 'a'), start(2, 'b'), start(3, 'a1', { parent: 'a' }), start(4, 'b1', { parent: 'b' })],
    1,
  );
  assert.equal(rowsOf(model), ' .a ..a1 .b ..b1');
});

test('a reset takes away what came after it, and is told', () => {
  const model = modelOf(
    [
      start(1, 'a'),
      text(2, 0, 'one'),
      start(3, 'b'),
      { type: 'reset', seq: 4, at_ms: 4, to: 1, reason: 'attempt 2' },
      text(5, 0, 'two'),
    ],
    1,
  );
  assert.equal(rowsOf(model), ' .a');
  assert.deepEqual(told(model), ['reset  0 0', 'text  0 3']);
  assert.equal(model.fold.textOf(''), 'two');
});

test('who comes late is told of the reset, too', () => {
  const model = modelOf([
    text(1, 0, 'kept'),
    { type: 'text', seq: 5, at_ms: 5, pos: 4, text: ' new', n: 4, edge: true },
  ]);
  model.recall([{ seq: 3, to: 1, atMs: 3, message: 'attempt 2', units: 0 }]);
  assert.deepEqual(told(model), ['text  0 4', 'reset  0 0', 'text  4 8']);
  assert.equal(found(model, 'attempt').length, 1);
});

test('a step is pending, done, failed, or never ended', () => {
  const states = (model) => ['think', 'call'].map((id) => stateOf(model.tree.nodes.get(id), model));
  assert.deepEqual(states(modelOf(AGENT)), ['done', 'failed']);
  const cut = modelOf(AGENT.slice(0, 6));
  assert.deepEqual(states(cut), ['done', 'pending']);
  cut.record = { state: 'interrupted' };
  assert.deepEqual(states(cut), ['done', 'unfinished']);
});

test('the search looks into names, texts, inputs, errors, logs and values', () => {
  const model = modelOf(AGENT);
  const where = (words) => found(model, words).map(({ seq }) => seq);
  assert.deepEqual(where('THINK'), [3]);
  assert.deepEqual(where('what is'), [4]);
  assert.deepEqual(where('mill'), [6]);
  assert.deepEqual(where('aside'), [8]);
  assert.deepEqual(where('wheel'), [12]);
  assert.deepEqual(where('it broke'), [2, 6, 11, 13]);
  assert.deepEqual(where('nowhere'), []);
});

test('from one match to the next, and round', () => {
  const matches = [3, 7, 9].map((seq) => ({ seq, span: '' }));
  assert.deepEqual(
    [0, 3, 8, 9].map((seq) => nextOf(matches, seq, 1)),
    [0, 1, 2, 0],
  );
  assert.deepEqual(
    [0, 3, 8, 100].map((seq) => nextOf(matches, seq, -1)),
    [2, 2, 1, 2],
  );
  assert.equal(nextOf([], 1, 1), -1);
});

test('a large value is let go of, and something stays to be seen of it', () => {
  const value = { rows: Array.from({ length: 5000 }, (_, index) => `row ${index}`) };
  const model = modelOf([
    { type: 'json', seq: 1, at_ms: 1, value },
    start(2, 's', { input: value }),
    end(3, 's', { output: 'x'.repeat(40_000) }),
  ]);
  const [item] = model.fold.values;
  assert.ok(item.value instanceof Large && item.value.preview.startsWith('{"rows": ["row 0"'));
  assert.ok(model.fold.steps.get('s').input instanceof Large && model.fold.steps.get('s').end.output instanceof Large);
  assert.equal(lightened('short'), 'short');
  assert.equal(found(model, 'row 7').length, 2);
});

test('a value in short takes no more than was asked for, however deep or wide it is', () => {
  assert.equal(brief({ a: [1, 'b', null], c: true }, 100), '{"a": [1, "b", null], "c": true}');
  const wide = brief(
    Array.from({ length: 1e6 }, () => 'x'),
    50,
  );
  assert.ok(wide.length <= 51 && wide.endsWith('…'));
  let deep = 'end';
  for (let index = 0; index < 1e5; index += 1) deep = [deep];
  assert.ok(brief(deep, 100).startsWith('[[[[[['));
});

test('of a transcript that never ends the newest is kept, and it is said how much is not', () => {
  const { transcript } = modelOf(
    Array.from({ length: KEPT_ROWS + 10 }, (_, index) => log(index + 1, 'm', 'error')),
    10_000,
  );
  assert.ok(transcript.rows.length <= KEPT_ROWS);
  assert.equal(transcript.rows.length + transcript.dropped, KEPT_ROWS + 10);
  assert.equal(transcript.rows.at(-1).seq, KEPT_ROWS + 10);
});

test('20,000 steps take a moment, and one more takes none', () => {
  const events = [start(1, 'all')];
  for (let seq = 2; seq < 40_000; seq += 2)
    events.push(start(seq, `s${seq}`, { parent: 'all' }), end(seq + 1, `s${seq}`));
  const model = modelOf(events, 50);
  assert.equal(model.tree.rows.length, 20_001);
});
