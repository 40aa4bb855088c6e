import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linesOf, roundUp } from '../../src/penstock/web/console/chart.js';
import { figuresOf, speakerOf, troublesOf } from '../../src/penstock/web/console/health-figures.js';
import { Metrics, quantile } from '../../src/penstock/web/console/metrics.js';
import { bytes, milliseconds, short } from '../../src/penstock/web/console/units.js';

const TEXT = `# HELP penstock_readers Readers connected.
# TYPE penstock_readers gauge
penstock_readers{transport="sse"} 3.0
penstock_readers{transport="websocket"} 2.0
penstock_queue_waiting{group="a \\"b\\" \\\\ \\n}"} 1e3 1795297207958
penstock_events_delivered_total 100.0
penstock_commit_duration_seconds_bucket{le="0.1"} 5.0
penstock_commit_duration_seconds_bucket{le="+Inf"} 6.0
penstock_nothing NaN
`;

const metrics = (values) =>
  new Metrics(
    Object.entries(values)
      .map(([name, value]) => `penstock_${name} ${value}`)
      .join('\n'),
  );

test('samples are read with their labels, and summed', () => {
  const read = new Metrics(TEXT);
  assert.equal(read.sum('readers'), 5);
  assert.equal(read.sum('readers', { transport: 'sse' }), 3);
  assert.deepEqual(read.samples('queue_waiting'), [{ labels: { group: 'a "b" \\ \n}' }, value: 1000 }]);
  assert.equal(read.sum('missing'), undefined);
  assert.deepEqual(
    [...read.buckets('commit_duration_seconds')],
    [
      [0.1, 5],
      [Infinity, 6],
    ],
  );
  assert.ok(Number.isNaN(read.sum('nothing')));
});

test('a quantile is of what came in between', () => {
  const before = new Map([
    [1, 10],
    [2, 10],
    [Infinity, 10],
  ]);
  const after = new Map([
    [1, 60],
    [2, 110],
    [Infinity, 110],
  ]);
  assert.equal(quantile(0.5, before, after), 1);
  assert.equal(quantile(0.75, before, after), 1.5);
  assert.equal(quantile(0.5, before, before), null);
  assert.equal(
    quantile(
      0.99,
      new Map(),
      new Map([
        [1, 0],
        [Infinity, 4],
      ]),
    ),
    1,
  );
});

test('rates come of two looks, and not of a counter that has fallen', () => {
  const before = { metrics: metrics({ events_delivered_total: 100, cpu_seconds_total: 1 }), atMs: 0 };
  const now = metrics({ events_delivered_total: 300, cpu_seconds_total: 1.5 });
  const { values } = figuresOf(now, 2000, before);
  assert.deepEqual([values.delivered, values.cpu], [100, 25]);
  assert.equal(figuresOf(metrics({ events_delivered_total: 5 }), 2000, before).values.delivered, null);
  assert.equal(figuresOf(now, 2000, null).values.delivered, null);
});

const WELL = { status: 200 };
const troubles = (values, { before = values, ready = WELL, figures = undefined } = {}) =>
  troublesOf({ metrics: metrics(values), first: metrics(before), ready, figures });

test('nothing is wrong', () =>
  assert.deepEqual(troubles({ store_up: 1, workers: 1, memory_tight: 0, queue_held: 0 }), []));

test('what is wrong is said in words', () => {
  assert.match(troubles({ store_up: 0 }).join(), /store could not be read/);
  assert.match(troubles({ memory_tight: 1 }).join(), /Memory is tight/);
  assert.match(troubles({}, { ready: { status: 200, memory: 'tight' } }).join(), /Memory is tight/);
  assert.match(troubles({ workers: 0 }).join(), /No process executes runs/);
  assert.match(
    troubles({ store_errors_total: 3 }, { before: { store_errors_total: 1 } }).join(),
    /refused 2 operations/,
  );
  assert.match(troubles({ queue_held: 1 }).join(), /^1 call of ended runs/);
  assert.match(troubles({}, { figures: { atMs: 0, values: { commit: 1.5 } } }).join(), /one commit takes 1.5 s/);
  const locked = { status: 503, code: 'store_locked', message: 'The store is locked.', hint: 'Who holds it?' };
  assert.deepEqual(troubles({ store_up: 0 }, { ready: locked }), ['The store is locked. Who holds it?']);
  assert.match(troubles({}, { ready: { status: 503, code: 'server_closing' } }).join(), /server is leaving/);
  assert.equal(troubles({ store_up: 0 }, { ready: { status: 0 } }).length, 1);
});

test('it is said whose figures they are', () => {
  assert.match(speakerOf(metrics({ processes: 3, workers: 3 })), /3 processes together. 3 processes execute/);
  assert.match(speakerOf(metrics({ processes: 1, workers: 4 })), /process that answered. 4 processes execute/);
  assert.match(speakerOf(metrics({ workers: 1 })), /1 process executes/);
});

test('scales are round', () => {
  assert.deepEqual(
    [0, 0.3, 1, 3, 20, 21, 1e6].map((x) => roundUp(x)),
    [1, 0.5, 1, 5, 20, 50, 1e6],
  );
  assert.equal(roundUp(48 * 2 ** 20, 2 ** 20), 50 * 2 ** 20);
});

test('a pause is a gap, and so is what is not known', () => {
  const points = [
    [0, 1],
    [1000, 2],
    [2000, null],
    [3000, 1],
    [9000, 4],
    [10_000, 2],
  ].map(([atMs, value]) => ({ atMs, value }));
  const lines = linesOf(points, { fromMs: 0, toMs: 10_000, top: 4, gapMs: 3000 });
  assert.deepEqual(
    lines.map((line) => line.length),
    [3, 2],
  );
  assert.deepEqual(lines[1][0], [270, 0]);
});

test('numbers are short and have units', () => {
  assert.deepEqual([0, 7, 0.54, 999, 1234, 12_345, 123_456, 1_234_567].map(short), [
    '0',
    '7',
    '0.5',
    '999',
    '1,234',
    '12.3 k',
    '123 k',
    '1.23 M',
  ]);
  assert.deepEqual([0.0004, 0.05, 2].map(milliseconds), ['0.4 ms', '50 ms', '2.0 s']);
  assert.deepEqual([5, 1536, 2 ** 19, 48 * 2 ** 20, 3 * 2 ** 30].map(bytes), [
    '5 bytes',
    '1.5 KiB',
    '512 KiB',
    '48 MiB',
    '3.00 GiB',
  ]);
});
