// The pure parts of what runs beside Gradio's page: routes, asking again, an app's description, a tab's memory, its plan.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAway, untilAnswered } from '../../src/penstock/web/gradio/again.js';
import { wordAfter } from '../../src/penstock/web/gradio/badge.js';
import { addDouble, applyValues, isKnown, printOf, propsOf } from '../../src/penstock/web/gradio/config.js';
import { MAX_EVENTS, Memory, VALUE_UNITS } from '../../src/penstock/web/gradio/memory.js';
import { Doubles, toTake } from '../../src/penstock/web/gradio/restore.js';
import { Routes, renamedBody, renamedUrl, sessionIn } from '../../src/penstock/web/gradio/routes.js';
import { Tab } from '../../src/penstock/web/gradio/tab.js';

const dependency = (id, more = {}) => ({
  id,
  targets: [[10, 'click']],
  inputs: [1],
  outputs: [2],
  cancels: [],
  backend_fn: true,
  js: null,
  queue: true,
  trigger_after: null,
  trigger_only_on_success: false,
  trigger_only_on_failure: false,
  connection: 'sse',
  ...more,
});

/** A text, an output, a state and a password; a function, what follows it, and a button that stops it. */
const app = () => ({
  protocol: 'sse_v3',
  layout: { id: 0 },
  components: [
    { id: 1, type: 'textbox', props: { value: 'as built' } },
    { id: 2, type: 'textbox', props: {} },
    { id: 3, type: 'state', props: {} },
    { id: 4, type: 'textbox', props: { type: 'password' } },
  ],
  dependencies: [
    dependency(0),
    dependency(1, { targets: [[null, 'then']], inputs: [2, 3], outputs: [3], trigger_after: 0 }),
    dependency(2, { backend_fn: false, inputs: [], outputs: [], cancels: [0] }),
  ],
  page: { '': { components: [1, 2, 3, 4], dependencies: [0, 1, 2] } },
});

class Shelf {
  items = new Map();
  full = false;
  getItem = (key) => this.items.get(key) ?? null;
  removeItem = (key) => this.items.delete(key);
  setItem(key, value) {
    if (this.full) throw new DOMException('QuotaExceededError');
    this.items.set(key, value);
  }
}

const memoryOn = (shelf) => new Memory(shelf, 'page', (write) => write());

// --- Routes

test('requests are told apart, and those of others are left alone', () => {
  const routes = new Routes('https://example.org/app/gradio_api/penstock/');
  const kindOf = (url, method = 'GET') => routes.kindOf(new URL(url), method);
  const api = 'https://example.org/app/gradio_api/';
  assert.equal(kindOf(`${api}queue/data?session_hash=abc`), 'data');
  assert.equal(kindOf(`${api}queue/join?`, 'POST'), 'join');
  assert.equal(kindOf(`${api}heartbeat/abc`), 'heartbeat');
  assert.equal(kindOf(`${api}cancel`, 'POST'), 'cancel');
  assert.equal(kindOf(`${api}stream/e1/close`, 'POST'), 'repeatable');
  assert.equal(kindOf(`${api}stream/e1`, 'POST'), 'other', 'a chunk of a microphone would be heard twice');
  assert.equal(kindOf(`${api}run/predict`, 'POST'), 'call');
  assert.equal(kindOf('https://example.org/app/config'), 'config');
  assert.equal(kindOf(`${api}penstock/api/runs/e1/events`), null);
  assert.equal(kindOf('https://other.example.org/app/gradio_api/queue/join', 'POST'), null);
  assert.equal(kindOf('https://example.org/second/gradio_api/queue/join', 'POST'), null);
});

