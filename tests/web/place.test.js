// node --test: what an event means to who stands somewhere, and what a browser remembers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Cursors,
  MAX_CURSORS,
  once,
  recallTransport,
  rememberTransport,
} from '../../src/penstock/web/client/memory.js';
import {
  beginsBefore,
  cursorOf,
  isCursor,
  isLast,
  placeOf,
  positionAfter,
  verdictOn,
} from '../../src/penstock/web/client/place.js';

test('cursors to places and back', () => {
  assert.deepEqual(placeOf('abcdefgh-12'), { epoch: 'abcdefgh', seq: 12 });
  assert.deepEqual(placeOf(''), { epoch: '', seq: 0 });
  assert.equal(cursorOf('abcdefgh', 12), 'abcdefgh-12');
  assert.ok(
    isCursor('abcdefgh-12') &&
      ![undefined, null, 5, '', 'garbage', 'abc-1', 'abcdefgh-', 'abcdefgh-1,x'].some(isCursor),
  );
});

test('an event follows, has come before, leaves a gap or overlaps', () => {
  const text = { type: 'text', seq: 7, n: 3 };
  assert.deepEqual(
    [3, 4, 5, 6, 7, 8].map((at) => verdictOn(text, at)),
    ['gap', 'next', 'next', 'next', 'duplicate', 'duplicate'],
  );
  assert.equal(verdictOn({ type: 'json', seq: 5 }, 3), 'gap');
  assert.equal(verdictOn({ ...text, type: 'replace', value: null }, 5), 'next');
  assert.equal(verdictOn({ ...text, type: 'replace', delta: [] }, 5), 'overlap');
  assert.equal(verdictOn({ ...text, type: 'replace', delta: [] }, 4), 'next');
});

test('an event may have been merged with what a reader has from elsewhere', () => {
  const text = { type: 'text', seq: 7, n: 3 };
  assert.deepEqual(
    [3, 4, 5, 6, 7].map((at) => beginsBefore(text, at)),
    [false, false, true, true, false],
  );
  assert.ok(!beginsBefore({ type: 'fold', seq: 7, events: [] }, 0));
  assert.ok(!beginsBefore({ type: 'reset', to: 0 }, 5));
});

test('a fold begins, and a reset about the cursor begins again', () => {
  assert.deepEqual(
    [0, 4, 9].map((at) => verdictOn({ type: 'fold', seq: 5, events: [] }, at)),
    ['next', 'gap', 'duplicate'],
  );
  assert.equal(verdictOn({ type: 'reset', to: 0 }, 9), 'next');
  assert.equal(positionAfter({ type: 'reset', to: 0 }), 0);
  assert.equal(positionAfter({ type: 'reset', to: 2, seq: 9 }), 9);
});

test('nothing follows an end, nor a fold that holds it', () => {
  assert.ok(isLast({ type: 'end', seq: 3 }));
  assert.ok(isLast({ type: 'fold', events: [{ type: 'end' }] }));
  assert.ok(!isLast({ type: 'fold', events: [] }));
  assert.ok(!isLast({ type: 'text' }));
});

const shelf = (map = new Map()) => ({
  map,
  getItem: (key) => map.get(key) ?? null,
  setItem: (key, text) => map.set(key, text),
});

test('cursors outlive the page, and the oldest go first', () => {
  const kept = shelf();
  let writes = [];
  const cursors = new Cursors(kept, (write) => writes.push(write));
  for (let n = 0; n <= MAX_CURSORS; n += 1) cursors.set(`run${n}`, `epoch123-${n}`);
  assert.equal(writes.length, 1); // once for all that come until it is done
  writes.forEach((write) => write());
  const later = new Cursors(kept, () => {});
  assert.deepEqual(
    [later.get('run0'), later.get('run1'), later.get(`run${MAX_CURSORS}`)],
    ['', 'epoch123-1', `epoch123-${MAX_CURSORS}`],
  );
});

test('what is spoiled, full or denied is no error', () => {
  for (const text of ['{', '5', '[1]', '{}', 'null']) {
    const spoiled = new Cursors(shelf(new Map([['penstock:cursors', text]])), (write) => write());
    assert.equal(spoiled.get('run'), '', text);
  }
  const denied = {
    getItem: () => null,
    setItem: () => {
      throw new Error('QuotaExceededError');
    },
  };
  new Cursors(denied, (write) => write()).set('run', 'epoch123-1');
  new Cursors(null, (write) => write()).set('run', 'epoch123-1');
});

test('a transport is remembered for an origin, for a day', () => {
  const kept = shelf();
  rememberTransport(kept, 'http://a/', 'poll', 1000);
  assert.equal(recallTransport(kept, 'http://a/', 2000), 'poll');
  assert.equal(recallTransport(kept, 'http://b/', 2000), null);
  assert.equal(recallTransport(kept, 'http://a/', 1000 + 25 * 60 * 60 * 1000), null);
});

test('what has not changed is not told again', () => {
  const told = [];
  const tell = once((name) => told.push(name));
  ['a', 'a', 'b', 'a'].forEach(tell);
  assert.deepEqual(told, ['a', 'b', 'a']);
});
