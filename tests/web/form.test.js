import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fieldsOf, noteOf, partsOf, rawOf, valueOf } from '../../src/penstock/web/console/form-fields.js';
import { Remembered } from '../../src/penstock/web/console/remembered.js';

const one = (property, { required = false, name = 'x', ...root } = {}) =>
  fieldsOf({ properties: { [name]: property }, required: required ? [name] : [], ...root })[0];
const kind = (property, options) => one(property, options).kind;

test('each kind of value has its control', () => {
  assert.equal(kind({ type: 'string' }), 'text');
  assert.equal(kind({ type: 'string' }, { name: 'question' }), 'multiline');
  assert.equal(kind({ type: 'string', format: 'penstock-file' }), 'file');
  assert.equal(kind({ type: 'number' }), 'number');
  assert.equal(kind({ type: 'integer' }), 'integer');
  assert.equal(kind({ type: 'boolean' }), 'boolean');
  assert.equal(kind({ enum: ['a', 'b'] }), 'choice');
  assert.equal(kind({ anyOf: [{ const: 1 }, { const: 2 }] }), 'choice');
  assert.equal(kind({ anyOf: [{ type: 'boolean' }, { type: 'null' }] }), 'choice');
  assert.equal(kind({ const: 'a' }, { required: true }), 'constant');
  assert.equal(kind({ enum: ['a'] }), 'choice');
  assert.equal(kind({ type: ['string', 'null'] }), 'text');
});

test('what no control can hold is JSON', () => {
  for (const property of [
    {},
    { type: 'object' },
    { type: 'object', additionalProperties: { type: 'string' } },
    { type: 'array' },
    { type: 'array', items: { type: 'array', items: {} } },
    { type: 'array', items: false, prefixItems: [{}] },
    { type: ['string', 'integer'] },
    { anyOf: [{ type: 'string' }, { type: 'integer' }] },
    { $ref: '#/$defs/none' },
  ])
    assert.equal(kind(property), 'json', JSON.stringify(property));
});

test('objects and lists are followed through references, unions with null and each other', () => {
  const $defs = { Item: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] } };
  const list = one({ type: 'array', items: { $ref: '#/$defs/Item' } }, { $defs });
  assert.equal(list.kind, 'list');
  assert.deepEqual(
    list.item.fields.map(({ name, required }) => [name, required]),
    [['name', true]],
  );
  const maybe = one({ anyOf: [{ $ref: '#/$defs/Item' }, { type: 'null' }], default: null }, { $defs });
  assert.deepEqual([maybe.kind, maybe.nullable], ['object', true]);
});

test('a schema that refers to itself ends in JSON', () => {
  const $defs = {
    Tree: { type: 'object', properties: { child: { anyOf: [{ $ref: '#/$defs/Tree' }, { type: 'null' }] } } },
  };
  let [field, depth] = [one({ $ref: '#/$defs/Tree' }, { $defs }), 0];
  while (field.kind === 'object') [field, depth] = [field.fields[0], depth + 1];
  assert.equal(field.kind, 'json');
  assert.ok(depth > 2);
  assert.equal(kind({ $ref: '#/$defs/Loop' }, { $defs: { Loop: { $ref: '#/$defs/Loop' } } }), 'json');
});

test('a description and a default of the property win over those of what it refers to', () => {
  const $defs = { Tone: { enum: ['cool', 'warm'], description: 'Theirs', default: 'cool' } };
  const field = one({ $ref: '#/$defs/Tone', description: 'Ours', default: 'warm' }, { $defs });
  assert.deepEqual([field.description, field.default], ['Ours', 'warm']);
});

test('numbers are read as what they are', () => {
  const field = one({ type: 'integer' });
  assert.deepEqual(valueOf(field, ' 12 '), { value: 12 });
  assert.deepEqual(valueOf(field, '  '), { absent: true });
  assert.ok('error' in valueOf(field, 'twelve'));
  assert.ok('error' in valueOf(field, '12345678901234567890'));
  assert.deepEqual(valueOf(one({ type: 'number' }), '1e3'), { value: 1000 });
});

test('an emptied field says what it can say', () => {
  assert.deepEqual(valueOf(one({ type: 'string' }), ''), { absent: true });
  assert.deepEqual(valueOf(one({ type: 'string', default: 'a' }), ''), { value: '' });
  const nullable = one({ anyOf: [{ type: 'integer' }, { type: 'null' }], default: 5 });
  assert.deepEqual(valueOf(nullable, ''), { value: null });
  assert.match(noteOf(nullable), /empty is none/);
});

test('choices keep their types', () => {
  const field = one({ enum: [1, '1', true] });
  for (const choice of [1, '1', true]) assert.deepEqual(valueOf(field, rawOf(field, choice)), { value: choice });
  assert.deepEqual(valueOf(field, ''), { absent: true });
});

test('JSON goes in and out', () => {
  const field = one({ type: 'object' });
  assert.deepEqual(valueOf(field, rawOf(field, { a: [1] })), { value: { a: [1] } });
  assert.match(valueOf(field, '{').error, /not JSON/);
});

test('limits are said beforehand', () => {
  assert.equal(
    noteOf(one({ type: 'integer', minimum: 1, maximum: 8 }, { required: true })),
    'whole number, 1…8, required',
  );
  assert.equal(noteOf(one({ type: 'number', exclusiveMinimum: 0 })), 'number, over 0');
  assert.equal(noteOf(one({ type: 'string', minLength: 1, maxLength: 20 })), 'at most 20 characters');
});

test('a place is read as the server names it', () => {
  assert.deepEqual(partsOf('limit'), ['limit']);
  assert.deepEqual(partsOf('items[2].name'), ['items', 2, 'name']);
  assert.deepEqual(partsOf('$.options.depth'), ['options', 'depth']);
  assert.deepEqual(partsOf('input'), ['input']);
});

function shelf() {
  const kept = new Map();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, text) => kept.set(key, text),
    removeItem: (key) => kept.delete(key),
    kept,
  };
}

test('the last input of each function is kept, of the last thirty functions', () => {
  const storage = shelf();
  const inputs = new Remembered('inputs', () => storage);
  for (let number = 0; number < 40; number += 1) inputs.put(`f${number}`, { number });
  assert.equal(inputs.get('f9'), null);
  assert.deepEqual(inputs.get('f10'), { number: 10 });
  inputs.put('f10', { number: 0 });
  assert.deepEqual(inputs.get('f10'), { number: 0 });
  inputs.forget('f10');
  assert.equal(inputs.get('f10'), null);
});

test('what is too large, unreadable or forbidden is not remembered', () => {
  const storage = shelf();
  const inputs = new Remembered('inputs', () => storage);
  inputs.put('f', { text: 'short' });
  inputs.put('f', { text: 'x'.repeat(30_000) });
  assert.equal(inputs.get('f'), null);
  storage.setItem('inputs', '{"not": "ours"}');
  assert.equal(inputs.get('f'), null);
  const forbidden = new Remembered('inputs', () => {
    throw new Error('SecurityError');
  });
  forbidden.put('f', {});
  assert.equal(forbidden.get('f'), null);
});
