import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  etaOf,
  fullness,
  inTurn,
  runningOf,
  takesOf,
  waitingOf,
  workersOf,
} from '../../src/penstock/web/console/queue-words.js';
import { ageOf, detailOf, roughly, timeOf } from '../../src/penstock/web/console/run-words.js';

test('a run that waits says where and how long', () => {
  const run = { state: 'queued', position: 3, eta_s: 601, priority: 5, cancel: null, error: null };
  assert.equal(detailOf(run), 'position 3, about 10 min, priority 5');
  assert.equal(detailOf({ ...run, position: null, eta_s: null, priority: 0 }), '');
});

test('a run that failed says its first words, one that is tried again those of the last attempt', () => {
  const error = { code: 'exception', message: 'The river is dry.\nAll of it.' };
  assert.equal(detailOf({ state: 'failed', error }), 'The river is dry.');
  assert.equal(
    detailOf({ state: 'running', error, cancel: 'requested' }),
    'stop requested · last attempt: The river is dry.',
  );
  assert.equal(detailOf({ state: 'failed', error: { code: 'stalled', message: '' } }), 'stalled');
  assert.equal(detailOf({ state: 'failed', error: { message: 'x'.repeat(500) } }).length, 161);
});

test('times are those of the run, and go on while it does', () => {
  assert.equal(timeOf({ state: 'queued', started_at_ms: null, ended_at_ms: null }, 5000), '');
  assert.equal(timeOf({ state: 'running', started_at_ms: 1000, ended_at_ms: null }, 5000), '4.0 s');
  assert.equal(timeOf({ state: 'succeeded', started_at_ms: 1000, ended_at_ms: 1007 }, 9e9), '7 ms');
  assert.equal(timeOf({ state: 'cancelled', started_at_ms: null, ended_at_ms: 1007 }, 9e9), '');
});

test('ages and guesses have one unit or two', () => {
  assert.deepEqual([-5, 59_999, 60_000, 7_200_000, 3 * 86_400_000].map(ageOf), ['0 s', '59 s', '1 min', '2 h', '3 d']);
  assert.deepEqual([1500, 42_400, 59_900, 3_590_000, 3_600_000, 4_260_000].map(roughly), [
    '1.5 s',
    '42 s',
    '1 min',
    '1 h',
    '1 h',
    '1 h 11 min',
  ]);
});

const GROUP = { running: 8, calls: 2, held: 1, concurrency_limit: 4, waiting: 6, max_size: 100, eta_s: 0 };

test('a group says what it does and may', () => {
  assert.equal(runningOf(GROUP), '8 in 2 calls of 4');
  assert.equal(runningOf({ ...GROUP, calls: 8, concurrency_limit: null }), '8');
  assert.equal(waitingOf(GROUP), '6 of 100');
  assert.equal(waitingOf({ ...GROUP, max_size: null }), '6');
  assert.deepEqual(
    [0, null, 90].map((eta_s) => etaOf({ eta_s })),
    ['starts at once', 'not known yet', 'about 2 min'],
  );
  assert.equal(fullness(GROUP), 0.75);
  assert.equal(takesOf({ runs: 4, mean_s: 6.1, spread_s: 0.2 }), '6.1 s ± 200 ms');
  assert.equal(takesOf(undefined), '');
});

test('runs stand in the order of their turns, those without a place last and by age', () => {
  const runs = [
    [null, 2],
    [2, 5],
    [null, 1],
    [1, 9],
  ].map(([position, created_at_ms]) => ({ position, created_at_ms }));
  assert.deepEqual(
    inTurn(runs).map((run) => run.created_at_ms),
    [9, 5, 1, 2],
  );
});

test('nobody who executes runs is a fault', () => {
  assert.match(workersOf({ workers: 0, max_threads: 4 }), /^No process executes runs/);
  assert.equal(
    workersOf({ workers: 2, max_threads: 1024 }),
    '2 processes execute runs, with up to 1,024 threads each.',
  );
});
