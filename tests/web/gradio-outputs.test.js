import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chatOf, outputsOf } from '../../src/penstock/web/console/run/gradio.js';
import { inputOf } from '../../src/penstock/web/console/run-words.js';

const said = (/** @type {any[]} */ ...data) => ({
  msg: 'process_generating',
  output: { data, duration: 1 },
  success: true,
});

test('the outputs of an event are what its message has, one for each component', () => {
  assert.deepEqual(outputsOf(said('words', null, { a: [1] })), ['words', null, { a: [1] }]);
  assert.deepEqual(outputsOf({ ...said('end'), msg: 'process_completed' }), ['end']);
  assert.deepEqual(outputsOf(said({ __type__: 'update', value: 'words', visible: true })), ['words']);
  assert.deepEqual(outputsOf(said({ __type__: 'update', visible: false })), [{ __type__: 'update', visible: false }]);
});

test('an event that failed has none, and what is not of Gradio is shown as ever', () => {
  assert.deepEqual(outputsOf({ msg: 'process_completed', output: { error: 'It is wrong.' }, success: false }), []);
  const others = [{ msg: 'process' }, { msg: 'process_completed', output: 'x' }, { output: { data: [1] } }];
  for (const value of [null, 'words', 7, [], ...others]) assert.equal(outputsOf(value), null);
});

test('a chat is its messages, with the words of each', () => {
  const content = [
    { type: 'text', text: 'One.' },
    { type: 'file', file: { path: 'a.png' } },
  ];
  assert.deepEqual(
    chatOf([
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content },
    ]),
    [
      { role: 'user', text: 'Hello' },
      { role: 'assistant', text: 'One.\n{"type":"file","file":{"path":"a.png"}}' },
    ],
  );
  for (const value of [null, [], 'words', [['user', 'bot']], [{ role: 'user' }], { role: 'user', content: 'x' }])
    assert.equal(chatOf(value), null);
});

test('a list says what the components of a Gradio event had, and not how it came', () => {
  const gradio = '"gradio":{"session_hash":"abc","route":"/gradio_api/queue/join"}';
  assert.equal(inputOf({ input_start: `{"data":["hello there",3],${gradio}}` }), '"hello there",3');
  assert.equal(inputOf({ input_start: `{"data":[],${gradio.slice(0, 30)}` }), '');
  assert.equal(inputOf({ input_start: '{"data":["cut' }), '"data":["cut');
  assert.equal(inputOf({ input_start: '{"question":"why"}' }), '"question":"why"');
});
