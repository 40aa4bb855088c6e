// JSON Schema to fields, and what a control holds to the input's members. Pure.

const LONG_TEXT = /question|prompt|text|message|body|content/i;

/** Objects in objects: a schema that refers to itself has no end, and deeper than this nobody fills in forms. */
const DEEPEST = 5;

/** The format of a parameter that takes an upload's id. */
const FILE = 'penstock-file';

/**
 * @typedef {object} Field
 * @property {string} name '' of a list's item
 * @property {'text'|'multiline'|'number'|'integer'|'boolean'|'choice'|'constant'|'file'|'object'|'list'|'json'} kind
 * @property {boolean} required
 * @property {boolean} nullable
 * @property {any} default undefined where there is none
 * @property {any[]} [choices]
 * @property {string} description
 * @property {any} schema resolved, for its limits
 * @property {Field[]} [fields] of an object
 * @property {Field} [item] of a list
 */

/** @param {any} schema an object's @returns {Field[]} one for each property, in order */
export function fieldsOf(schema) {
  return propertiesOf(schema, schema, 0);
}

/** @param {any} schema @param {any} root @param {number} depth */
function propertiesOf(schema, root, depth) {
  const required = new Set(schema.required ?? []);
  const entries = Object.entries(schema.properties ?? {});
  return entries.map(([name, property]) => fieldOf(name, property, root, required.has(name), depth));
}

/**
 * @param {string} name @param {any} property @param {any} root @param {boolean} required @param {number} depth
 * @returns {Field}
 */
function fieldOf(name, property, root, required, depth) {
  const { schema, nullable } = resolve(property, root);
  const choices = choicesOf(schema, nullable);
  const kind = kindOf(name, schema, choices, required);
  const description = property.description ?? schema.description ?? '';
  const field = {
    name,
    kind,
    required,
    nullable,
    default: property.default ?? schema.default,
    choices,
    description,
    schema,
  };
  return withParts(field, root, depth);
}

// An object has its fields, a list its item; what has neither, or too many, is JSON.
/** @param {any} field @param {any} root @param {number} depth */
function withParts(field, root, depth) {
  const { kind, schema } = field;
  if (kind === 'object' && depth < DEEPEST) {
    const fields = propertiesOf(schema, root, depth + 1);
    if (fields.length && !schema.additionalProperties) return { ...field, fields };
  }
  if (kind === 'list' && depth < DEEPEST && isPlain(schema.items)) {
    const item = fieldOf('', schema.items, root, true, depth + 1);
    if (item.kind !== 'json') return { ...field, item: { ...item, name: '' } };
  }
  return kind === 'object' || kind === 'list' ? { ...field, kind: 'json' } : field;
}

/** @param {any} items */
const isPlain = (items) => items !== null && typeof items === 'object' && !Array.isArray(items);

// Follows $ref and takes `X | None` as X; a property's own words win over those of what it refers to.
/** @param {any} property @param {any} root @param {any} [followed] @returns {{schema: any, nullable: boolean}} */
function resolve(property, root, followed = 0) {
  const parts = property.anyOf ?? property.oneOf ?? property.allOf;
  const types = [property.type ?? []].flat();
  if (property.$ref) {
    const target = property.$ref
      .split('/')
      .slice(1)
      .reduce(
        (/** @type {any} */ at, /** @type {string} */ key) => at?.[key.replace(/~1/g, '/').replace(/~0/g, '~')],
        root,
      );
    return target && followed < DEEPEST ? resolve(target, root, followed + 1) : { schema: {}, nullable: false };
  }
  if (types.length > 1) {
    const [type, ...more] = types.filter((one) => one !== 'null');
    const schema = more.length ? {} : { ...property, type };
    return { schema, nullable: types.includes('null') };
  }
  const others = (parts ?? []).filter((/** @type {any} */ part) => part.type !== 'null' && part.const !== null);
  if (others.length !== 1) return { schema: property, nullable: Boolean(parts && others.length < parts.length) };
  const only = resolve(others[0], root, followed);
  return { schema: only.schema, nullable: only.nullable || others.length < parts.length };
}

/** @param {any} schema @param {boolean} nullable */
function choicesOf(schema, nullable) {
  if ('const' in schema) return [schema.const];
  if (schema.enum) return schema.enum.filter((/** @type {any} */ choice) => choice !== null || !nullable);
  const consts = (schema.anyOf ?? schema.oneOf ?? []).filter((/** @type {any} */ part) => part.type !== 'null');
  const isEach = consts.every((/** @type {any} */ part) => 'const' in part);
  if (consts.length && isEach) return consts.map((/** @type {any} */ part) => part.const);
  return schema.type === 'boolean' && nullable ? [true, false] : undefined;
}