test('a session is found in an address and in a body, and renamed there and nowhere else', () => {
  const body = JSON.stringify({ data: ['"session_hash":"x"', 'abc123'], session_hash: 'abc123' });
  assert.equal(sessionIn(new URL('https://a/gradio_api/heartbeat/abc123'), null), 'abc123');
  assert.equal(sessionIn(new URL('https://a/gradio_api/queue/data?session_hash=abc123'), null), 'abc123');
  assert.equal(sessionIn(new URL('https://a/gradio_api/queue/join'), body), 'abc123');
  assert.equal(sessionIn(new URL('https://a/gradio_api/upload'), new FormData()), '');
  assert.equal(renamedUrl('https://a/heartbeat/abc123', 'abc123', 'kept'), 'https://a/heartbeat/kept');
  const renamed = JSON.parse(renamedBody(body, 'abc123', 'kept'));
  assert.deepEqual(renamed, { data: ['"session_hash":"x"', 'abc123'], session_hash: 'kept' });
});

// --- Asking again

const answer = (status, headers = {}) => new Response(null, { status, headers });

test("a proxy's word is the server's absence; Gradio's own is an answer", () => {
  assert.ok(isAway(answer(502)));
  assert.ok(isAway(answer(503)));
  assert.ok(isAway(answer(503, { 'Content-Type': 'application/json', 'Retry-After': '1' })));
  assert.ok(!isAway(answer(503, { 'Content-Type': 'application/json' })), 'the line is full');
  assert.ok(!isAway(answer(500)));
  assert.ok(!isAway(answer(401)));
});

test('what nobody answers is asked again until the time is over', async () => {
  let nowMs = 0;
  const clock = { now: () => nowMs, random: () => 0.5, pause: async (ms) => void (nowMs += ms) };
  const said = [];
  let left = 3;
  const ask = async () => {
    if ((left -= 1) >= 0) throw new TypeError('Failed to fetch');
    return answer(200);
  };
  const response = await untilAnswered(ask, clock, { onAway: (away) => said.push(away) });
  assert.deepEqual([response.status, said], [200, [true, false]]);
  const never = untilAnswered(() => Promise.reject(new TypeError('Failed to fetch')), clock, { limitMs: 60_000 });
  await assert.rejects(never, TypeError);
  assert.ok(nowMs < 70_000);
});

// --- An app's description

test('a description of another shape is not known', () => {
  assert.ok(isKnown(app()));
  assert.ok(!isKnown(undefined));
  assert.ok(!isKnown({ auth_required: true }));
  assert.ok(!isKnown({ ...app(), protocol: 'sse_v4' }));
  assert.ok(!isKnown({ ...app(), layout: {} }));
  assert.ok(!isKnown({ ...app(), dependencies: [{ ...dependency(0), targets: ['click'] }] }));
  assert.ok(!isKnown({ ...app(), page: { '': {} } }));
});

test('an app with another component, or another function, is another', () => {
  const more = app();
  more.components.push({ id: 5, type: 'button', props: {} });
  const other = app();
  other.dependencies[1].outputs = [2];
  assert.equal(printOf(app()), printOf(app()));
  const ada = { ...app(), username: 'ada' };
  assert.equal(new Set([app(), more, other, ada].map(printOf)).size, 4, 'and so is that of another user');
});

test('values are begun with, but for states and passwords', () => {
  const config = app();
  const count = applyValues(config, {
    1: { value: 'typed' },
    2: { visible: false },
    3: { value: 7 },
    4: { value: 'x' },
    9: {},
  });
  assert.equal(count, 2);
  assert.deepEqual(
    config.components.map(({ props }) => props),
    [{ value: 'typed' }, { visible: false }, {}, { type: 'password' }],
  );
});

test("an update's properties are taken one by one", () => {
  assert.deepEqual(propsOf('text'), { value: 'text' });
  assert.deepEqual(propsOf({ __type__: 'update', visible: false, lines: 2 }), { visible: false, lines: 2 });
  assert.deepEqual(propsOf(JSON.parse('{"__type__": "update", "__proto__": {"a": 1}}')), {});
});

