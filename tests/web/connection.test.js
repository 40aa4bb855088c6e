// node --test: a hub's connections, where something about them is wrong.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server } from '../../src/penstock/web/client/api.js';
import { Hub } from '../../src/penstock/web/client/hub.js';
import { PretendedServer, World } from './pretended.js';

function makeHub({ server = new PretendedServer(), token = null, transports = ['fetch', 'poll'] } = {}) {
  const world = new World();
  return {
    world,
    server,
    hub: new Hub(new Server('http://pretended/', token, server.fetch), world.env, { transports }),
  };
}

/** A reader as a page is one: it leaves with the end. */
function read(hub, run, wish = {}) {
  const seen = { events: [], about: [], errors: [], cursor: '' };
  const on = {
    events(batch) {
      seen.events.push(...batch.map(({ event }) => event));
      seen.cursor = batch.at(-1).cursor;
      if (seen.events.at(-1).type === 'end') hub.leave(seen.reader);
      else queueMicrotask(() => seen.reader.ack());
    },
    status() {},
    connection: ({ connection }) => seen.about.push(connection),
    refused: (error) => seen.errors.push(error),
  };
  seen.reader = hub.join({ run, ...wish, on });
  return seen;
}

function write(server, run, count) {
  for (let n = 0; n < count; n += 1) server.append(run, { type: 'json', value: n });
}

const END = { type: 'end', state: 'succeeded' };

test('after one of several has ended, the others still get cursors of their own', async () => {
  const { world, server, hub } = makeHub();
  for (const [run, count] of [
    ['a', 3],
    ['b', 7],
    ['c', 1],
  ])
    write(server, run, count);
  const [, b] = ['a', 'b', 'c'].map((run) => read(hub, run));
  await world.pass(100);
  server.append('a', END);
  server.flush();
  await world.pass(100);
  read(hub, 'c'); // somebody comes, which makes the hub look at the pace
  write(server, 'b', 1);
  server.flush();
  await world.pass(100);
  assert.equal(b.reader.source.cursor, 'epoch123-8');
  assert.equal(server.streams.size, 1);
});

test('readers of one run with a pace leave at its end, over long-poll too', async () => {
  const { world, server, hub } = makeHub({ transports: ['poll'] });
  write(server, 'a', 2);
  const readers = [read(hub, 'a', { rate: 1 }), read(hub, 'a', { rate: 1 })];
  await world.pass(3_000);
  server.append('a', END);
  await world.pass(3_000);
  assert.deepEqual(
    readers.map(({ events }) => events.length),
    [3, 3],
  );
  assert.ok(hub.idle);
});

test('a token that comes when nobody waits for it any more opens nothing', async () => {
  const server = Object.assign(new PretendedServer(), { token: 'good' });
  const asked = [];
  const token = () => (asked.length ? new Promise((give) => asked.push(give)) : (asked.push(null), 'stale'));
  const { world, hub } = makeHub({ server, token });
  write(server, 'a', 1);
  const seen = read(hub, 'a');
  await world.pass(50);
  hub.leave(seen.reader);
  await world.pass(50);
  asked[1]('good');
  await world.pass(5_000);
  assert.equal(server.streams.size, 0);
});

test('a request that stays bad is not repeated for ever', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 1);
  server.status = 400;
  const seen = read(hub, 'a');
  await world.pass(3_600_000);
  assert.equal(seen.errors[0].status, 400);
  assert.ok(server.asked.length < 10);
});

test('where one address for several runs is not known, each is read by its own', async () => {
  const { world, server, hub } = makeHub();
  const { fetch } = server;
  let refused = 0;
  hub.server.fetch = (url, init) => {
    if (!url.includes('api/events')) return fetch(url, init);
    refused += 1;
    return Promise.resolve(Response.json({}, { status: 404 }));
  };
  write(server, 'a', 1);
  write(server, 'b', 2);
  const readers = [read(hub, 'a'), read(hub, 'b')];
  await world.pass(10_000);
  assert.deepEqual(
    readers.map(({ events }) => events.length),
    [1, 2],
  );
  assert.equal(refused, 1);
});

test('a transport that throws makes way for the next', async () => {
  const { world, server, hub } = makeHub({ transports: ['poll'] });
  world.env.WebSocket = class {
    constructor() {
      throw new Error('SecurityError');
    }
  };
  const strict = new Hub(hub.server, world.env, { transports: ['websocket', 'poll'] });
  write(server, 'a', 3);
  const seen = read(strict, 'a');
  await world.pass(1_000);
  assert.deepEqual([seen.events.length, strict.transport], [3, 'poll']);
});

test('an answer that breaks off is no fault of long-poll, and is asked for again', async () => {
  const { world, server, hub } = makeHub({ transports: ['poll', 'fetch'] });
  const { fetch } = server;
  let cuts = 1;
  const cut = {
    pull: (body) => {
      body.enqueue(new TextEncoder().encode('{"events":'));
      body.error(new TypeError('network error'));
    },
  };
  hub.server.fetch = (url, init) =>
    (cuts -= 1) < 0 ? fetch(url, init) : Promise.resolve(new Response(new ReadableStream(cut)));
  write(server, 'a', 3);
  const seen = read(hub, 'a');
  await world.pass(2_000);
  assert.deepEqual([seen.events.length, hub.transport], [3, 'poll']);
});

test('who reads on from the end beside another run is told that this is it', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 3);
  server.append('a', END);
  write(server, 'b', 2);
  const [over, other] = [read(hub, 'a', { after: 'epoch123-4' }), read(hub, 'b')];
  await world.pass(2_000);
  assert.equal(over.about.at(-1), 'ended');
  write(server, 'b', 1);
  server.flush();
  await world.pass(100);
  assert.deepEqual([other.about.at(-1), other.events.length, server.streams.size], ['live', 3, 1]);
});

test('who catches up obeys 429 as a connection does, and does not ask for ever for what is refused', async () => {
  const { world, server, hub } = makeHub();
  write(server, 'a', 20);
  read(hub, 'a');
  await world.pass(100);
  server.status = 429;
  const late = read(hub, 'a');
  await world.pass(3_000);
  server.status = 0;
  await world.pass(10_000);
  assert.deepEqual([late.events.length, late.errors], [20, []]);
  const { fetch } = server;
  hub.server.fetch = (url, init) =>
    url.includes('poll') ? Promise.resolve(Response.json({}, { status: 500 })) : fetch(url, init);
  const refused = read(hub, 'a');
  for (let n = 0; n < 60; n += 1) {
    for (const stream of server.streams) stream.write(': heartbeat 15\n\n');
    await world.pass(10_000);
  }
  assert.deepEqual([refused.errors[0]?.status, late.errors], [500, []]);
});
