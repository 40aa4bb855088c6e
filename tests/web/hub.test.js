// node --test: readers over one connection, in a pretended world. Whatever happens, each gets every event once, in order.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Server } from '../../src/penstock/web/client/api.js';
import { Fold } from '../../src/penstock/web/client/fold.js';
import { Hub } from '../../src/penstock/web/client/hub.js';
import { verdictOn } from '../../src/penstock/web/client/place.js';
import { PretendedServer, World } from './pretended.js';

function makeHub({ seed = 1, server = new PretendedServer(), token = null } = {}) {
  const world = new World(seed);
  const proven = [];
  const hub = new Hub(new Server('http://pretended/', token, server.fetch), world.env, {
    transports: ['fetch', 'poll'],
    onProven: (name) => proven.push(name),
  });
  return { world, server, hub, proven };
}

// What a reader finds wrong is thrown into the loop, which takes it for a broken connection: so it is kept as well.
const wrong = [];

afterEach(() => assert.deepEqual(wrong.splice(0), []));

function expect(good, words) {
  if (!good) wrong.push(words);
}

/** A reader that proves: its events have no gap and no repeat. */
function read(hub, run, { auto = true, ...wish } = {}) {
  const seen = { events: [], about: [], statuses: [], errors: [], position: 0, cursor: wish.after ?? '', resets: 0 };
  seen.position = Number(seen.cursor.split('-')[1] ?? 0);
  seen.unacked = 0;
  const on = {
    events(batch) {
      for (const { event } of batch) {
        expect(verdictOn(event, seen.position) === 'next', `${run}: ${JSON.stringify(event)} at ${seen.position}`);
        seen.resets += event.type === 'reset' && !event.seq;
        seen.position = event.seq ?? event.to;
        seen.events.push(event);
      }
      seen.cursor = batch.at(-1).cursor;
      if (!auto) seen.unacked += 1;
      else if (auto === 'at once' && seen.reader)
        seen.reader.ack(); // as a page does
      else queueMicrotask(() => seen.reader.ack());
    },
    status: (data) => seen.statuses.push(data),
    connection(about) {
      seen.about.push(about);
      if (about.connection !== 'ended') return;
      expect(seen.events.at(-1)?.type === 'end', `${run} is said to have ended at ${seen.position}`);
      if (seen.reader) hub.leave(seen.reader);
    },
    refused: (error) => seen.errors.push(error),
  };
  seen.reader = hub.join({ run, ...wish, on });
  return seen;
}

const text = (seen) =>
  seen.events
    .filter(({ type }) => type === 'text')
    .map((event) => event.text)
    .join('');

function write(server, run, from, count) {
  for (let n = from; n < from + count; n += 1) server.append(run, { type: 'text', pos: 0, text: `${n} ` });
}

test('readers of one run, and of several, share one connection', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 3);
  write(server, 'b', 0, 2);
  const readers = [read(hub, 'a'), read(hub, 'a'), read(hub, 'b')];
  await world.pass(100);
  assert.deepEqual(
    readers.map(({ position }) => position),
    [3, 3, 2],
  );
  assert.equal(server.streams.size, 1);
  assert.equal(server.asked.filter((url) => url.includes('/api/events?')).length, 1);
  assert.ok(readers[0].events.every((event) => !('stream' in event)));
});

test('who comes later gets what the others have had from the store, and goes on with them', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 20);
  const first = read(hub, 'a');
  await world.pass(100);
  const late = read(hub, 'a');
  const middle = read(hub, 'a', { after: 'epoch123-11' });
  await world.pass(100);
  assert.deepEqual([late.position, middle.position], [20, 20]);
  write(server, 'a', 20, 5);
  server.flush();
  await world.pass(100);
  assert.deepEqual(
    [first, late, middle].map(({ position }) => position),
    [25, 25, 25],
  );
  assert.deepEqual([late.events.length, middle.events.length], [25, 14]);
  assert.equal(server.streams.size, 1);
});

test('a connection that breaks is resumed from where it stood', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 3);
  const seen = read(hub, 'a');
  await world.pass(100);
  server.cut();
  write(server, 'a', 3, 3);
  await world.pass(1000);
  assert.equal(seen.position, 6);
  assert.deepEqual(seen.about.at(-1), {
    connection: 'live',
    transport: 'fetch',
    draining: false,
    resumes: 1,
    duplicates: 0,
    openedMs: seen.about.at(-1).openedMs,
  });
  assert.match(server.asked.at(-1), /after=epoch123-3/);
});