test('a double is called when the page loads, with what follows it, and is stopped like its original', () => {
  const config = app();
  const before = structuredClone(config.dependencies);
  const made = addDouble(config, 0, true);
  assert.deepEqual(made, {
    root: 3,
    doubles: [
      [3, 0],
      [4, 1],
    ],
  });
  const [root, follower] = config.dependencies.slice(3);
  assert.deepEqual([root.targets, root.inputs, root.outputs], [[[0, 'load']], [], [2]]);
  assert.deepEqual([follower.trigger_after, follower.inputs, follower.outputs], [3, [2, 3], [3]]);
  assert.deepEqual([root.api_name, root.api_visibility], [false, 'private']);
  assert.deepEqual(config.page[''].dependencies, [0, 1, 2, 3, 4]);
  assert.deepEqual(config.dependencies[2].cancels, [0, 3]);
  assert.deepEqual(config.dependencies.slice(0, 2), before.slice(0, 2), 'the button itself is as it was');
});

test('a microphone is not listened to again', () => {
  const config = app();
  config.dependencies[0].connection = 'stream';
  assert.equal(addDouble(config, 0, true), null);
  assert.equal(addDouble(config, 7, true), null);
});

// --- A tab's memory

test('a memory outlives its page', () => {
  const shelf = new Shelf();
  const memory = memoryOn(shelf);
  memory.reset({ session: 'abc', print: 'p' });
  const begun = memory.begin({ key: 'k', fn: 0, body: '{}', sum: 's' });
  memory.change(begun, { id: 'e1', state: 'open' });
  memory.show('1', { value: 'typed' });
  memory.show('1', { lines: 3 });
  const again = memoryOn(shelf);
  assert.deepEqual([again.session, again.print, again.values], ['abc', 'p', { 1: { value: 'typed', lines: 3 } }]);
  assert.deepEqual(again.events, [{ key: 'k', fn: 0, id: 'e1', sum: 's', state: 'open' }]);
});

test('what is too large is not kept, and what is kept is bounded', () => {
  const memory = memoryOn(new Shelf());
  assert.equal(memory.show('1', { value: 'x'.repeat(VALUE_UNITS) }), false);
  for (let id = 0; id < 20; id += 1) assert.ok(memory.show(String(id), { value: 'x'.repeat(VALUE_UNITS - 100) }));
  assert.ok(Object.keys(memory.values).length < 7);
  assert.ok('19' in memory.values, 'the newest is');
  const first = memory.begin({ key: 'running', fn: 0, body: '', sum: '' });
  for (let n = 0; n < MAX_EVENTS + 5; n += 1)
    memory.change(memory.begin({ key: `k${n}`, fn: 0, body: '', sum: '' }), { state: 'done' });
  assert.equal(memory.events.length, MAX_EVENTS);
  assert.ok(memory.events.includes(first), 'what runs is not forgotten for what has ended');
});

test("a full or damaged shelf, and others' items, are survived", () => {
  const shelf = new Shelf();
  shelf.items.set('page:about', '{"session": 3, "events": [null, {"key": 1}]}');
  shelf.items.set('page:values', '[["1"], 7, ["2", {"value": 1}]]');
  const memory = memoryOn(shelf);
  assert.deepEqual([memory.session, memory.events, memory.values], ['', [], { 2: { value: 1 } }]);
  shelf.full = true;
  memory.show('2', { value: 2 });
  assert.equal(shelf.getItem('page:values'), null, 'better nothing than what is no longer so');
});

// --- The plan

const begun = (fn, state, more = {}) => ({ key: `k${fn}`, fn, id: `e${fn}`, state, ...more });
const takenOf = (events) => toTake(app(), events).map(({ begun: { fn }, follow }) => [fn, follow]);

