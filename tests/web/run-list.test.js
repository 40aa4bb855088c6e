import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RunFeed } from '../../src/penstock/web/console/run-feed.js';
import { KEPT_RUNS, RunList, matches } from '../../src/penstock/web/console/run-list.js';

const run = (number, state = 'succeeded') => ({ run_id: `run_${number}`, function: 'f', state, created_at_ms: number });
const runs = (...numbers) => numbers.map((number) => run(number));
const ids = (list) => list.runs.map(({ run_id: id }) => Number(id.slice(4)));

test('new runs come first, and what is held stays behind the page', () => {
  const list = new RunList();
  list.takeNewest({ runs: runs(3, 2), next: 'run_2' });
  list.takeOlder({ runs: runs(1, 0), next: null });
  assert.deepEqual(list.takeNewest({ runs: runs(4, 3), next: 'run_3' }), { isGap: false });
  assert.deepEqual(ids(list), [4, 3, 2, 1, 0]);
  assert.equal(list.next, null);
});

test('a run of the time of the page that is not in it has left the list', () => {
  const list = new RunList();
  list.takeNewest({ runs: runs(5, 4, 3), next: 'run_3' });
  list.takeOlder({ runs: runs(2, 1), next: null });
  list.takeNewest({ runs: runs(6, 4, 2), next: 'run_2' });
  assert.deepEqual(ids(list), [6, 4, 2, 1]);
});

test('the last of the page may be new to the list', () => {
  const list = new RunList();
  list.takeNewest({ runs: runs(9, 5), next: 'run_5' });
  list.takeOlder({ runs: runs(3), next: null });
  list.takeNewest({ runs: runs(9, 8, 7), next: 'run_7' });
  assert.deepEqual(ids(list), [9, 8, 7, 5, 3]);
});

test('a last page is all there is', () => {
  const list = new RunList();
  list.takeNewest({ runs: runs(3, 2, 1), next: 'run_1' });
  list.takeNewest({ runs: runs(2), next: null });
  assert.deepEqual(ids(list), [2]);
  assert.equal(list.next, null);
});

test('more new runs than a page has begin the list anew', () => {
  const list = new RunList();
  list.takeNewest({ runs: runs(2, 1), next: 'run_1' });
  assert.ok(list.misses({ runs: runs(9, 8), next: 'run_8' }));
  assert.deepEqual(list.takeNewest({ runs: runs(9, 8), next: 'run_8' }), { isGap: true });
  assert.deepEqual(ids(list), [9, 8]);
  assert.equal(list.next, 'run_8');
});

test('an unchanged run is the same object, a changed one another', () => {
  const list = new RunList();
  list.takeNewest({ runs: [run(2, 'running'), run(1)], next: null });
  const [first, second] = list.runs;
  list.takeNewest({ runs: [run(2), run(1)], next: null });
  assert.notEqual(list.runs[0], first);
  assert.equal(list.runs[1], second);
  list.takeSome([run(2), run(7)]);
  assert.equal(list.runs.length, 2);
});

test('filters know states together and single ones', () => {
  assert.ok(matches(run(1, 'failed'), { state: 'failed,interrupted' }));
  assert.ok(!matches(run(1, 'running'), { state: 'failed,interrupted' }));
  assert.ok(!matches(run(1), { function: 'g' }));
  assert.ok(matches(run(1), { function: '', state: '', q: 'x' }));
});

function feedOf(answers, inSight = () => []) {
  const asked = [];
  const told = [];
  const feed = new RunFeed(
    async (path) => {
      asked.push(path);
      return structuredClone(answers.shift());
    },
    { inSight, before() {}, after: (isGap, newest) => told.push([isGap, newest]) },
  );
  return { feed, asked, told };
}

test('live runs in sight that the newest page does not have are followed by their ids', async () => {
  const held = [run(1, 'running'), run(0)];
  const { feed, asked } = feedOf([{ runs: runs(9), next: 'x' }, { runs: [run(1, 'failed')] }], () => held);
  feed.list.takeNewest({ runs: runs(9), next: 'x' });
  feed.list.takeOlder({ runs: held, next: null });
  await feed.load();
  assert.deepEqual(asked, ['api/runs?limit=50', 'api/runs?ids=run_1&limit=100']);
  assert.equal(feed.list.get('run_1').state, 'failed');
});

test('after a sleep it reads on until it meets what it holds', async () => {
  const { feed, asked, told } = feedOf([
    { runs: runs(9, 8), next: 'run_8' },
    { runs: runs(7, 2, 1), next: 'run_1' },
  ]);
  feed.list.takeNewest({ runs: runs(2, 1), next: 'run_1' });
  await feed.load();
  assert.deepEqual(asked, ['api/runs?limit=50', 'api/runs?limit=500&before=run_8']);
  assert.deepEqual(ids(feed.list), [9, 8, 7, 2, 1]);
  assert.deepEqual(told, [[false, 'run_2']]);
});

test('an answer to filters of before is passed over', async () => {
  const { feed, told } = feedOf([{ runs: runs(1), next: null }]);
  const loading = feed.load();
  feed.begin({ function: 'g', state: '', q: '' });
  await loading;
  assert.deepEqual(told, []);
  assert.equal(feed.list.next, undefined);
});

test('one older page at a time', async () => {
  const { feed, asked } = feedOf([{ runs: runs(1), next: null }]);
  feed.list.takeNewest({ runs: runs(3, 2), next: 'run_2' });
  assert.deepEqual(await Promise.all([feed.older(), feed.older()]), [true, false]);
  assert.deepEqual(asked, ['api/runs?limit=200&before=run_2']);
  assert.equal(await feed.older(), false);
});

test('a list has an end, however long a page stays open', () => {
  const list = new RunList();
  list.takeNewest({ runs: runs(...Array.from({ length: KEPT_RUNS }, (_, place) => 2 * KEPT_RUNS - place)), next: 'x' });
  assert.ok(list.isFull);
  assert.equal(list.next, null);
  list.takeNewest({ runs: runs(2 * KEPT_RUNS + 1, 2 * KEPT_RUNS), next: 'y' });
  assert.equal(list.runs.length, KEPT_RUNS);
  assert.equal(list.runs[0].run_id, `run_${2 * KEPT_RUNS + 1}`);
});
