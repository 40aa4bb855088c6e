// What Gradio's page gets for its requests: a pretended server, real streams, and the page's own ways.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../../src/penstock/web/client/index.js';
import { Presence } from '../../src/penstock/web/gradio/presence.js';
import { Routes } from '../../src/penstock/web/gradio/routes.js';
import { Wrap } from '../../src/penstock/web/gradio/wrap.js';
import { PretendedServer } from './pretended.js';

const BASE = 'http://app.test/gradio_api/penstock/';
const API = 'http://app.test/gradio_api/';

const real = globalThis.fetch;

/** Gradio with us before it, and a page of its. */
class World {
  runs = new PretendedServer();
  asked = [];
  let = []; // and not refused
  answers = []; // to joins, in order; without one it is recorded
  strange = []; // sessions that are somebody else's
  leaving = false;
  stream = null; // Gradio's own
  timers = [];
  #ids = 0;

  constructor() {
    globalThis.fetch = (input, init) => this.#fetch(input, init);
    const clock = { now: () => 0, random: () => 0, pause: async () => {} };
    const env = { now: () => 0, random: () => 0, setTimeout: (work) => void this.timers.push(work), clearTimeout() {} };
    this.wrap = new Wrap(
      new Routes(BASE),
      {
        client: new Client({ base: BASE, share: false, transports: ['fetch'] }),
        fetch: (input, init) => globalThis.fetch(input, init),
        api: API,
        clock,
        env,
        makeKey: () => `key${(this.#ids += 1)}`,
        leaving: () => this.leaving,
        changed() {},
      },
      null,
      async (response) => response,
    );
  }

  async #fetch(input, init = {}) {
    const url = String(input.url ?? input);
    if (url.startsWith(BASE)) return this.runs.fetch(url.replace(BASE, 'http://app.test/'), init);
    this.asked.push([url.replace(API, ''), init.headers ? new Headers(init.headers).get('X-Penstock-Key') : null]);
    const named = init.body ? JSON.parse(init.body).session_hash : /(?:heartbeat\/|session_hash=)(\w+)/.exec(url)?.[1];
    if (this.strange.includes(named)) return Response.json({ detail: 'Session not found.' }, { status: 404 });
    this.let.push(`${url.replace(API, '')} ${named}`);
    if (url.includes('/heartbeat/')) return new Response(new ReadableStream());
    if (url.includes('/queue/data')) return new Response(this.stream);
    if (!url.includes('/queue/join')) return Response.json({ data: ['called'] });
    const made = this.answers.shift();
    if (made) return made();
    return Response.json({ event_id: `e${(this.#ids += 1)}` }, { headers: { 'X-Penstock': '1' } });
  }

  async join(session = 'abc') {
    const body = JSON.stringify({ data: [], fn_index: 0, session_hash: session });
    const response = await this.wrap.fetch(`${API}queue/join?`, { method: 'POST', body });
    return { status: response.status, id: (await response.json()).event_id };
  }

  /** As Gradio's page does it. */
  async listen(session = 'abc') {
    const abort = new AbortController();
    const request = new Request(`${API}queue/data?session_hash=${session}`, { signal: abort.signal });
    const response = await this.wrap.fetch(request);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    return {
      abort,
      request,
      async next() {
        while (!text.includes('\n\n')) {
          const { value, done } = await reader.read();
          if (done) return null;
          text += value;
        }
        const end = text.indexOf('\n\n');
        const message = JSON.parse(text.slice('data: '.length, end));
        text = text.slice(end + 2);
        return message;
      },
    };
  }

  says(id, data, msg = 'process_generating') {
    this.runs.append(id, { type: 'replace', value: { msg, output: { data }, success: true } });
  }

  ends(id, data) {
    this.says(id, data, 'process_completed');
    this.runs.append(id, { type: 'end', state: 'succeeded' });
    this.runs.flush();
  }
}

/** @param {string} name @param {(world: World) => Promise<void>} body */
const inWorld = (name, body) =>
  test(name, async () => {
    try {
      await body(new World());
    } finally {
      globalThis.fetch = real;
    }
  });

const brief = ({ msg, event_id: id, output }) => [msg, id, output?.data];