test('what runs is listened to; what has ended only where nothing came of it', () => {
  assert.deepEqual(takenOf([begun(0, 'open')]), [[0, true]]);
  assert.deepEqual(takenOf([begun(0, 'done'), begun(1, 'done')]), []);
  assert.deepEqual(takenOf([begun(0, 'done'), begun(1, 'open')]), [[1, true]]);
  assert.deepEqual(takenOf([begun(0, 'done')]), [[0, true]], 'the page was gone before it called what follows');
  assert.deepEqual(takenOf([begun(0, 'done'), begun(0, 'done'), begun(1, 'done')]), []);
  assert.deepEqual(takenOf([begun(1, 'done', { lost: true })]), [[1, false]], 'its outputs are read from the server');
  assert.deepEqual(takenOf([begun(0, 'sent', { id: '', body: '{}' })]), [[0, true]], 'it is sent again under its key');
  assert.deepEqual(takenOf([begun(0, 'sent', { id: '' })]), []);
});

test('what follows only a success does not follow a failure', () => {
  const config = app();
  config.dependencies[1].trigger_only_on_success = true;
  assert.deepEqual(toTake(config, [begun(0, 'done', { failed: true })]), []);
  assert.equal(toTake(config, [begun(0, 'done')]).length, 1);
});

test('a double answers with its event, those that follow are called as what they double', () => {
  const config = app();
  const doubles = new Doubles(config, toTake(config, [begun(0, 'open')]));
  assert.equal(doubles.of(3)?.begun?.id, 'e0');
  assert.equal(doubles.of(4)?.begun, null);
  assert.deepEqual([doubles.originalOf(4), doubles.originalOf(0)], [1, 0]);
  doubles.giveUp(3);
  assert.ok(doubles.isVoid(doubles.of(4)));
});

// --- A tab

const claims = (free) => ({ asked: [], release() {}, take: async (session) => free.includes(session) });
const tabOn = (shelf, free, isTouched = false) =>
  new Tab(
    memoryOn(shelf),
    claims(free),
    () => 'ofitsown',
    () => isTouched,
  );

async function usedTab(shelf) {
  const tab = tabOn(shelf, ['random']);
  tab.edit(app());
  assert.equal(await tab.session('random'), 'random');
  const one = tab.begin({ key: 'k', fn: 0, body: '{}', data: ['sent'] });
  tab.opened(one, 'e1');
  return { tab, one };
}

test('a page that is loaded again has its session, its inputs and its event', async () => {
  const shelf = new Shelf();
  await usedTab(shelf);
  const tab = tabOn(shelf, ['random']);
  const config = app();
  assert.ok(tab.edit(config));
  assert.equal(await tab.session('another'), 'random');
  assert.equal(config.components[0].props.value, 'sent');
  assert.equal(tab.answerTo(3, [])?.begun?.id, 'e1');
  assert.equal(tab.answerTo(4, []), null, 'what follows is called');
  assert.equal(tab.originalOf(4), 1);
});

test('a copy of a tab has a session of its own, and calls nothing twice', async () => {
  const shelf = new Shelf();
  await usedTab(shelf);
  const copy = tabOn(shelf, []);
  copy.edit(app());
  assert.equal(await copy.session('another'), 'ofitsown');
  assert.equal(copy.answerTo(3, [])?.begun, null);
  assert.equal(copy.answerTo(4, [])?.begun, null);
});

test('another app is begun with anew, in the same session', async () => {
  const shelf = new Shelf();
  await usedTab(shelf);
  const tab = tabOn(shelf, ['random']);
  const other = app();
  other.components.push({ id: 9, type: 'button', props: {} });
  tab.edit(other);
  assert.deepEqual([tab.restored, tab.doubles?.size, other.components[0].props.value], [0, 0, 'as built']);
  assert.equal(await tab.session('another'), 'random');
});

test('a change that a restored value makes was answered before, unless somebody has touched the page', async () => {
  const shelf = new Shelf();
  const { tab, one } = await usedTab(shelf);
  tab.ended(one, ['shown'], false);
  const config = app();
  const again = tabOn(shelf, ['random']);
  again.edit(config);
  await again.session('x');
  assert.equal(config.components[1].props.value, 'shown');
  assert.equal(again.answerTo(0, ['sent'])?.begun?.id, 'e1');
  assert.equal(again.answerTo(0, ['other']), null);
  const touched = tabOn(shelf, ['random'], true);
  touched.edit(app());
  assert.equal(touched.answerTo(0, ['sent']), null);
});

