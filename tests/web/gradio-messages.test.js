// node --test: Gradio's messages made of a run's events, by the cases that the Python tests read too.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Speaker } from '../../src/penstock/web/gradio/messages.js';

const { cases } = JSON.parse(readFileSync(new URL('../vectors/gradio.json', import.meta.url), 'utf8'));

for (const { name, heard, has_base: hasBase, events, said } of cases) {
  test(`vector: ${name}`, () => {
    const before = JSON.stringify(events);
    const speaker = new Speaker('e1', { heard, hasBase });
    const messages = events.map((event) => JSON.parse(JSON.stringify(speaker.say(event))));
    assert.deepEqual(messages, said);
    assert.equal(JSON.stringify(events), before, 'no event is changed');
  });
}

test('what has come before is not said again', () => {
  const speaker = new Speaker('e1');
  const event = { type: 'log', seq: 1, message: 'Hi' };
  assert.equal(speaker.say(event).length, 2);
  assert.deepEqual(speaker.say(event), []);
});

test('its place in line is said until it starts, and the start once', () => {
  const speaker = new Speaker('e1');
  const [waiting] = speaker.status({ state: 'queued', position: 3, eta_s: 12.5 });
  assert.deepEqual(waiting, { msg: 'estimation', event_id: 'e1', rank: 2, queue_size: 3, rank_eta: 12.5 });
  const [started] = speaker.status({ state: 'running', position: null, eta_s: null });
  assert.deepEqual(started, { msg: 'process_starts', event_id: 'e1', eta: null });
  assert.deepEqual(speaker.status({ state: 'running' }), []);
  assert.deepEqual(speaker.status({ state: 'queued', position: 1 }), []);
});

test('a delta without its value is refused', () => {
  assert.throws(() => new Speaker('e1').say({ type: 'replace', seq: 1, delta: [['set', [], 1]] }), RangeError);
});
