// What a Gradio event has put out: texts and chats as a person reads them, everything else as JSON.

import { h, put } from '../../client/dom.js';
import { TextView } from '../../client/text.js';
import { lightened } from './brief.js';
import { chatOf } from './gradio.js';
import { valueBlock } from './values.js';

/**
 * Shows one output.
 * @typedef {object} Part
 * @property {string} kind
 * @property {HTMLElement} element
 * @property {(output: any) => void} draw
 */

/** The outputs of an event, which may grow: what is shown of a text, and marked in it, stays. */
export class OutputsView {
  /** @type {Part[]} */ #parts = [];

  constructor() {
    this.element = h('div', { className: 'outputs' });
  }

  /** @param {any[]} outputs @param {(index: number) => any} load one of them, whole */
  draw(outputs, load) {
    for (const part of this.#parts.splice(outputs.length)) part.element.remove();
    outputs.forEach((output, index) => {
      const kind = kindOf(output);
      const make = () => PARTS[kind](labelOf(index, outputs), () => load(index));
      if (this.#parts[index]?.kind !== kind) this.#put(index, { ...make(), kind });
      this.#parts[index].draw(output);
    });
  }

  /** @param {number} index @param {Part} part */
  #put(index, part) {
    const before = this.#parts[index]?.element;
    if (before) before.replaceWith(part.element);
    else this.element.append(part.element);
    this.#parts[index] = part;
  }
}

/** @param {any} output @returns {'none'|'text'|'chat'|'other'} */
function kindOf(output) {
  if (output === null || output === undefined || output === '') return 'none';
  return typeof output === 'string' ? 'text' : chatOf(output) ? 'chat' : 'other';
}

/** @param {number} index @param {any[]} outputs */
const labelOf = (index, outputs) => (outputs.length > 1 ? `Output ${index + 1}` : 'Output');

/** @type {Record<ReturnType<typeof kindOf>, (label: string, load: () => any) => Omit<Part, 'kind'>>} */
const PARTS = { none, text, chat, other };

function none() {
  return { element: h('section', { className: 'output', hidden: true }), draw() {} };
}

/** @param {string} label */
function text(label) {
  const words = h('div', { className: 'text' });
  const view = new TextView(words);
  const element = h('section', { className: 'output', ariaLabel: label }, words);
  return { element, draw: (/** @type {string} */ output) => view.replace(output) };
}

/** @param {string} label */
function chat(label) {
  const element = h('section', { className: 'output chat', ariaLabel: label });
  /** @type {{role: HTMLElement, view: TextView, element: HTMLElement}[]} */ const turns = [];
  const draw = (/** @type {any} */ output) => {
    const said = chatOf(output) ?? [];
    for (const turn of turns.splice(said.length)) turn.element.remove();
    said.forEach(({ role, text: words }, index) => {
      if (!turns[index]) element.append((turns[index] = turnOf()).element);
      put(turns[index].role, role);
      turns[index].view.replace(words);
    });
  };
  return { element, draw };
}

function turnOf() {
  const role = h('span', { className: 'speaker' });
  const words = h('div', { className: 'text told' });
  return { role, view: new TextView(words), element: h('div', { className: 'turn' }, role, words) };
}

/** @param {string} label @param {() => any} load */
function other(label, load) {
  const element = h('section', { className: 'output' });
  const draw = (/** @type {any} */ output) =>
    element.replaceChildren(valueBlock(label, lightened(output), async () => load()));
  return { element, draw };
}