inWorld('an event is joined with a key and heard from its run', async (world) => {
  const { id } = await world.join();
  assert.deepEqual(world.asked[0], ['queue/join?', 'key1']);
  const stream = await world.listen();
  world.says(id, ['a']);
  world.says(id, ['ab']);
  world.ends(id, ['abc']);
  const messages = [];
  for (let n = 0; n < 4; n += 1) messages.push(brief(await stream.next()));
  assert.deepEqual(messages[0], ['process_starts', id, undefined]);
  assert.deepEqual(messages[1], ['process_generating', id, ['a']]);
  assert.deepEqual(messages[3], ['process_completed', id, ['abc']]);
  assert.ok(
    world.asked.every(([url]) => !url.includes('queue/data')),
    "Gradio's own stream is not asked for",
  );
});

inWorld('two events are heard on one stream, which outlives both', async (world) => {
  const [first, stream] = [await world.join(), await world.listen()];
  world.ends(first.id, ['one']);
  assert.equal((await stream.next()).msg, 'process_starts');
  assert.deepEqual(brief(await stream.next()), ['process_completed', first.id, ['one']]);
  const second = await world.join();
  world.ends(second.id, ['two']);
  assert.equal((await stream.next()).event_id, second.id);
  assert.deepEqual(brief(await stream.next()), ['process_completed', second.id, ['two']]);
});

inWorld('a join is made again with the same key while the server is away', async (world) => {
  const away = () => Promise.reject(new TypeError('Failed to fetch'));
  world.answers = [away, () => new Response('Bad Gateway', { status: 502 })];
  const { status } = await world.join();
  const joins = world.asked.filter(([url]) => url.startsWith('queue/join'));
  assert.deepEqual([status, joins.map(([, key]) => key)], [200, ['key1', 'key1', 'key1']]);
});

inWorld("what Gradio refuses is Gradio's own answer", async (world) => {
  world.answers = [() => Response.json({ detail: 'Queue is full' }, { status: 503 })];
  assert.equal((await world.join()).status, 503);
  assert.equal(world.asked.filter(([url]) => url.startsWith('queue/join')).length, 1);
});

inWorld("an event that is not recorded comes by Gradio's own stream, beside those that are", async (world) => {
  world.answers = [() => Response.json({ event_id: 'own1' })];
  const text = [
    { msg: 'process_completed', event_id: 'own1', output: { data: ['by itself'] }, success: true },
    { msg: 'close_stream', event_id: null },
  ].map((message) => `data: ${JSON.stringify(message)}\n\n`);
  world.stream = new Blob([text.join('')]).stream();
  await world.join();
  const stream = await world.listen();
  assert.deepEqual(brief(await stream.next()), ['process_completed', 'own1', ['by itself']]);
  const { id } = await world.join();
  world.ends(id, ['recorded']);
  assert.equal((await stream.next()).event_id, id, 'it goes on after the other has closed');
});

inWorld("Gradio's own stream is lost as it was without us", async (world) => {
  world.answers = [() => Response.json({ event_id: 'own1' })];
  world.stream = new Blob(['data: {"msg": "estimation", "event_id": "own1"}\n\n']).stream();
  await world.join();
  const stream = await world.listen();
  assert.equal((await stream.next()).msg, 'estimation');
  await assert.rejects(stream.next(), TypeError);
});

inWorld('a page that is asked whether it may be left, and stays, goes on hearing', async (world) => {
  const { id } = await world.join();
  const stream = await world.listen();
  world.leaving = true;
  stream.abort.abort();
  world.leaving = false;
  assert.equal(stream.request.signal.aborted, false, 'its reader does not see it');
  world.ends(id, ['stayed']);
  assert.equal((await stream.next()).msg, 'process_starts');
  assert.deepEqual(brief(await stream.next()), ['process_completed', id, ['stayed']]);
});

inWorld('a page that opens its stream anew is told what it has not heard, as changes to what it has', async (world) => {
  const { id } = await world.join();
  const first = await world.listen();
  world.says(id, ['a']);
  world.runs.flush();
  assert.equal((await first.next()).msg, 'process_starts');
  assert.deepEqual(brief(await first.next()), ['process_generating', id, ['a']]);
  first.abort.abort();
  assert.equal(await first.next(), null, 'closed, and no error');
  const second = await world.listen();
  world.says(id, ['ab']);
  world.ends(id, ['ab']);
  assert.deepEqual(brief(await second.next()), ['process_generating', id, [[['replace', [], 'ab']]]]);
  assert.deepEqual(brief(await second.next()), ['process_completed', id, ['ab']]);
});

