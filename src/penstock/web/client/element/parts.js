// The pieces that <penstock-run> is drawn with.

import { h, span } from '../dom.js';
import { valueWords } from './words.js';

/** Of one value, in UTF-16 units: what a person reads in passing. */
export const SHOWN_VALUE = 8_000;

/**
 * An element that pages can style by `::part(name)`.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {string} name @param {Record<string, any>} props
 * @param {...(Node|string)} children
 */
export const part = (tag, name, props = {}, ...children) =>
  h(tag, { className: name, part: name, ...props }, ...children);

/** @param {{code?: string, message?: string, hint?: string}} error @returns {HTMLElement} */
export function problem({ code, message, hint }) {
  const element = part('div', 'problem', {}, h('p', { className: 'message' }, message || 'It failed.'));
  if (hint) element.append(h('p', { className: 'hint' }, hint));
  if (code) element.append(span('label', code));
  return element;
}

/** @param {unknown} value of JSON @returns {HTMLElement} */
export function valueBox(value) {
  const words = valueWords(value, SHOWN_VALUE);
  return typeof value === 'string' ? h('div', { className: 'text' }, words) : h('pre', {}, words);
}

/**
 * Rows known by their seq: new ones are added below, and the oldest leave at the top.
 * @param {HTMLElement} list @param {{seq: number}[]} items @param {number} limit
 * @param {(item: any) => HTMLElement} make
 */
export function addRows(list, items, limit, make) {
  const shown = Number(list.dataset.seq ?? -1);
  let from = items.length;
  while (from > 0 && items[from - 1].seq > shown && items.length - from < limit) from -= 1;
  list.append(...items.slice(from).map(make));
  while (list.childElementCount > limit) list.firstElementChild?.remove();
  const last = items.at(-1);
  if (last) list.dataset.seq = String(last.seq);
}
