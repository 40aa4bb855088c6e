// node --test: a page's side of a reader, over a pretended server and a connection of its own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server } from '../../src/penstock/web/client/api.js';
import { Hub } from '../../src/penstock/web/client/hub.js';
import { Cursors } from '../../src/penstock/web/client/memory.js';
import { Subscription } from '../../src/penstock/web/client/subscription.js';
import { PretendedServer, World } from './pretended.js';

/** What a page has: a client whose readers join a hub as over `OwnLink`. */
function makePage(server = new PretendedServer()) {
  const world = new World();
  const api = new Server('http://pretended/', null, server.fetch);
  const hub = new Hub(api, world.env, { transports: ['fetch', 'poll'] });
  const link = {
    wishes: [],
    join({ on, ...wish }) {
      link.wishes.push(wish);
      const events = (batch) =>
        on.events(
          batch.map(({ event }) => event),
          batch.at(-1).cursor,
        );
      const reader = hub.join({ ...wish, on: { ...on, events, status: (data) => on.status(JSON.parse(data)) } });
      return { ack: () => reader.ack(), pace: (rate) => hub.pace(reader, rate), leave: () => hub.leave(reader) };
    },
  };
  const client = { base: api.base, link, cursors: new Cursors(null, () => {}), call: (...given) => api.call(...given) };
  return { world, server, hub, client, link, subscribe: (run, options = {}) => new Subscription(client, run, options) };
}

function write(server, run, count) {
  for (let n = 0; n < count; n += 1) server.append(run, { type: 'json', value: n });
}

const END = { type: 'end', state: 'succeeded' };

async function until(condition) {
  for (let n = 0; n < 300 && !condition(); n += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(condition());
}

test('what a page throws breaks nothing for those who share its connection', async () => {
  const { world, server, subscribe } = makePage();
  write(server, 'a', 1);
  const fault = () => {
    throw new Error('of the page');
  };
  const bad = subscribe('a', { onConnection: fault, onStatus: fault, onEvent: fault });
  const events = [];
  subscribe('a', { onEvent: ({ seq }) => events.push(seq) });
  await world.pass(100);
  for (const stream of server.streams) stream.write('event: status\ndata: {"state":"running"}\n\n');
  server.cut();
  write(server, 'a', 2);
  await world.pass(5_000);
  assert.deepEqual([bad.received, bad.status.state, events], [3, 'running', [1, 2, 3]]);
});

test('a page that lets go while it joins, or has before, holds nothing', async () => {
  const { world, server, hub, link, subscribe } = makePage();
  write(server, 'a', 1);
  const first = subscribe('a', { onConnection: (one) => one.close() });
  subscribe('a', { signal: AbortSignal.abort() });
  await world.pass(100);
  assert.deepEqual([first.connection, hub.idle, server.streams.size, link.wishes.length], ['stopped', true, 0, 1]);
});

test('a signal lets go, and keeps nothing of what has ended', async () => {
  const { world, server, hub, subscribe } = makePage();
  write(server, 'a', 1);
  const abort = new AbortController();
  const events = [];
  subscribe('a', { signal: abort.signal, onEvent: (event) => events.push(event) });
  await world.pass(100);
  abort.abort();
  assert.deepEqual([events.length, hub.idle], [1, true]);
});

test('a pace that the server would refuse becomes the nearest that it takes', async () => {
  const { world, server, link, subscribe } = makePage();
  write(server, 'a', 1);
  for (const rate of [100, 0.2, 2.5, 0, undefined, -1, NaN]) subscribe('a', { rate });
  await world.pass(0);
  assert.deepEqual(
    link.wishes.map(({ rate }) => rate),
    [60, 1, 3, 0, undefined, undefined, undefined],
  );
});

test('what is no cursor is not sent, and takes nothing from others', async () => {
  const { world, server, link, subscribe } = makePage();
  write(server, 'a', 2);
  const events = [];
  subscribe('a', { after: 'garbage', onEvent: ({ seq }) => events.push(seq) });
  await world.pass(100);
  assert.deepEqual([link.wishes[0].after, events], ['', [1, 2]]);
});

test('who reads on with a state while the server is away gets it when the server is back', async () => {
  const { world, server, subscribe } = makePage();
  write(server, 'a', 3);
  server.away = true;
  const drawn = [];
  const seen = subscribe('a', { after: 'epoch123-2', onState: ({ values }) => drawn.push(values.length) });
  await world.pass(100);
  server.away = false;
  await until(() => seen.fold.position === 3);
  await until(() => drawn.includes(3));
  assert.equal(seen.error, null);
});

test('the state of a run that has ended is read to its end, however many answers that takes', async () => {
  const { world, server, subscribe } = makePage();
  write(server, 'a', 30); // the pretended server gives seven at a time
  server.append('a', END);
  const seen = subscribe('a', { after: 'epoch123-31', onState() {} });
  await world.pass(1_000);
  assert.equal(seen.connection, 'ended');
  await until(() => seen.fold.end);
  assert.equal(seen.fold.values.length, 30);
});

test('what a loop has not taken is not remembered as taken', async () => {
  const { world, server, client, subscribe } = makePage();
  write(server, 'a', 5);
  const loop = subscribe('a', { after: 'remembered' })[Symbol.asyncIterator]();
  const { value } = await Promise.all([loop.next(), world.pass(100)]).then(([first]) => first);
  assert.equal(value.seq, 1);
  assert.equal(client.cursors.get('http://pretended/a'), 'epoch123-1');
  await loop.next();
  assert.equal(client.cursors.get('http://pretended/a'), 'epoch123-2');
  await loop.return();
});
