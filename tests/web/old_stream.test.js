// node --test: the rule of coming back, and the stream that follows it over a pretended EventSource.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLOSED, CONNECTING, OPEN, SILENCE_MS, backoffMs, decide } from '../../src/penstock/web/console/old_reconnect.js';
import { RunStream } from '../../src/penstock/web/console/old_stream.js';

const now = (more) => ({
  signal: 'error', ended: false, readyState: CLOSED, silentMs: 0, attempt: 0, retryMs: 0, chance: 0.5, ...more,
});

test('waits double up to a cap, and chance spreads them', () => {
  assert.deepEqual([0, 1, 2].map((attempt) => backoffMs(attempt, 0)), [250, 500, 1000]);
  assert.ok(backoffMs(3, 0.99) > backoffMs(3, 0));
  assert.ok(backoffMs(10_000, 0.99) <= 15_000);
});

test('an ended run is left alone, whatever happens', () => {
  for (const signal of ['error', 'wake']) assert.equal(decide(now({ signal, ended: true })).act, 'stop');
});

test('the browser retries a broken connection, we one that it gave up', () => {
  assert.equal(decide(now({ readyState: CONNECTING })).act, 'keep');
  assert.deepEqual(decide(now()), { act: 'reopen', afterMs: 375 });
  assert.deepEqual(decide(now({ retryMs: 2000 })), { act: 'reopen', afterMs: 2000 });
});

test('a wake-up keeps a connection that has spoken, and replaces one that has not', () => {
  const wake = (readyState, silentMs) => decide(now({ signal: 'wake', readyState, silentMs })).act;
  assert.equal(wake(OPEN, SILENCE_MS), 'keep');
  assert.equal(wake(OPEN, SILENCE_MS + 1), 'reopen');
  assert.equal(wake(CONNECTING, 500), 'keep');
  assert.equal(wake(CONNECTING, 5000), 'reopen');
  assert.equal(wake(CLOSED, 0), 'reopen');
});

class PretendedSource extends EventTarget {
  static all = [];
  readyState = CONNECTING;

  constructor(url) {
    super();
    this.url = url;
    PretendedSource.all.push(this);
  }

  open() {
    this.readyState = OPEN;
    this.onopen({});
  }

  send(data, lastEventId) {
    this.onmessage({ data: JSON.stringify(data), lastEventId });
  }

  close() {
    this.readyState = CLOSED;
  }
}

function started(verdicts = {}) {
  PretendedSource.all = [];
  const clock = { ms: 0 };
  const seen = { restarts: 0, taken: [] };
  const stream = new RunStream('events', {
    take: (event) => {
      seen.taken.push(event);
      return verdicts[event.seq] ?? 'taken';
    },
    status: (status) => (seen.status = status),
    restart: () => (seen.restarts += 1),
    gone: async () => false,
    change: () => {},
  }, { EventSource: PretendedSource, now: () => clock.ms, random: () => 0 });
  return { stream, clock, seen };
}

test('after a silence, a wake-up reopens at the cursor and counts it', () => {
  const { stream, clock } = started();
  PretendedSource.all[0].open();
  PretendedSource.all[0].send({ type: 'text', seq: 7 }, 'epoch123-7');
  clock.ms += SILENCE_MS + 1;
  stream.wake();
  assert.deepEqual(PretendedSource.all.map((source) => source.url), ['events?fold=1', 'events?after=epoch123-7']);
  PretendedSource.all[1].open();
  assert.equal(stream.resumes, 1);
  assert.equal(stream.state, 'live');
  stream.close();
});

test('duplicates are counted, and the end closes for good', () => {
  const { stream } = started({ 1: 'duplicate' });
  const [source] = PretendedSource.all;
  source.open();
  source.send({ type: 'text', seq: 1 }, 'epoch123-1');
  source.send({ type: 'end', seq: 2 }, 'epoch123-2');
  assert.deepEqual([stream.duplicates, stream.state, source.readyState], [1, 'ended', CLOSED]);
  stream.wake();
  assert.equal(PretendedSource.all.length, 1);
});

