// node --test: a hub's connections, where something about them is wrong.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server } from '../../src/penstock/web/client/api.js';
import { Hub } from '../../src/penstock/web/client/hub.js';
import { PretendedServer, World } from './pretended.js';

function makeHub({ server = new PretendedServer(), token = null, transports = ['fetch', 'poll'] } = {}) {
  const world = new World();
  return { world, server, hub: new Hub(new Server('http://pretended/', token, server.fetch), world.env, { transports }) };
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
  for (const [run, count] of [['a', 3], ['b', 7], ['c', 1]]) write(server, run, count);
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
  assert.deepEqual(readers.map(({ events }) => events.length), [3, 3]);
  assert.ok(hub.idle);
});
