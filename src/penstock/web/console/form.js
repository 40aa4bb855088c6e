// JSON Schema to fields, fields to input. Pure, but for the controls in the second half.

const LONG_TEXT = /question|prompt|text|message|body|content/i;

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {'text'|'multiline'|'number'|'integer'|'boolean'|'choice'|'json'} kind
 * @property {boolean} required
 * @property {any} default undefined where there is none
 * @property {any[]} [choices]
 * @property {string} description
 * @property {any} schema resolved, for its limits
 */

/** @param {any} schema an object's @returns {Field[]} one for each property, in order */
export function fieldsOf(schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const { schema: resolved, nullable } = resolve(property, schema);
    const choices = choicesOf(resolved, nullable);
    return {
      name,
      kind: kindOf(name, resolved, choices),
      required: required.has(name),
      default: property.default ?? resolved.default,
      choices,
      description: property.description ?? resolved.description ?? '',
      schema: resolved,
    };
  });
}

// Follows $ref and takes `X | None` as X; a property's own words win over those of what it refers to.
function resolve(property, root) {
  const parts = property.anyOf ?? property.oneOf ?? property.allOf;
  const types = [property.type ?? []].flat();
  if (property.$ref) {
    const target = property.$ref.split('/').slice(1).reduce((at, key) => at?.[key], root);
    return target ? resolve(target, root) : { schema: {}, nullable: false };
  }
  if (types.length > 1 && types.includes('null')) {
    return { schema: { ...property, type: types.find((type) => type !== 'null') }, nullable: true };
  }
  const others = (parts ?? []).filter((part) => part.type !== 'null');
  if (others.length !== 1) return { schema: property, nullable: false };
  return { schema: resolve(others[0], root).schema, nullable: others.length < parts.length };
}

function choicesOf(schema, nullable) {
  if ('const' in schema) return [schema.const];
  if (schema.enum) return schema.enum;
  return schema.type === 'boolean' && nullable ? [true, false] : undefined;
}

function kindOf(name, schema, choices) {
  if (choices) return 'choice';
  if (['number', 'integer', 'boolean'].includes(schema.type)) return schema.type;
  if (schema.type !== 'string') return 'json';
  return schema.format === 'textarea' || LONG_TEXT.test(name) ? 'multiline' : 'text';
}

/**
 * What a control holds, as the input's member.
 * @param {Field} field
 * @param {string|boolean} raw
 * @returns {{value: any} | {absent: true} | {error: string}} `absent`: leave it to the function's default
 */
export function valueOf(field, raw) {
  if (typeof raw === 'boolean') return { value: raw };
  if (raw === '') return field.default && field.schema.type === 'string' ? { value: '' } : { absent: true };
  if (field.kind === 'choice') return { value: field.choices[Number(raw)] };
  if (field.kind === 'json') return parseJson(raw);
  if (field.kind !== 'number' && field.kind !== 'integer') return { value: raw };
  const number = Number(raw);
  return Number.isNaN(number) ? { error: 'This is not a number.' } : { value: number };
}

/** @param {Field} field @param {any} value @returns {string|boolean} what its control shows for a value */
export function rawOf(field, value) {
  if (field.kind === 'boolean') return value === true;
  if (field.kind === 'choice') {
    const index = field.choices.findIndex((choice) => JSON.stringify(choice) === JSON.stringify(value));
    return index < 0 ? '' : String(index);
  }
  if (value === undefined || value === null) return '';
  return field.kind === 'json' ? JSON.stringify(value, null, 2) : String(value);
}

function parseJson(raw) {
  try {
    return { value: JSON.parse(raw) };
  } catch (error) {
    return { error: `This is not JSON: ${error.message}.` };
  }
}

// ---- controls

/** The form of one function. */
export class Form {
  /** @param {HTMLElement} element that holds it @param {any} schema of the input */
  constructor(element, schema) {
    this.controls = fieldsOf(schema).map((field) => ({ field, ...controlOf(field) }));
    element.replaceChildren(...this.controls.map(({ row }) => row));
  }

  /** @returns {object | null} the input, or null with the errors shown */
  read() {
    this.clearErrors();
    const input = {};
    let good = true;
    for (const { field, control } of this.controls) {
      const result = valueOf(field, field.kind === 'boolean' ? control.checked : control.value);
      if ('value' in result) input[field.name] = result.value;
      if ('error' in result) good = !this.showError(field.name, result.error);
    }
    return good ? input : null;
  }

  /** @param {Record<string, any>} input to show, as an earlier run had it */
  fill(input) {
    for (const { field, control } of this.controls) set(field, control, input[field.name] ?? field.default);
  }

  /**
   * @param {string} path as the server names it: `limit`, `items[0].name`
   * @param {string} message
   * @returns {boolean} false if the form has no such field
   */
  showError(path, message) {
    const name = path.replace(/^(\$|input)\./, '').split(/[.[]/)[0];
    const found = this.controls.find(({ field }) => field.name === name);
    if (!found) return false;
    found.error.textContent = message;
    found.control.setAttribute('aria-invalid', 'true');
    found.control.focus();
    return true;
  }

  clearErrors() {
    for (const { control, error } of this.controls) {
      error.textContent = '';
      control.removeAttribute('aria-invalid');
    }
  }
}

function controlOf(field) {
  const row = element('div', { className: `field ${field.kind}` });
  const control = row.appendChild(bareControl(field));
  Object.assign(control, { id: `field-${field.name}`, name: field.name });
  control.setAttribute('aria-describedby', `${control.id}-help ${control.id}-error`);
  if (field.required) control.setAttribute('aria-required', 'true');
  set(field, control, field.default);
  const label = element('label', { htmlFor: control.id, textContent: field.name });
  label.append(element('small', { textContent: noteOf(field) }));
  row.prepend(label);
  const help = element('p', { id: `${control.id}-help`, className: 'help', textContent: field.description });
  const error = element('p', { id: `${control.id}-error`, className: 'error' });
  error.setAttribute('role', 'alert');
  row.append(help, error);
  return { row, control, error };
}

function bareControl(field) {
  const tag = { multiline: 'textarea', json: 'textarea', choice: 'select' }[field.kind] ?? 'input';
  const control = document.createElement(tag);
  if (tag === 'textarea') Object.assign(control, { rows: 3, spellcheck: field.kind === 'multiline' });
  if (tag === 'input') control.type = field.kind === 'boolean' ? 'checkbox' : 'text';
  if (field.kind === 'number' || field.kind === 'integer') {
    // A text field with the right keyboard: a number field changes its value under the mouse wheel.
    control.inputMode = field.kind === 'integer' ? 'numeric' : 'decimal';
  }
  if (field.kind === 'choice') {
    if (!field.required || field.default === undefined) control.append(new Option('', ''));
    field.choices.forEach((choice, index) => control.append(new Option(String(choice), String(index))));
  }
  return control;
}

function noteOf({ kind, required, schema }) {
  const { minimum = '', maximum = '' } = schema;
  const range = minimum === '' && maximum === '' ? '' : `${minimum}…${maximum}`;
  const types = { json: `${schema.type ?? ''} as JSON`.trim(), integer: 'whole number', number: 'number' };
  return [types[kind], range, required ? 'required' : ''].filter(Boolean).join(', ');
}

function set(field, control, value) {
  const raw = rawOf(field, value);
  if (field.kind === 'boolean') control.checked = raw;
  else control.value = raw;
}

function element(tag, props) {
  return Object.assign(document.createElement(tag), props);
}
