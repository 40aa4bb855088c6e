// The pure parts of what runs beside Gradio's page: routes, asking again, an app's description, a tab's memory, its plan.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAway, untilAnswered } from '../../src/penstock/web/gradio/again.js';
import { wordAfter } from '../../src/penstock/web/gradio/badge.js';
import { addDouble, applyValues, FIRST_OWN, isKnown, printOf, propsOf } from '../../src/penstock/web/gradio/config.js';
import { hearInputs, listenToInputs } from '../../src/penstock/web/gradio/inputs.js';
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
    root: FIRST_OWN,
    doubles: [
      [FIRST_OWN, 0],
      [FIRST_OWN + 1, 1],
    ],
  });
  const [root, follower] = config.dependencies.slice(3);
  assert.deepEqual([root.targets, root.inputs, root.outputs], [[[0, 'load']], [], [2]]);
  assert.deepEqual([follower.trigger_after, follower.inputs, follower.outputs], [FIRST_OWN, [2, 3], [3]]);
  assert.deepEqual([root.api_name, root.api_visibility], [false, 'private']);
  assert.deepEqual(config.page[''].dependencies, [0, 1, 2, FIRST_OWN, FIRST_OWN + 1]);
  assert.deepEqual(config.dependencies[2].cancels, [0, FIRST_OWN]);
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

test('from Gradio 6 on, nothing but what waits for a failure follows one', () => {
  const config = { ...app(), version: '6.31.0' };
  const failed = [begun(0, 'done', { failed: true })];
  assert.deepEqual(toTake(config, failed), [], 'it would be told its error at each reload');
  assert.equal(toTake({ ...config, version: '5.50.0' }, failed).length, 1);
  config.dependencies[1].trigger_only_on_failure = true;
  assert.equal(toTake(config, failed).length, 1);
});

test('what a failure has left locked is as the app has it after a reload, with its value', () => {
  const locked = (version, events) => {
    const config = { ...app(), version };
    config.dependencies[1].outputs = [1];
    const memory = memoryOn(new Shelf());
    memory.reset({ session: 's', print: printOf(config) });
    memory.show('1', { value: 'typed', interactive: false });
    memory.events = events;
    new Tab(memory, claims([]), () => 's', () => false).edit(config);
    return config.components[0].props;
  };
  const failed = begun(0, 'done', { failed: true });
  assert.deepEqual(unnamed(locked('6.31.0', [failed])), { value: 'typed' });
  assert.equal(locked('6.31.0', [failed, begun(0, 'open')]).interactive, false, 'it runs again');
  assert.equal(locked('6.31.0', [begun(0, 'open')]).interactive, false);
  assert.equal(locked('5.50.0', [failed]).interactive, false, 'what follows is called, and unlocks it');
});

const unnamed = ({ elem_id: _, ...props }) => props;

test('a double answers with its event, those that follow are called as what they double', () => {
  const config = app();
  const doubles = new Doubles(config, toTake(config, [begun(0, 'open')]));
  assert.equal(doubles.of(FIRST_OWN)?.begun?.id, 'e0');
  assert.equal(doubles.of(FIRST_OWN + 1)?.begun, null);
  assert.deepEqual([doubles.originalOf(FIRST_OWN + 1), doubles.originalOf(0)], [1, 0]);
  doubles.giveUp(FIRST_OWN);
  assert.ok(doubles.isVoid(doubles.of(FIRST_OWN + 1)));
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

/** The double that an edited app's page calls when it loads; what follows it has the next number. */
const doubleIn = ({ dependencies }) =>
  dependencies.find(({ id, targets }) => id >= FIRST_OWN && targets[0][1] === 'load').id;

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
  const double = doubleIn(config);
  assert.equal(tab.answerTo(double, [])?.begun?.id, 'e1');
  assert.equal(tab.answerTo(double + 1, []), null, 'what follows is called');
  assert.equal(tab.originalOf(double + 1), 1);
});

test('a copy of a tab has a session of its own, and calls nothing twice', async () => {
  const shelf = new Shelf();
  await usedTab(shelf);
  const copy = tabOn(shelf, []);
  const config = app();
  copy.edit(config);
  assert.equal(await copy.session('another'), 'ofitsown');
  assert.equal(copy.answerTo(doubleIn(config), [])?.begun, null);
  assert.equal(copy.answerTo(doubleIn(config) + 1, [])?.begun, null);
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
  assert.throws(() => doubleIn(config));
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
  const config = app();
  tab.edit(config);
  await tab.session('x');
  assert.equal(tab.renew(), 'ofitsown');
  assert.equal(tab.answerTo(doubleIn(config), [])?.begun, null);
  assert.deepEqual([tab.memory.session, tab.memory.events], ['ofitsown', []]);
  assert.equal(first.renew(), 'ofitsown', 'also one that the page has made');
});

test('what was streamed is not kept: its address has gone', () => {
  const memory = memoryOn(new Shelf());
  memory.showOutputs([1, 2], [{ is_stream: true, url: 'x.m3u8' }, 'text'], () => true);
  assert.deepEqual(memory.values, { 2: { value: 'text' } });
});

// --- What is put in and not sent

const listenersIn = (config) => config.dependencies.filter(({ id }) => id >= FIRST_OWN);

