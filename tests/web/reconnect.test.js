// node --test: the rule of coming back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  FAULTS,
  FIRST_BYTE_MS,
  HEARTBEAT_MS,
  MUTES,
  ONLINE_SILENCE_MS,
  SLACK_MS,
  backoffMs,
  decide,
} from '../../src/penstock/web/client/reconnect.js';

const on = (signal, more) => decide({ signal, chance: 0.5, ...more });
const refused = (status, more) => on('refused', { status, ...more });

test('waits double up to a cap, and chance spreads them', () => {
  assert.deepEqual(
    [0, 1, 2].map((attempt) => backoffMs(attempt, 0)),
    [250, 500, 1000],
  );
  assert.ok(backoffMs(3, 0.99) > backoffMs(3, 0));
  assert.ok(backoffMs(10_000, 0.99) <= 15_000);
  assert.ok(FIRST_BYTE_MS < HEARTBEAT_MS);
});

test('a broken connection is made again after a while, longer while nobody looks', () => {
  assert.deepEqual(on('broken'), { act: 'retry', afterMs: 375 });
  assert.ok(on('broken', { attempt: 20 }).afterMs <= 15_000);
  assert.ok(on('broken', { attempt: 20, hidden: true }).afterMs > 15_000);
});

test('a clean end is followed at once, or when the server said; one that brought nothing is a failure', () => {
  assert.deepEqual(on('ended'), { act: 'retry', afterMs: 0 });
  assert.deepEqual(on('ended', { retryMs: 812 }), { act: 'retry', afterMs: 812 });
  assert.ok(on('ended', { attempt: 3 }).afterMs >= 2000);
});

test('what a status means', () => {
  const acts = {
    204: 'end',
    400: 'reset',
    401: 'renew',
    403: 'stop',
    404: 'stop',
    408: 'retry',
    410: 'reset',
    422: 'stop',
  };
  const more = { 425: 'retry', 426: 'fallback', 429: 'retry', 500: 'retry', 502: 'retry', 503: 'retry', 504: 'retry' };
  for (const [status, act] of Object.entries({ ...acts, ...more }))
    assert.equal(refused(Number(status)).act, act, status);
});

test('Retry-After is obeyed, and never shortens a wait', () => {
  assert.equal(refused(503, { retryMs: 9000 }).afterMs, 9000);
  assert.ok(refused(503, { retryMs: 1, attempt: 4 }).afterMs > 1000);
});

test('what can not succeed is not tried for ever', () => {
  assert.equal(refused(401, { renewed: true }).act, 'stop');
  assert.equal(refused(500, { attempt: FAULTS }).act, 'stop');
  assert.equal(refused(503, { attempt: FAULTS }).act, 'retry'); // a server that is away may come back
  assert.ok(refused(410, { attempt: 5 }).afterMs > 1000);
});

test('a transport that brings nothing though the server answers makes way for the next', () => {
  assert.equal(on('mute', { mutes: MUTES - 1 }).act, 'retry');
  assert.equal(on('mute', { mutes: MUTES }).act, 'fallback');
  assert.deepEqual(on('silent', { mutes: 1 }), { act: 'retry', afterMs: 0 });
  assert.equal(on('silent', { mutes: MUTES }).act, 'fallback');
});

test('a wake-up keeps a connection that has spoken, and replaces one that has not', () => {
  const wake = (silentMs, open = true) => on('wake', { silentMs, open }).act;
  assert.equal(wake(HEARTBEAT_MS + SLACK_MS), 'keep');
  assert.equal(wake(HEARTBEAT_MS + SLACK_MS + 1), 'retry');
  assert.equal(on('wake', { silentMs: 40_000, heartbeatMs: 60_000, open: true }).act, 'keep');
  assert.equal(wake(500, false), 'keep');
  assert.equal(wake(5000, false), 'retry');
});

test('a network that comes back is not trusted with an old socket', () => {
  assert.equal(on('online', { silentMs: ONLINE_SILENCE_MS, open: true }).act, 'keep');
  assert.deepEqual(on('online', { silentMs: ONLINE_SILENCE_MS + 1, open: true }), { act: 'retry', afterMs: 0 });
});
