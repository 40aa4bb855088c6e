// Which runs are listed: function, state and a text.

import { h } from '../client/dom.js';
import { client } from './server.js';

/** The states in the order of a life, and those that an operator asks for together. */
const STATES = [
  ['', 'All'],
  ['queued,running', 'Live'],
  ['queued', 'Queued'],
  ['running', 'Running'],
  ['succeeded', 'Succeeded'],
  ['failed,interrupted', 'Failed'],
  ['cancelled', 'Cancelled'],
];

const TYPING_MS = 250; // after the last key: a search looks through many runs

/** @param {HTMLElement} label */
const buttonOf = (label) => /** @type {HTMLInputElement} */ (label.firstElementChild);

/** The row above the list. */
export class RunFilters {
  #typing = 0;
  #given = ''; // states that a link named, and no button does

  /** @param {(filters: {function: string, state: string, q: string}) => void} changed */
  constructor(changed) {
    this.changed = changed;
    this.text = h('input', {
      type: 'search',
      placeholder: 'Search',
      ariaLabel: 'Search runs: id, function, session, input, error',
      maxLength: 200,
    });
    this.function = h(
      'select',
      { ariaLabel: 'Function', onchange: () => this.#tell() },
      new Option('All functions', ''),
    );
    this.states = STATES.map(([state, name]) =>
      h(
        'label',
        {},
        h('input', { type: 'radio', name: 'run-state', value: state, onchange: () => this.#tell() }),
        h('span', {}, name),
      ),
    );
    const group = h('div', { className: 'segments', role: 'radiogroup', ariaLabel: 'State' }, ...this.states);
    this.element = h('form', { className: 'filters', role: 'search' }, group, this.function, this.text);
    this.text.addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#tell(), TYPING_MS);
    });
    this.element.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#tell();
    });
  }

  get filters() {
    const chosen = this.states.map(buttonOf).find(({ checked }) => checked);
    const state = chosen?.value ?? this.#given;
    return { function: this.function.value, state, q: this.text.value.trim() };
  }

  /** @param {{function?: string, state?: string, q?: string}} filters */
  set({ function: name = '', state = '', q = '' }) {
    if (this.function.options.length === 1) this.#loadFunctions(); // the first time, or the server was away
    this.#offer(name);
    this.function.value = name;
    this.#given = state;
    for (const button of this.states.map(buttonOf)) button.checked = button.value === state;
    if (this.text.value.trim() !== q) this.text.value = q;
  }

  #tell() {
    clearTimeout(this.#typing);
    this.changed(this.filters);
  }

  async #loadFunctions() {
    const { functions } = await client.call('api/functions').catch(() => ({ functions: [] }));
    for (const { name } of functions) this.#offer(name);
  }

  // A link may name a function that is no longer there: its runs are.
  /** @param {string} name */
  #offer(name) {
    if (!name || [...this.function.options].some(({ value }) => value === name)) return;
    this.function.append(new Option(name, name));
  }
}