test('a connection that is silent for two heartbeats is replaced', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 1);
  const seen = read(hub, 'a');
  await world.pass(29_000);
  assert.equal(server.asked.length, 1);
  await world.pass(4_000);
  assert.equal(server.asked.length, 2);
  assert.equal(seen.about.at(-1).resumes, 1);
});

test('a wake-up asks again at once where the connection was only waiting to', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 1);
  read(hub, 'a');
  await world.pass(100);
  server.away = true;
  server.cut();
  await world.pass(60_000);
  server.away = false;
  const before = server.asked.length;
  hub.wake('wake');
  await world.pass(1);
  assert.equal(server.asked.length, before + 1);
  assert.equal(server.streams.size, 1);
});

test('a reader that takes nothing holds up nobody, and is a cursor', async () => {
  const { world, server, hub } = makeHub();
  server.append('a', { type: 'text', pos: 0, text: 'x' });
  const [quick, frozen] = [read(hub, 'a'), read(hub, 'a', { auto: false })];
  await world.pass(100);
  for (let n = 0; n < 40; n += 1) {
    server.append('a', { type: 'json', value: 'y'.repeat(30_000) });
    server.flush();
    await world.pass(10);
  }
  assert.deepEqual([quick.position, frozen.position, frozen.unacked], [41, 1, 1]);
  while (frozen.position < 41) {
    frozen.reader.ack();
    await world.pass(100);
  }
  assert.equal(frozen.events.length, 41);
});

test('the end ends it: nobody comes back, and the connection says so', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 3);
  server.append('a', { type: 'end', state: 'succeeded' });
  const seen = read(hub, 'a');
  await world.pass(60_000);
  assert.equal(seen.position, 4);
  assert.equal(seen.about.at(-1).connection, 'ended');
  assert.deepEqual([server.asked.length, hub.idle], [1, true]);
});

test('nobody is told that a run has ended before its last event was handed over', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 3);
  const readers = [read(hub, 'a', { auto: 'at once' }), read(hub, 'a', { auto: 'at once' })];
  await world.pass(100);
  server.append('a', { type: 'end', state: 'succeeded' });
  server.flush();
  await world.pass(100);
  assert.deepEqual(
    readers.map(({ position }) => position),
    [4, 4],
  );
});

test('a run that is not there is refused to its readers, and to nobody else', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 3);
  const [good, bad] = [read(hub, 'a'), read(hub, 'none')];
  await world.pass(5_000);
  assert.equal(good.position, 3);
  assert.equal(bad.errors[0].status, 404);
  assert.equal(good.errors.length, 0);
});

test('a wiped store is told by a reset, and read from its start', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 5);
  const seen = read(hub, 'a');
  await world.pass(100);
  server.runs.set('a', []);
  server.epoch = 'epochNEW1';
  write(server, 'a', 0, 2);
  server.cut();
  await world.pass(2_000);
  assert.deepEqual([seen.resets, seen.position, seen.cursor], [1, 2, 'epochNEW1-2']);
});

test('a refused token is renewed once; one that stays refused ends it', async () => {
  const server = Object.assign(new PretendedServer(), { token: 'good' });
  write(server, 'a', 0, 2);
  const given = [];
  const token = (refused) => {
    given.push(refused);
    return given.length === 1 ? 'stale' : 'good';
  };
  const { world, hub } = makeHub({ server, token });
  const seen = read(hub, 'a');
  await world.pass(2_000);
  assert.deepEqual([seen.position, given], [2, [null, 'stale']]);
  server.token = 'another';
  server.cut();
  await world.pass(60_000);
  assert.equal(seen.errors[0].status, 401);
  assert.ok(server.asked.length < 10);
});

test('a transport that brings nothing is left for the next, and what got through is told', async () => {
  const server = new PretendedServer();
  const { fetch } = server;
  server.fetch = (url, init) => {
    if (url.includes('poll') || !url.includes('events')) return fetch(url, init);
    return Promise.resolve(new Response('<p>Log in</p>', { headers: { 'Content-Type': 'text/html' } }));
  };
  const { world, hub, proven } = makeHub({ server });
  write(server, 'a', 0, 2);
  const seen = read(hub, 'a');
  await world.pass(500);
  assert.equal(seen.position, 2);
  assert.deepEqual([...new Set(proven)], ['poll']);
  assert.equal(seen.about.at(-1).transport, 'poll');
});

test('a page in the back/forward cache holds no connection, and reads on when it is back', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 0, 3);
  const seen = read(hub, 'a');
  await world.pass(100);
  hub.suspend();
  await world.pass(100);
  assert.equal(server.streams.size, 0);
  write(server, 'a', 3, 3);
  hub.resume();
  await world.pass(100);
  assert.equal(seen.position, 6);
});