/** @param {string} name @param {any} schema @param {any} choices @param {boolean} required */
function kindOf(name, schema, choices, required) {
  if (choices) return choices.length === 1 && required ? 'constant' : 'choice';
  if (['number', 'integer', 'boolean', 'object'].includes(schema.type)) return schema.type;
  if (schema.type === 'array') return 'list';
  if (schema.type !== 'string') return 'json';
  if (schema.format === FILE) return 'file';
  return schema.format === 'textarea' || LONG_TEXT.test(name) ? 'multiline' : 'text';
}

/**
 * What a control holds, as the input's member.
 * @param {Field} field
 * @param {string|boolean} raw
 * @returns {{value: any} | {absent: true} | {error: string}} `absent`: leave it to the function's default
 */
export function valueOf(field, raw) {
  if (field.kind === 'constant') return { value: field.choices?.[0] };
  if (typeof raw === 'boolean') return { value: raw };
  if (raw.trim() === '' && (raw === '' || field.schema.type !== 'string')) return nothing(field);
  if (field.kind === 'choice') return { value: field.choices?.[Number(raw)] };
  if (field.kind === 'json') return parseJson(raw);
  return field.kind === 'number' || field.kind === 'integer' ? numberOf(field, raw) : { value: raw };
}

// An emptied field says something only where it was not empty: no text, or none at all.
/** @param {Field} field @returns {{value: any} | {absent: true}} */
function nothing(field) {
  const had = field.default !== undefined && field.default !== null && field.default !== '';
  if (had && field.nullable) return { value: null };
  return had && field.schema.type === 'string' && !field.choices ? { value: '' } : { absent: true };
}

/** @param {any} given @param {string} raw */
function numberOf({ kind }, raw) {
  const number = Number(raw);
  if (!Number.isFinite(number)) return { error: 'This is not a number.' };
  if (kind === 'integer' && Number.isInteger(number) && !Number.isSafeInteger(number)) {
    return { error: `This can't be sent exactly: it is beyond ${Number.MAX_SAFE_INTEGER.toLocaleString('en')}.` };
  }
  return { value: number };
}

/** @param {Field} field @param {any} value @returns {string|boolean} what its control shows for a value */
export function rawOf(field, value) {
  if (field.kind === 'boolean') return value === true;
  if (field.kind === 'choice') {
    const index = (field.choices ?? []).findIndex((choice) => JSON.stringify(choice) === JSON.stringify(value));
    return index < 0 ? '' : String(index);
  }
  if (value === undefined || value === null) return '';
  return field.kind === 'json' ? JSON.stringify(value, null, 2) : String(value);
}

/** @param {string} raw */
function parseJson(raw) {
  try {
    return { value: JSON.parse(raw) };
  } catch (error) {
    return { error: `This is not JSON: ${/** @type {Error} */ (error).message}.` };
  }
}

/** @param {Field} field @returns {string} what a person should know before typing */
export function noteOf({ kind, required, nullable, schema, default: preset }) {
  /** @type {Partial<Record<Field['kind'], string>>} */
  const types = { json: 'JSON', integer: 'whole number', number: 'number' };
  const size = kind === 'list' ? rangeOf(schema.minItems, schema.maxItems, ' items') : '';
  const length =
    schema.type === 'string'
      ? rangeOf(schema.minLength > 1 ? schema.minLength : undefined, schema.maxLength, ' characters')
      : '';
  const least =
    schema.minimum ?? (schema.exclusiveMinimum === undefined ? undefined : `over ${schema.exclusiveMinimum}`);
  const most =
    schema.maximum ?? (schema.exclusiveMaximum === undefined ? undefined : `under ${schema.exclusiveMaximum}`);
  const none = nullable && preset !== undefined && preset !== null ? 'empty is none' : '';
  return [types[kind], rangeOf(least, most, ''), length, size, none, required && 'required'].filter(Boolean).join(', ');
}

/** @param {any} least @param {any} most @param {any} unit */
function rangeOf(least, most, unit) {
  if (least === undefined && most === undefined) return '';
  if (least === undefined) return `${typeof most === 'string' ? most : `at most ${most}`}${unit}`;
  if (most === undefined) return `${typeof least === 'string' ? least : `at least ${least}`}${unit}`;
  return `${least}…${most}${unit}`;
}

/**
 * A place in the input, as the server names it.
 * @param {string} path such as `limit`, `options.depth`, `items[2].name`
 * @returns {(string|number)[]}
 */
export function partsOf(path) {
  const parts = path.replace(/^(\$|input)\./, '').match(/[^.[\]]+/g) ?? [];
  return parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}
