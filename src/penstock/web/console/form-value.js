// The control of one value: text, number, choice, boolean, JSON.

import { h } from '../client/dom.js';
import { noteOf, rawOf, valueOf } from './form-fields.js';

/** @typedef {{value: any} | {absent: true} | {failed: true}} Found */

/**
 * What every control can do.
 * @typedef {object} Control
 * @property {HTMLElement} element
 * @property {() => Found} read marks what can't be read
 * @property {(value: any) => void} fill undefined: as it was at first
 * @property {(path: (string|number)[]) => Control} find the control at a place, or the nearest above it
 * @property {(message: string) => void} fail shows what is wrong; '' that nothing is
 * @property {() => void} focus
 * @property {() => Iterable<Control>} parts controls inside
 */

/** @type {Record<string, 'textarea'|'select'|'output'|'input'>} */
const TAGS = { multiline: 'textarea', json: 'textarea', choice: 'select', constant: 'output' };

/** @implements {Control} */
export class ValueControl {
  /** @param {import('./form-fields.js').Field} field @param {string} id in the page */
  constructor(field, id) {
    this.field = field;
    this.control = Object.assign(bare(field), { id });
    this.control.setAttribute('aria-describedby', `${id}-help ${id}-error`);
    if (field.required && field.kind !== 'constant') this.control.ariaRequired = 'true';
    this.error = h('p', { id: `${id}-error`, className: 'error', role: 'alert' });
    const label = h('label', { htmlFor: id }, field.name || 'item', h('small', {}, noteOf(field)));
    const help = h('p', { id: `${id}-help`, className: 'help' }, field.description);
    this.element = h('div', { className: 'field', data: { kind: field.kind } }, label, this.control, help, this.error);
    this.fill(undefined);
  }

  /** @returns {Found} */
  read() {
    const { field, control } = this;
    const found = /** @type {any} */ (valueOf(field, field.kind === 'boolean' ? control.checked : control.value));
    this.fail(found.error ?? '');
    return 'error' in found ? { failed: true } : found;
  }

  /** @param {any} value */
  fill(value) {
    const raw = rawOf(this.field, value === undefined ? this.field.default : value);
    if (this.field.kind === 'boolean') this.control.checked = raw;
    else if (this.field.kind === 'constant') this.control.value = JSON.stringify(this.field.choices?.[0]);
    else this.control.value = raw;
  }

  find() {
    return this;
  }

  /** @param {string} message */
  fail(message) {
    this.error.textContent = message;
    if (message) this.control.ariaInvalid = 'true';
    else this.control.removeAttribute('aria-invalid');
  }

  focus() {
    this.control.focus();
  }

  parts() {
    return [];
  }
}

/** @param {import('./form-fields.js').Field} field */
function bare(field) {
  const tag = TAGS[field.kind] ?? 'input';
  const control = /** @type {any} */ (h(tag, field.name ? { name: field.name } : {}));
  if (tag === 'textarea') Object.assign(control, { rows: 3, spellcheck: field.kind === 'multiline' });
  if (tag === 'input') control.type = field.kind === 'boolean' ? 'checkbox' : 'text';
  if (tag === 'input' && field.kind === 'text') control.autocomplete = 'off'; // what was typed is remembered here
  if (field.kind === 'number' || field.kind === 'integer') {
    // A text field with the right keyboard: a number field changes its value under the mouse wheel.
    control.inputMode = field.schema.minimum >= 0 && field.kind === 'integer' ? 'numeric' : 'text';
  }
  if (field.kind === 'choice') {
    if (!field.required || field.default === undefined) control.append(new Option('', ''));
    field.choices?.forEach((choice, index) =>
      control.append(new Option(typeof choice === 'string' ? choice : JSON.stringify(choice), String(index))),
    );
  }
  return control;
}
