// node --test: what <penstock-run> says, and that it can be imported where there is no page.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  proofWords,
  progressWords,
  stateOf,
  stateWords,
  valueWords,
} from '../../src/penstock/web/client/element/words.js';

const connected = {
  connection: 'live',
  transport: 'fetch',
  shared: false,
  lagMs: 12.4,
  received: 1200,
  resumes: 1,
  duplicates: 0,
  draining: false,
};
const fold = { position: 0, end: null };

test('the state is that of the end, once it has come, and unknown while it is on the way', () => {
  assert.equal(stateOf({ position: 9, end: { state: 'failed' } }, { state: 'running' }, null), 'failed');
  assert.equal(stateOf(fold, {}, { state: 'succeeded' }), '');
  assert.equal(stateOf(fold, {}, null), '');
});

test('while it lives the state is the latest that was told', () => {
  assert.equal(stateOf(fold, { state: 'queued' }, null), 'queued');
  assert.equal(stateOf(fold, {}, { state: 'queued' }), 'queued');
  assert.equal(stateOf({ position: 3, end: null }, {}, { state: 'queued' }), 'running');
  assert.equal(stateOf({ position: 3, end: null }, { state: 'queued' }, null), 'queued'); // for another attempt
});

test('a place in line is said with its wait, a stop as soon as it is asked for', () => {
  assert.equal(stateWords('queued', { position: 1200, eta_s: 75 }), 'queued, position 1,200, about 1 min 15 s');
  assert.equal(stateWords('queued', { position: null, eta_s: null }), 'queued');
  assert.equal(stateWords('running', { cancel: 'requested' }), 'stopping');
  assert.equal(stateWords('cancelled', { cancel: 'requested' }), 'cancelled');
  assert.equal(stateWords('', {}), 'reading');
});

test('the proof counts what came, and says how it comes while it comes', () => {
  assert.equal(
    proofWords(connected, undefined).join(' · '),
    'live · received 1,200 · resumes 1 · duplicates dropped 0 · fetch · lag 12 ms',
  );
  const ended = { ...connected, connection: 'ended' };
  assert.equal(
    proofWords(ended, 1200).join(' · '),
    'ended · received 1,200 of 1,200 · resumes 1 · duplicates dropped 0',
  );
  assert.equal(proofWords({ ...connected, shared: true, lagMs: null }, 3).at(-1), 'fetch, shared');
  assert.equal(proofWords({ ...connected, draining: true }, 3)[0], 'server restarting');
});

test('values are JSON on a line where they fit, and the end of what is too long', () => {
  assert.equal(valueWords({ a: 1 }, 100), '{"a":1}');
  assert.match(valueWords({ list: 'x'.repeat(70) }, 200), /^\{\n {2}"list"/);
  assert.equal(valueWords('abcdef', 3), '… def');
  assert.equal(progressWords({ done: 1200 }), '1,200');
  assert.equal(progressWords({ done: 1, total: 2, unit: 'pages' }), '1 of 2 pages');
});

test('without a page the module defines nothing and breaks nothing', async () => {
  const { PenstockRun } = await import('../../src/penstock/web/client/element.js');
  assert.deepEqual(PenstockRun.observedAttributes.slice(0, 2), ['run', 'base']);
});