inWorld("another client's session is another's", async (world) => {
  const mine = await world.join('mine1');
  const other = await world.join('other1');
  const stream = await world.listen('other1');
  world.ends(mine.id, ['mine']);
  world.ends(other.id, ['other']);
  assert.equal((await stream.next()).event_id, other.id);
  assert.deepEqual(brief(await stream.next()), ['process_completed', other.id, ['other']]);
});

inWorld('a run that can not be read fails, in words', async (world) => {
  const stream = await world.listen();
  world.answers = [() => Response.json({ event_id: 'gone' }, { headers: { 'X-Penstock': '1' } })];
  await world.join();
  const { msg, success, output } = await stream.next();
  assert.deepEqual([msg, success, output.error], ['process_completed', false, 'refused with 404']);
});

inWorld('calls without the queue are made once and as they are', async (world) => {
  const body = JSON.stringify({ data: [], fn_index: 0, session_hash: 'abc' });
  const response = await world.wrap.fetch(`${API}run/predict`, { method: 'POST', body });
  assert.deepEqual([await response.json(), world.asked], [{ data: ['called'] }, [['run/predict', null]]]);
});

// Two first pages at once get two cookies, and the browser keeps the later one; or its cookies are cleared.
inWorld("a page whose own session is not its any more goes on in another, whatever it asks first", async (world) => {
  await world.join();
  world.strange = ['abc'];
  const body = JSON.stringify({ data: [{ session_hash: 'abc' }], fn_index: 0, session_hash: 'abc' });
  const post = (path) => world.wrap.fetch(`${API}${path}`, { method: 'POST', body });
  for (const path of ['run/predict', 'component_server', 'queue/join?']) {
    world.let = [];
    assert.equal((await post(path)).status, 200);
    const { hash } = world.wrap.visits.get('abc');
    assert.notEqual(hash, world.strange.at(-1));
    assert.ok(world.let.includes(`heartbeat/${hash} ${hash}`), 'it is there for the new one');
    world.strange.push(hash);
  }
});

inWorld('what is under way in a session that is given up is asked for in the next, by each', async (world) => {
  world.strange = ['abc'];
  const joined = await Promise.all([world.join(), world.join()]);
  assert.deepEqual(
    joined.map(({ status }) => status),
    [200, 200],
  );
  const names = new Set(world.let.map((asked) => asked.split(' ')[1]));
  assert.deepEqual([...names], [world.wrap.visits.get('abc').hash]);
});

inWorld('a presence that is refused as another session is asked for in one of its own, and not at once', async (world) => {
  world.strange = ['abc'];
  await world.wrap.fetch(`${API}heartbeat/abc`);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual([world.let, world.timers.length], [[], 1]);
  world.timers[0]();
  await new Promise((resolve) => setTimeout(resolve, 5));
  const { hash } = world.wrap.visits.get('abc');
  assert.deepEqual(world.let, [`heartbeat/${hash} ${hash}`]);
});

inWorld("what Gradio does not find is its own answer, and no reason to leave the session", async (world) => {
  world.answers = [() => Response.json({ detail: 'Not Found' }, { status: 404 })];
  assert.equal((await world.join()).status, 404);
  assert.equal(world.wrap.visits.get('abc').hash, 'abc');
});

inWorld('requests to others are let through as they came', async (world) => {
  let given;
  world.wrap.around.fetch = async (...all) => void (given = all);
  const options = { method: 'POST', body: 'x' };
  await world.wrap.fetch('https://other.test/gradio_api/queue/join', options);
  assert.equal(given[1], options);
});

test('presence is asked for again for ever, unless it is refused, and not while the page is put away', async () => {
  const timers = [];
  const env = { now: () => 0, random: () => 0, setTimeout: (work) => timers.push(work), clearTimeout() {} };
  const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
  let asked = 0;
  let answer = async () => new Response('ALIVE');
  const presence = new Presence(() => ((asked += 1), answer()), env);
  presence.want(true);
  await settle();
  assert.deepEqual([asked, timers.length], [1, 1]);
  answer = () => Promise.reject(new TypeError('Failed to fetch'));
  timers.shift()();
  await settle();
  presence.wake();
  await settle();
  assert.equal(asked, 3);
  presence.suspend();
  await settle();
  assert.equal(asked, 3);
  answer = async () => new Response(null, { status: 401 });
  presence.resume();
  await settle();
  assert.deepEqual([asked, timers.length], [4, 2], 'a login is asked for by Gradio itself');
});