/** The app, with a function that fills both texts when the page loads. */
function loading() {
  const config = app();
  config.dependencies.push(dependency(3, { targets: [[0, 'load']], inputs: [], outputs: [1, 2] }));
  config.page[''].dependencies.push(3);
  return config;
}

test('what somebody has typed or sent is not overwritten because the page was loaded again', async () => {
  const shelf = new Shelf();
  const tab = tabOn(shelf, ['random']);
  tab.edit(loading());
  await tab.session('random');
  assert.deepEqual(tab.spare(3), []);
  const filled = tab.begin({ key: 'k', fn: 3, body: '{}', data: [] });
  tab.ended(filled, ['default', 'shown'], false);
  tab.begin({ key: 'l', fn: 0, body: '{}', data: ['default'] });
  const untouched = tabOn(shelf, ['random']);
  untouched.edit(loading());
  assert.deepEqual(untouched.spare(3), [], 'sent as it was shown');
  untouched.typed(1, 'typed');
  const touched = tabOn(shelf, ['random']);
  touched.edit(loading());
  assert.deepEqual(touched.spare(3), [0]);
  assert.deepEqual(touched.spare(3), [], 'once: later it is called for another reason');
  touched.showed(3, ['default', 'now'], [0]);
  assert.deepEqual(touched.memory.values[1], { value: 'typed' });
  assert.deepEqual(touched.memory.values[2], { value: 'now' });
});

test('what runs because the page was loaded is not called once more, and has no double', async () => {
  const shelf = new Shelf();
  const tab = tabOn(shelf, ['random']);
  tab.edit(loading());
  await tab.session('random');
  tab.opened(tab.begin({ key: 'k', fn: 3, body: '{}', data: [] }), 'e3');
  const config = loading();
  const again = tabOn(shelf, ['random']);
  again.edit(config);
  await again.session('x');
  assert.equal(config.dependencies.length, 4);
  assert.equal(again.answerTo(3, [])?.begun?.id, 'e3');
  assert.equal(again.answerTo(3, []), null);
  const copy = tabOn(shelf, []);
  copy.edit(loading());
  await copy.session('x');
  assert.equal(copy.answerTo(3, []), null, 'a copy calls its own');
});

test("a session that has become somebody else's is given up, and its events with it", async () => {
  const shelf = new Shelf();
  const { tab: first } = await usedTab(shelf);
  const tab = tabOn(shelf, ['random']);
  tab.edit(app());
  await tab.session('x');
  assert.equal(tab.renew(), 'ofitsown');
  assert.equal(tab.answerTo(3, [])?.begun, null);
  assert.deepEqual([tab.memory.session, tab.memory.events], ['ofitsown', []]);
  assert.equal(first.renew(), 'ofitsown', 'also one that the page has made');
});

test('what was streamed is not kept: its address has gone', () => {
  const memory = memoryOn(new Shelf());
  memory.showOutputs([1, 2], [{ is_stream: true, url: 'x.m3u8' }, 'text'], () => true);
  assert.deepEqual(memory.values, { 2: { value: 'text' } });
});

// --- The badge

test('a word is said while there is trouble, and one when it is over', () => {
  const online = (troubled) => ({ troubled, online: true });
  assert.equal(wordAfter('quiet', online(false)), 'quiet');
  assert.equal(wordAfter('quiet', online(true)), 'reconnecting');
  assert.equal(wordAfter('reconnecting', { troubled: true, online: false }), 'offline');
  assert.equal(wordAfter('offline', online(false)), 'back');
  assert.equal(wordAfter('restored', online(false)), 'restored');
});