test('a gap reads everything again, from no cursor', async () => {
  const { stream, seen } = started({ 5: 'gap' });
  PretendedSource.all[0].open();
  PretendedSource.all[0].send({ type: 'text', seq: 5 }, 'epoch123-5');
  assert.deepEqual([seen.restarts, stream.state], [1, 'reconnecting']);
  stream.wake(); // does not wait for the timer
  assert.equal(PretendedSource.all[1].url, 'events?fold=1');
  stream.close();
});

test('a source that was let go is not listened to', () => {
  const { stream, clock, seen } = started();
  const [first] = PretendedSource.all;
  clock.ms += 60_000;
  stream.wake();
  first.dispatchEvent(Object.assign(new Event('status'), { data: '{"state":"queued"}' }));
  assert.equal(seen.status, undefined);
  stream.close();
});

test('another pace goes on from the cursor at once, and is no resume', () => {
  const { stream } = started();
  PretendedSource.all[0].open();
  PretendedSource.all[0].send({ type: 'text', seq: 7 }, 'epoch123-7');
  for (const rate of [0, 1, 1, 0]) {
    stream.pace(rate);
    const latest = PretendedSource.all.at(-1);
    if (latest.readyState === CONNECTING) latest.open();
  }
  assert.deepEqual(PretendedSource.all.map((source) => source.url.split('?')[1]), [
    'fold=1', 'after=epoch123-7&rate=1', 'after=epoch123-7',
  ]);
  assert.equal(stream.resumes, 0);
  assert.deepEqual(PretendedSource.all.map((source) => source.readyState), [CLOSED, CLOSED, OPEN]);
});

test('a browser that reconnects by itself at the old pace is given the new one', () => {
  const { stream } = started();
  const [first] = PretendedSource.all;
  first.open();
  stream.pace(1);
  const slow = PretendedSource.all[1];
  slow.open();
  slow.readyState = CONNECTING;
  slow.onerror({});
  stream.pace(0); // seen again while there is no connection
  slow.open();
  assert.equal(PretendedSource.all.at(-1).url.includes('rate='), false);
  assert.equal(PretendedSource.all.length, 3);
});

test('a fold with the end in it ends the stream', () => {
  const { stream } = started();
  PretendedSource.all[0].open();
  PretendedSource.all[0].send({ type: 'fold', seq: 9, events: [{ type: 'end', seq: 9 }] }, 'epoch123-9');
  assert.equal(stream.state, 'ended');
});

const piece = (part, data, more) => ({ type: 'piece', part, parts: 3, data, ...more });
const LARGE = ['{"type":"json",', '"value":"lar', 'ge"}'];

test('a large event is put together, over two connections if need be, and is not told before', () => {
  const { stream, seen } = started();
  PretendedSource.all[0].open();
  PretendedSource.all[0].send(piece(0, LARGE[0], { seq: 1 }), 'epoch123-1');
  PretendedSource.all[0].send(piece(1, LARGE[1], { seq: 2 }), 'epoch123-2');
  assert.deepEqual(seen.taken, []);
  stream.pace(1);
  assert.match(PretendedSource.all[1].url, /after=epoch123-2/);
  PretendedSource.all[1].open();
  PretendedSource.all[1].send(piece(2, LARGE[2], { seq: 3 }), 'epoch123-3');
  assert.deepEqual(seen.taken, [{ type: 'json', value: 'large', seq: 3, n: 3 }]);
});

test('a piece that fits nowhere has everything read again', () => {
  const { seen } = started();
  PretendedSource.all[0].open();
  PretendedSource.all[0].send(piece(1, LARGE[1], { seq: 2 }), 'epoch123-2');
  assert.equal(seen.restarts, 1);
  assert.deepEqual(seen.taken, []);
});

test('a large end in pieces closes the connection', () => {
  const { stream } = started();
  const texts = ['{"type":"end",', '"state":"succ', 'eeded"}'];
  PretendedSource.all[0].open();
  texts.forEach((data, part) => PretendedSource.all[0].send(piece(part, data, { seq: part + 1 }), `epoch123-${part + 1}`));
  assert.equal(stream.state, 'ended');
  assert.equal(PretendedSource.all[0].readyState, CLOSED);
});
