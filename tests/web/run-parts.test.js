// node --test: diff, heights, stored events and the words of the page of one run, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fold } from '../../src/penstock/web/client/fold.js';
import { MOST_EDITS, diff, diffTexts } from '../../src/penstock/web/console/run/diff.js';
import { Heights } from '../../src/penstock/web/console/run/heights.js';
import { RunModel } from '../../src/penstock/web/console/run/model.js';
import { figuresOf, pairsOf, saidBy } from '../../src/penstock/web/console/run/pairs.js';
import { Stored } from '../../src/penstock/web/console/run/stored.js';
import { money, proof, size, time, tokensOf } from '../../src/penstock/web/console/run/words.js';

const sides = (parts) => [
  parts.filter(({ kind }) => kind !== 'added').flatMap(({ a }) => a),
  parts.filter(({ kind }) => kind !== 'removed').flatMap(({ b }) => b),
];

/** Always the same numbers: a failure can be repeated. */
function chance(seed) {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state % below;
  };
}

test('a diff has both sides, and as much in common as there is', () => {
  const draw = chance(7);
  for (let round = 0; round < 500; round += 1) {
    const [a, b] = [0, 1].map(() => Array.from({ length: draw(12) }, () => 'abc'[draw(3)]));
    const parts = diff(a, b);
    assert.deepEqual(sides(parts), [a, b]);
    assert.equal(parts.filter(({ kind }) => kind === 'same').flatMap((part) => part.a).length, common(a, b));
  }
});

/** The length of the longest row that is in both. */
function common(a, b) {
  const best = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let x = a.length - 1; x >= 0; x -= 1) {
    for (let y = b.length - 1; y >= 0; y -= 1)
      best[x][y] = a[x] === b[y] ? 1 + best[x + 1][y + 1] : Math.max(best[x + 1][y], best[x][y + 1]);
  }
  return best[0][0];
}

test('what has nothing in common is not looked at for ever', () => {
  const [a, b] = [0, 1].map((side) => Array.from({ length: 3 * MOST_EDITS }, (_, index) => `${side} ${index}`));
  assert.deepEqual(
    diff(a, b).map(({ kind }) => kind),
    ['removed', 'added'],
  );
});

test('texts differ by lines, and in them by words', () => {
  const parts = diffTexts('one two\nsame\n', 'one three\nsame\nmore\n');
  assert.deepEqual(
    parts.map(({ kind, text }) => `${kind} ${text}`),
    ['same one ', 'removed two', 'added three', 'same \n', 'same same\n', 'added more\n'],
  );
});

test('heights are summed and found, whatever of them has changed', () => {
  const heights = new Heights();
  const plain = [];
  const draw = chance(3);
  for (let index = 0; index < 3000; index += 1) {
    heights.push((plain[index] = 1 + draw(40)));
    const other = draw(index + 1);
    heights.set(other, (plain[other] = draw(5) ? 1 + draw(90) : 0.5));
  }
  let top = 0;
  plain.forEach((height, index) => {
    assert.equal(heights.before(index), top);
    assert.equal(heights.at(top), index);
    top += height;
  });
  assert.equal(heights.before(3000), top);
  assert.equal(heights.at(top + 100), 2999);
});

/** A server of 1,000 events, of which each tenth stands for ten; 20 events an answer. */
function server(asked = []) {
  const events = [];
  for (let seq = 1; seq <= 1000; seq += 1)
    events.push(
      seq % 20 < 10 ? { type: 'log', seq, message: `${seq}` } : { type: 'text', seq: (seq += 9), n: 10, text: 'x' },
    );
  return async (path) => {
    asked.push(path);
    const after = Number(/after=e-(\d+)/.exec(path)?.[1] ?? 0);
    const page = events.filter(({ seq }) => seq > after).slice(0, 20);
    return { events: page, cursor: `e-${page.at(-1)?.seq ?? after}`, done: after >= 970 };
  };
}

test('stored events are read where somebody looks, and not again', async () => {
  const asked = [];
  const stored = new Stored(server(asked), 'run');
  await stored.want(500, 520);
  assert.equal(stored.at(505).message, '505');
  assert.deepEqual([stored.at(513).seq, stored.at(513).n], [519, 10]);
  assert.equal(stored.at(499), undefined);
  const { length } = asked;
  assert.equal(stored.want(500, 520), null);
  await stored.want(450, 505, true);
  assert.equal(asked.length, length + 2); // too many are in between for one answer
  assert.equal(stored.at(450).message ?? stored.at(450).text, 'x');
});

test('only as much is kept as a person looks at', async () => {
  const stored = new Stored(server(), 'run');
  for (let seq = 1; seq < 950; seq += 40) await stored.want(seq, seq + 1);
  assert.equal(stored.at(1), undefined);
  assert.ok(stored.at(921));
});

test('all stored events come in order, each once', async () => {
  const stored = new Stored(server(), 'run');
  let position = 0;
  for await (const page of stored.pages()) {
    for (const { seq, n = 1 } of page) {
      assert.equal(seq - n, position);
      position = seq;
    }
  }
  assert.equal(position, 1000);
});

