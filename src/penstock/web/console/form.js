// The form of one function, made of its input's JSON Schema.

import { FileControl } from './form-file.js';
import { fieldsOf, partsOf } from './form-fields.js';
import { ListControl, ObjectControl } from './form-nested.js';
import { ValueControl } from './form-value.js';

/** @typedef {import('./form-value.js').Control} Control */

/** @type {import('./form-nested.js').Make} */
function make(field, id) {
  if (field.kind === 'object') return new ObjectControl(field, id, make);
  if (field.kind === 'list') return new ListControl(field, id, make);
  return field.kind === 'file' ? new FileControl(field, id) : new ValueControl(field, id);
}

/** Its controls; `elements` are their elements, for the page. */
export class Form {
  /** @param {any} schema of the input */
  constructor(schema) {
    this.controls = fieldsOf(schema).map((field) => make(field, `field-${field.name}`));
    this.elements = this.controls.map(({ element }) => element);
  }

  /** @returns {Record<string, any> | null} the input, or null with the errors shown and the first of them in focus */
  read() {
    /** @type {Record<string, any>} */ const input = {};
    let bad = null;
    for (const control of this.controls) {
      const found = /** @type {any} */ (control.read());
      if ('value' in found) input[/** @type {any} */ (control).field.name] = found.value;
      if ('failed' in found) bad ??= control;
    }
    if (bad) firstFailed(bad).focus();
    return bad ? null : input;
  }

  /** @param {Record<string, any>} input to show, as an earlier run had it; {}: as at first */
  fill(input) {
    for (const control of this.controls) control.fill(input[/** @type {any} */ (control).field.name]);
  }

  /**
   * Files that are still on their way.
   * @returns {Promise<unknown>} when none is, well or not
   */
  settled() {
    return Promise.all([...all(this.controls)].map((control) => /** @type {any} */ (control).settled?.()));
  }

  /** @returns {boolean} whether a file is on its way */
  get uploading() {
    return [...all(this.controls)].some((control) => /** @type {any} */ (control).uploading);
  }

  /**
   * @param {string} path as the server names it: `limit`, `options.depth`, `items[2].name`
   * @param {string} message
   * @returns {boolean} false if the form has no such field
   */
  showError(path, message) {
    const [name, ...rest] = partsOf(path);
    const found = this.controls.find((control) => /** @type {any} */ (control).field.name === name)?.find(rest);
    found?.fail(message);
    found?.element.scrollIntoView({ block: 'nearest' });
    found?.focus();
    return Boolean(found);
  }
}

/** @param {Iterable<Control>} controls @returns {Iterable<Control>} they and all inside */
function* all(controls) {
  for (const control of controls) {
    yield control;
    yield* all(control.parts());
  }
}

/** @param {import('./form-value.js').Control} control */
function firstFailed(control) {
  const invalid = [...all([control])].find((one) => /** @type {any} */ (one).error?.textContent);
  return invalid ?? control;
}
