// Controls that hold others: objects and lists. What they hold is made by whom they are given.

import { h } from '../client/dom.js';
import { noteOf } from './form-fields.js';

/** Items that a list gets by hand or from a run's input: more are no form any more. */
const MOST_ITEMS = 200;

/**
 * @typedef {import('./form-fields.js').Field} Field
 * @typedef {import('./form-value.js').Control} Control
 * @typedef {(field: Field, id: string) => Control} Make
 */

/** An object. One that may be missing is added and removed by a button. @implements {Control} */
export class ObjectControl {
  /** @type {Control[]} */ controls = [];
  /** @type {boolean|null} */ present = null;

  /** @param {Field} field @param {string} id @param {Make} make */
  constructor(field, id, make) {
    this.field = field;
    this.id = id;
    this.make = make;
    this.optional = !field.required || field.nullable;
    this.body = h('div', { className: 'parts' });
    this.error = h('p', { className: 'error', role: 'alert' });
    this.toggle = h('button', {
      type: 'button',
      className: 'plain',
      hidden: !this.optional,
      onclick: () => this.#toggle(),
    });
    this.element = frame(field, this.toggle, this.body, this.error);
    this.element.tabIndex = -1;
    this.fill(undefined);
  }

  /** @returns {import('./form-value.js').Found} */
  read() {
    this.fail('');
    if (!this.present) return this.field.default && this.field.nullable ? { value: null } : { absent: true };
    /** @type {Record<string, any>} */ const value = {};
    let failed = false;
    for (const control of this.controls) {
      const found = /** @type {any} */ (control.read());
      failed ||= 'failed' in found;
      if ('value' in found) value[/** @type {any} */ (control).field.name] = found.value;
    }
    return failed ? { failed: true } : { value };
  }

  /** @param {any} value */
  fill(value) {
    const given = value === undefined ? this.field.default : value;
    this.#show(!this.optional || (given !== null && given !== undefined));
    for (const control of this.controls) control.fill(given?.[/** @type {any} */ (control).field.name]);
  }

  /** @param {(string|number)[]} path @returns {Control} */
  find([name, ...rest]) {
    const found = this.controls.find((control) => /** @type {any} */ (control).field.name === name);
    return found ? found.find(rest) : this;
  }

  /** @param {string} message */
  fail(message) {
    this.error.textContent = message;
  }

  focus() {
    if (this.controls.length) this.controls[0].focus();
    else this.toggle.focus();
  }

  parts() {
    return this.controls;
  }

  #toggle() {
    this.#show(!this.present);
    this.focus();
  }

  /** @param {boolean} present */
  #show(present) {
    if (this.present === present) return;
    this.present = present;
    this.controls = present
      ? (this.field.fields ?? []).map((field) => this.make(field, `${this.id}.${field.name}`))
      : [];
    this.body.replaceChildren(...this.controls.map(({ element }) => element));
    this.toggle.textContent = present ? 'Remove' : 'Add';
    this.toggle.ariaLabel = `${this.toggle.textContent} ${this.field.name || 'item'}`;
  }
}

/** A list of fields of one kind. @implements {Control} */
export class ListControl {
  /** @type {Control[]} */ controls = [];
  #made = 0;
  #left = 0; // items given that the form has no room for
  #given = false; // by a person or a run: an empty list then says something

  /** @param {Field} field @param {string} id @param {Make} make */
  constructor(field, id, make) {
    this.field = field;
    this.id = id;
    this.make = make;
    this.body = h('ol', { className: 'parts' });
    this.error = h('p', { className: 'error', role: 'alert' });
    this.add = h(
      'button',
      { type: 'button', className: 'plain', ariaLabel: `Add to ${field.name}`, onclick: () => this.#added() },
      'Add',
    );
    this.element = frame(field, this.add, this.body, this.error);
    this.fill(undefined);
  }

  /** @returns {import('./form-value.js').Found} */
  read() {
    this.fail('');
    if (this.#left && !this.#given && !this.field.required) return { absent: true }; // the function's own default
    if (this.#left) return this.#tooMany();
    const found = this.controls.map((control) => /** @type {any} */ (control.read()));
    if (found.some((one) => 'failed' in one)) return { failed: true };
    if (!found.length && !this.#given && !this.field.required) return { absent: true };
    return { value: found.map((one) => ('value' in one ? one.value : this.#empty())) };
  }

  #tooMany() {
    this.fail(
      `${this.#left} more items were given than the ${MOST_ITEMS} of a form, and would be lost: submit this one by the API.`,
    );
    return /** @type {import('./form-value.js').Found} */ ({ failed: true });
  }

  /** @param {any} value */
  fill(value) {
    const given = value === undefined ? this.field.default : value;
    this.controls = [];
    this.body.replaceChildren();
    this.add.disabled = false;
    this.#given = Array.isArray(value);
    this.#left = Array.isArray(given) ? Math.max(0, given.length - MOST_ITEMS) : 0;
    const items = Array.isArray(given) ? given.slice(0, MOST_ITEMS) : [];
    for (const item of items) this.#append().fill(item);
    while (this.controls.length < (this.field.required ? (this.field.schema.minItems ?? 0) : 0)) this.#append();
  }

  /** @param {(string|number)[]} path @returns {Control} */
  find([index, ...rest]) {
    return this.controls[/** @type {number} */ (index)]?.find(rest) ?? this;
  }

  /** @param {string} message */
  fail(message) {
    this.error.textContent = message;
  }

  focus() {
    if (this.controls.length) this.controls[0].focus();
    else this.add.focus();
  }

  parts() {
    return this.controls;
  }

  // A line that was left empty is an empty text, or nothing.
  #empty() {
    const { item } = this.field;
    return item?.schema.type === 'string' && !item.choices ? '' : null;
  }

  #added() {
    this.#append().focus();
    this.#changed();
  }

  #append() {
    const control = this.make(/** @type {Field} */ (this.field.item), `${this.id}-${this.#made++}`);
    const remove = h(
      'button',
      { type: 'button', className: 'plain remove', onclick: () => this.#remove(control) },
      'Remove',
    );
    this.controls.push(control);
    this.body.append(h('li', {}, control.element, remove));
    this.add.disabled = this.controls.length >= Math.min(MOST_ITEMS, this.field.schema.maxItems ?? MOST_ITEMS);
    this.#number();
    return control;
  }

  /** @param {import('./form-value.js').Control} control */
  #remove(control) {
    const index = this.controls.indexOf(control);
    control.element.parentElement?.remove();
    this.controls.splice(index, 1);
    this.add.disabled = false;
    this.#number();
    this.#changed();
    (this.controls[Math.min(index, this.controls.length - 1)] ?? this).focus();
  }

  #changed() {
    this.#given = true;
    this.element.dispatchEvent(new Event('input', { bubbles: true }));
  }

  #number() {
    [...this.body.children].forEach((line, index) => {
      /** @type {HTMLElement} */ (line.lastElementChild).ariaLabel = `Remove ${this.field.name} ${index + 1}`;
    });
  }
}

/** @param {import('./form-fields.js').Field} field @param {HTMLElement} button @param {HTMLElement} body @param {any} error */
function frame(field, button, body, error) {
  const legend = h(
    'legend',
    {},
    h('span', { className: 'name' }, field.name || 'item'),
    h('small', {}, noteOf(field)),
    button,
  );
  return h(
    'fieldset',
    { className: 'nested', data: { kind: field.kind } },
    legend,
    h('p', { className: 'help' }, field.description),
    body,
    error,
  );
}