test('an event that came in pieces is put together', async () => {
  const whole = JSON.stringify({ type: 'json', at_ms: 1, value: 'v'.repeat(90) });
  const parts = whole.match(/.{1,40}/g);
  const pieces = parts.map((data, part) => ({ type: 'piece', seq: 5 + part, part, parts: parts.length, data }));
  const stored = new Stored(async (path) => {
    const after = Number(/after=e-(\d+)/.exec(path)?.[1] ?? 0);
    const [next] = pieces.filter(({ seq }) => seq > after); // one an answer
    return {
      events: after < 4 ? [{ type: 'log', seq: after + 1, message: 'm' }] : next ? [next] : [],
      cursor: 'e-1',
      done: false,
    };
  }, 'run');
  assert.equal((await stored.whole(5 + parts.length - 1)).value, 'v'.repeat(90));
  await assert.rejects(stored.whole(99));
});

const modelOf = (events) => {
  const model = new RunModel('run');
  const fold = new Fold();
  for (const event of events) fold.apply(event);
  model.update(fold, { all: true, texts: new Set(), steps: new Set(), kinds: new Set() });
  return model;
};
const step = (seq, span, lasts, more = {}) => [
  { type: 'span-start', seq, at_ms: 100 * seq, span, name: span, ...more },
  { type: 'span-end', seq: seq + 1, at_ms: 100 * seq + lasts, span, usage: { output_tokens: lasts } },
];

test('two runs: steps beside each other by name and order, figures with what is between them', () => {
  const a = modelOf([
    ...step(1, 'one', 10),
    ...step(3, 'two', 10),
    ...step(5, 'three', 10),
    { type: 'end', seq: 7, at_ms: 700, state: 'succeeded' },
  ]);
  const b = modelOf([
    ...step(1, 'one', 30),
    ...step(3, 'three', 10),
    ...step(5, 'four', 5),
    { type: 'end', seq: 7, at_ms: 900, state: 'succeeded' },
  ]);
  assert.deepEqual(
    pairsOf(a.tree, b.tree).map(({ name, a: left, b: right }) => `${name} ${left ? 'a' : ''}${right ? 'b' : ''}`),
    ['one ab', 'two a', 'three ab', 'four b'],
  );
  const figures = Object.fromEntries(figuresOf(a, b, 0).map(({ label, ...row }) => [label, row]));
  assert.equal(figures['Tokens out'].delta, '+15, +50 %');
  assert.deepEqual([figures.Time.a, figures.Time.b, figures.Time.worse], ['600 ms', '800 ms', true]);
  assert.equal(figures.Cost, undefined);
});

test('what a run said is its own text, or that of its steps, or its latest value', () => {
  const text = (seq, words, span) => ({ type: 'text', seq, pos: 0, text: words, span });
  assert.equal(saidBy(modelOf([text(1, 'own')])), 'own');
  assert.equal(saidBy(modelOf([...step(1, 's', 1), text(3, 'in a step', 's')])), 'in a step');
  assert.equal(saidBy(modelOf([{ type: 'replace', seq: 1, value: 'latest' }])), 'latest');
});

test('numbers are said as a person reads them, and the unknown is not said', () => {
  assert.deepEqual(
    [time(0), time(999), time(1234), time(65_000), time(3_700_000)],
    ['0 ms', '999 ms', '1.23 s', '1 m 05 s', '1 h 01 m'],
  );
  assert.deepEqual([size(10), size(12_345), size(1_234_567)], ['10 B', '12.3 kB', '1.23 MB']);
  assert.deepEqual(
    [
      tokensOf({ input_tokens: 812, output_tokens: 64 }),
      tokensOf({ output_tokens: 12_345 }),
      tokensOf({}),
      tokensOf(null),
    ],
    ['812 → 64', '→ 12.3k', '', ''],
  );
  assert.deepEqual(
    [money(0.0031), money(12, 'EUR'), money(5, 'CHF'), money(NaN)],
    ['$0.0031', '€12.00', '5.00 CHF', ''],
  );
});

test('the proof says in words when nothing is missing', () => {
  const facts = {
    received: 5,
    stored: 5,
    ended: false,
    resumes: 1,
    duplicates: 0,
    lagMs: 12,
    transport: 'fetch',
    shared: true,
  };
  assert.equal(
    proof(facts).join(' · '),
    'received 5 of 5 stored events · all that is stored was received · over fetch, shared by the tabs · lag 12 ms · resumes 1 · duplicates dropped 0',
  );
  assert.ok(
    !proof({ ...facts, stored: 9 })
      .join()
      .includes('all that'),
  );
  assert.equal(proof({ ...facts, stored: null })[0], 'received 5 events');
  assert.equal(proof({ ...facts, stored: 4 })[0], 'received 5 of 5 stored events'); // asked for a moment ago
  assert.deepEqual(proof({ ...facts, stored: 7, ended: true }).slice(0, 2), [
    'received 5 of 7 stored events',
    '2 are missing',
  ]);
  assert.ok(
    !proof({ ...facts, stored: null, ended: true })
      .join()
      .includes('all that'),
  );
});
