import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Server } from '../../src/penstock/web/client/api.js';

/** A server that answers when it is told to, and takes one token. */
function slowServer(good) {
  const waiting = [];
  const fetch = (url, { headers }) =>
    new Promise((resolve) => {
      const status = headers.Authorization === `Bearer ${good}` ? 200 : 401;
      waiting.push({ url, answer: () => resolve(new Response('{}', { status })) });
    });
  /** the answer to what was asked first, and whatever follows from it */
  const answer = async () => {
    waiting.shift().answer();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { fetch, answer, waiting };
}

test('a token that has been replaced is not replaced again by who hears late that it was refused', async () => {
  const { fetch, answer, waiting } = slowServer('2');
  const refused = [];
  const server = new Server('http://pretended/', (one) => `${refused.push(one)}`, fetch);
  await server.headers();
  const calls = [server.call('a'), server.call('b')];
  await new Promise((resolve) => setImmediate(resolve));
  await answer(); // a is refused, a fresh token comes, and a asks again
  await answer(); // b is refused, with the old one
  assert.deepEqual(waiting.map(({ url }) => url.at(-1)), ['a', 'b']);
  await answer();
  await answer();
  await Promise.all(calls);
  assert.deepEqual(refused, [null, '1']);
});