test('each component that somebody may write into is listened to, before all else, and stays as it is', () => {
  const config = app();
  config.components.push(
    { id: 5, type: 'textbox', props: { value: '' } },
    { id: 6, type: 'textbox', props: { value: 'no default' } },
    { id: 7, type: 'image', props: { value: 'as built', interactive: true } },
    { id: 8, type: 'textbox', props: { interactive: false } },
    { id: 9, type: 'row', skip_api: true, props: {} },
    { id: 10, type: 'image', props: { streaming: true } },
  );
  config.page[''].components.push(5, 7);
  config.dependencies[1].inputs = [3];
  listenToInputs(config);
  const listeners = listenersIn(config);
  const heard = new Set(listeners.map(({ inputs: [id] }) => id));
  assert.deepEqual([...heard].sort(), [1, 5, 7], 'nothing becomes writable by it');
  assert.equal(config.dependencies.indexOf(listeners.at(-1)), listeners.length - 1, 'a function of the app may take its time');
  assert.deepEqual(config.page[''].dependencies, [0, 1, 2, ...listeners.map(({ id }) => id).reverse()]);
  for (const { backend_fn, outputs, api_name } of listeners)
    assert.deepEqual([backend_fn, outputs, api_name], [false, [], false]);
});

/** What the page of Gradio says, and what the tab is told of it; `acts`: what was done on the page before. */
function told(value, { word = 'input', isWritten = false, acts = [] } = {}) {
  const config = app();
  listenToInputs(config);
  const { js } = listenersIn(config).find(({ targets }) => targets.some((one) => one[0] === 1 && one[1] === word));
  const heard = [];
  const page = new EventTarget();
  globalThis.window = {};
  hearInputs({ typed: (...what) => heard.push(what), isWritten: () => isWritten }, page);
  page.value = 'typed'; // as the field has it in which something was typed
  for (const act of acts) page.dispatchEvent(new Event(act));
  new Function(`return ${js}`)()(value);
  delete globalThis.window;
  return heard;
}

test('a change is told where somebody has just done something, and no output comes', () => {
  assert.deepEqual(told('x'), [[1, 'x']]);
  assert.deepEqual(told('x', { word: 'change' }), []);
  assert.deepEqual(told('x', { word: 'change', acts: ['paste'] }), [[1, 'x']]);
  assert.deepEqual(told('x', { word: 'change', acts: ['paste', 'input'], isWritten: true }), []);
  assert.deepEqual(told('typed', { word: 'change', acts: ['input'], isWritten: true }), [[1, 'typed']]);
});

test('a component is written while an event that has it as an output is under way, and just after', async () => {
  let nowMs = 0;
  const tab = new Tab(memoryOn(new Shelf()), claims(['random']), String, Boolean, () => nowMs);
  tab.edit(app());
  assert.equal(tab.isWritten(2), false);
  const begun = tab.begin({ key: 'k', fn: 0, body: '{}', data: ['sent'] });
  assert.deepEqual([tab.isWritten(1), tab.isWritten(2)], [false, true]);
  tab.ended(begun, ['shown'], false);
  assert.equal(tab.isWritten(2), true, 'the page has yet to show it');
  nowMs = 2_000;
  assert.equal(tab.isWritten(2), false);
});

test('a value is told as it would be sent, or not at all', () => {
  class FileData {
    path = '/x';
    alt_text = undefined;
    meta = { _type: 'gradio.FileData' };
  }
  for (const same of ['text', 0, false, null, ['a', { b: [1] }]]) assert.deepEqual(told(same), [[1, same]]);
  assert.deepEqual(told(undefined), [[1, null]]);
  assert.deepEqual(told([new FileData()]), [[1, [{ path: '/x', meta: { _type: 'gradio.FileData' } }]]]);
  const streamed = { path: '/x', is_stream: true };
  for (const not of [new Blob(['x']), { layers: [new Blob(['x'])] }, new Map(), () => 1, [streamed]])
    assert.deepEqual(told(not), [[1, undefined]]);
});

test('what can not be kept does not leave what was there before it', async () => {
  const shelf = new Shelf();
  const tab = tabOn(shelf, ['random']);
  tab.edit(app());
  tab.typed(1, 'as built');
  assert.deepEqual(tab.memory.values, {}, 'a page tells of what it begins with, too');
  tab.typed(1, 'typed');
  tab.typed(1, 'as built');
  assert.deepEqual(tab.memory.values, { 1: { value: 'as built' } });
  tab.typed(1, undefined);
  assert.deepEqual(memoryOn(shelf).values, { 1: {} });
});

test('what a password field holds is kept nowhere, also in one that has become a password field', () => {
  const shelf = new Shelf();
  const tab = tabOn(shelf, ['random']);
  tab.edit(app());
  tab.typed(1, 'before');
  tab.memory.show('1', { type: 'password' }); // an output, as Gradio's updates come
  tab.typed(1, 'hidden');
  tab.typed(4, 'hidden');
  tab.begin({ key: 'k', fn: 0, body: '{"data": ["hidden"]}', data: ['hidden'] });
  assert.ok(!/hidden|before/.test(JSON.stringify([...shelf.items])));
  const again = tabOn(shelf, ['random']);
  again.edit(app());
  again.begin({ key: 'k', fn: 0, body: '{"data": ["hidden"]}', data: ['hidden'] });
  assert.ok(!/hidden/.test(JSON.stringify([...shelf.items])));
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
