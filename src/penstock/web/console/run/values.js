// Values on the page: short ones whole, long ones folded, large ones when somebody asks.

import { h, put, span } from '../../client/dom.js';
import { Large, brief } from './brief.js';
import { count, sentence } from './words.js';

/** Of one value, shown at once; the rest on demand. A browser draws no more without a pause. */
const SHOWN_UNITS = 20_000;
const MORE_UNITS = 200_000;

/**
 * A value with its label, to be copied, and loaded where it is large.
 * @param {string} label
 * @param {any} value of JSON, or a Large
 * @param {() => Promise<any>} load the value from the store
 * @returns {HTMLElement}
 */
export function valueBlock(label, value, load) {
  const body = h('pre', { tabIndex: 0, ariaLabel: label });
  const head = h('div', { className: 'block-head' }, span('label', label));
  const block = h('section', { className: 'block' }, head, body);
  if (value instanceof Large) offer(head, body, label, value, load);
  else show(head, body, label, value);
  return block;
}

/** @param {HTMLElement} head @param {HTMLElement} body @param {string} label @param {any} value */
function show(head, body, label, value) {
  const text = textOf(value);
  shorten(body, text, SHOWN_UNITS);
  head.append(copyButton(label, () => text));
}

/** @param {HTMLElement} body @param {string} text @param {number} units */
function shorten(body, text, units) {
  body.replaceChildren(text.slice(0, units));
  const left = text.length - units;
  if (left <= 0) return;
  const more = () => shorten(body, text, units + MORE_UNITS);
  body.append(
    '\n',
    h('button', { type: 'button', className: 'plain', onclick: more }, `${count(left)} characters more`),
  );
}

/**
 * @param {HTMLElement} head @param {HTMLElement} body @param {string} label @param {Large} large
 * @param {() => Promise<any>} load
 */
function offer(head, body, label, large, load) {
  body.replaceChildren(large.preview);
  const note = span('size', `about ${count(large.units)} characters`);
  const button = h('button', { type: 'button', className: 'plain', onclick: get }, 'Load');
  button.setAttribute('aria-label', `Load ${label}`);
  head.append(note, button);
  async function get() {
    button.setAttribute('disabled', '');
    try {
      const value = await load();
      for (const element of [note, button]) element.remove();
      show(head, body, label, value);
    } catch (error) {
      put(note, sentence(/** @type {Error} */ (error)));
      button.removeAttribute('disabled');
    }
  }
}

/** @param {any} value @returns {string} as a person reads it */
export const textOf = (value) => (typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? 'null'));

/**
 * @param {string} what for who does not see
 * @param {() => string|Promise<string>} text
 * @param {string} [words] on the button
 */
export function copyButton(what, text, words = 'Copy') {
  const button = h('button', { type: 'button', className: 'plain', onclick: copy }, words);
  button.setAttribute('aria-label', `${words} ${what}`);
  async function copy() {
    try {
      await navigator.clipboard.writeText(await text());
      put(button, 'Copied');
    } catch {
      put(button, 'Not copied');
    }
    setTimeout(() => put(button, words), 1500);
  }
  return button;
}

/** @param {any} value @param {number} most @returns {string} on one line */
export const inLine = (value, most) => brief(value, most).replace(/\s+/g, ' ');

/** @param {{code?: string, message?: string, hint?: string}} error @param {string} [state] @returns {HTMLElement} */
export function problemBlock({ code, message, hint }, state = 'failed') {
  const element = h('div', { className: 'problem', data: { state } }, h('p', {}, message || 'It failed.'));
  if (hint) element.append(h('p', { className: 'hint' }, hint));
  if (code) element.append(h('code', {}, code));
  return element;
}

/** @param {any} value @returns {boolean} whether there is something to show */
export const isThere = (value) => value !== undefined && value !== null;
