import assert from 'node:assert/strict';
import { test } from 'node:test';
import { comparePath, routeOf, runPath, startPath, withQuery } from '../../src/penstock/web/console/router.js';

test('no address is the start', () => {
  for (const hash of ['', '#', '#/']) assert.deepEqual(routeOf(hash), { view: 'start', params: {} });
});

test('a function and a run whose input is shown are in the address of the start', () => {
  assert.deepEqual(routeOf(startPath('a b')), { view: 'start', params: { function: 'a b' } });
  assert.deepEqual(routeOf(startPath('draw', 'run_1')), { view: 'start', params: { function: 'draw', from: 'run_1' } });
});

test('filters of the list are in its address', () => {
  const path = withQuery('#/runs', { function: '', state: 'failed,interrupted', q: 'a&b=c #?' });
  assert.deepEqual(routeOf(path), { view: 'runs', params: { state: 'failed,interrupted', q: 'a&b=c #?' } });
  assert.equal(withQuery('#/runs', { q: '' }), '#/runs');
});

test('what follows a run is left to its view', () => {
  assert.deepEqual(routeOf(`${runPath('run_1')}/step/a%2Fb`), {
    view: 'run',
    params: { id: 'run_1', rest: ['step', 'a/b'] },
  });
});

test('two runs are compared', () => {
  assert.deepEqual(routeOf(comparePath('run_1', 'run_2')), { view: 'compare', params: { a: 'run_1', b: 'run_2' } });
});

test('an old link leads to its run', () => {
  assert.deepEqual(routeOf('#run_1'), { view: 'run', params: { id: 'run_1', rest: [] }, moved: '#/runs/run_1' });
});

test('what leads nowhere leads to the start', () => {
  for (const hash of ['#/nothing', '#/compare/one', '#/%E0%A4%A']) assert.equal(routeOf(hash).moved, '#/start');
});