// ---- chance: everything at once

const mergeTexts = (world) => (events) => {
  const merged = [];
  for (const event of events) {
    const last = merged.at(-1);
    const joins = last && last.type === event.type && world.chance() < 0.6;
    if (joins && event.type === 'text')
      merged[merged.length - 1] = { ...event, pos: last.pos, text: last.text + event.text, n: (last.n ?? 1) + 1 };
    else if (joins && event.delta && last.delta)
      merged[merged.length - 1] = { ...event, delta: [...last.delta, ...event.delta], n: (last.n ?? 1) + 1 };
    else merged.push(event);
  }
  return merged;
};

function nextEvent(world, state) {
  const word = `${state.count} `;
  state.count += 1;
  if (world.chance() < 0.7) {
    state.value += word;
    return state.value === word ? { type: 'replace', value: word } : { type: 'replace', delta: [['append', [], word]] };
  }
  const event = { type: 'text', pos: state.text.length, text: word };
  state.text += word;
  return event;
}

// From the start, or from anywhere in what is stored: a restored tab may be ahead of the one that reads.
function newcomer(world, server, hub) {
  const run = ['a', 'b', 'c'][world.pick(3)];
  const { length } = server.log(run);
  const seq = world.chance() < 0.5 ? world.pick(length + 1) : Math.max(0, length - world.pick(5));
  const wish = { auto: [false, 'later', 'at once'][world.pick(3)], rate: [undefined, 1, 0, 30][world.pick(4)] };
  return read(hub, run, world.chance() < 0.5 || !seq ? wish : { ...wish, after: `epoch123-${seq}` });
}

async function disturb(world, server, hub, readers) {
  const what = world.pick(10);
  if (what === 0) server.cut();
  else if (what === 1) for (const stream of server.streams) stream.close();
  else if (what === 2) {
    server.away = true;
    server.cut();
  } else if (what === 3) server.away = false;
  else if (what === 4 && readers.length < 12) readers.push(newcomer(world, server, hub));
  else if (what === 5) hub.wake(['wake', 'online'][world.pick(2)]);
  else if (what === 6) {
    hub.suspend();
    await world.pass(world.pick(50));
    hub.resume();
  } else if (what === 7 && readers.length > 2) hub.leave(readers.splice(world.pick(readers.length), 1)[0].reader);
  else if (what === 8) hub.pace(readers[world.pick(readers.length)].reader, [undefined, 1, 0, 30][world.pick(4)]);
  else
    readers
      .filter(({ unacked }) => unacked)
      .forEach((seen) => {
        seen.unacked = 0;
        seen.reader.ack();
      });
}

async function live(seed) {
  const server = new PretendedServer();
  const { world, hub } = makeHub({ seed, server });
  server.merge = mergeTexts(world);
  const states = new Map(['a', 'b', 'c'].map((run) => [run, { count: 0, text: '', value: '' }]));
  for (const run of states.keys()) server.log(run);
  const readers = [read(hub, 'a'), read(hub, 'b', { auto: false })];
  for (let step = 0; step < 60; step += 1) {
    for (const [run, state] of states)
      for (let n = world.pick(4); n > 0; n -= 1) server.append(run, nextEvent(world, state));
    if (world.chance() < 0.5) server.flush();
    await disturb(world, server, hub, readers);
    await world.pass(world.pick(300));
  }
  server.away = false;
  for (const run of states.keys()) server.append(run, { type: 'end', state: 'succeeded' });
  for (let n = 0; n < 80 && readers.some(({ events }) => events.at(-1)?.type !== 'end'); n += 1) {
    server.flush();
    readers
      .filter(({ unacked }) => unacked)
      .forEach((seen) => {
        seen.unacked = 0;
        seen.reader.ack();
      });
    await world.pass(2_000);
  }
  return { readers, states };
}

for (let seed = 1; seed <= 40; seed += 1) {
  test(`whatever happens, every reader has every event once: chance ${seed}`, async () => {
    const { readers, states } = await live(seed);
    for (const { reader, events, errors } of readers) {
      assert.deepEqual(errors, []);
      assert.equal(events.at(-1)?.type, 'end', `${reader.source.run} stands at ${reader.position}`);
      if (events[0].seq - (events[0].n ?? 1) > 0) continue; // of a state only what followed: its places were proved
      const fold = new Fold();
      for (const event of events) assert.equal(fold.apply(event), 'taken');
      const { text: whole, value } = states.get(reader.source.run);
      assert.equal(fold.textOf(''), whole);
      assert.equal(fold.replaced[0]?.value ?? '', value);
    }
  });
}
