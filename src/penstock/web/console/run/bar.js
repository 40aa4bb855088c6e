// Between the head and the zooms: which zoom, the errors, the search, and what the tree shows.

import { h, put } from '../../client/dom.js';
import { count } from './words.js';

export const ZOOMS = /** @type {const} */ (['messages', 'steps', 'events']);
/** @typedef {typeof ZOOMS[number]} Zoom */

/**
 * @typedef {object} BarActs
 * @property {(zoom: Zoom) => void} zoom
 * @property {(direction: 1|-1) => void} error
 * @property {(words: string) => void} search
 * @property {(direction: 1|-1) => void} match
 * @property {(closed: boolean) => void} closeAll
 * @property {(kinds: string[]) => void} filter
 */

/** The bar. */
export class Bar {
  /** @type {Record<string, HTMLElement>} */ #tabs = {};
  #kinds = '';

  /** @param {BarActs} acts */
  constructor(acts) {
    this.acts = acts;
    const tabs = h(
      'div',
      { className: 'tabs', role: 'tablist', ariaLabel: 'Zoom' },
      ...ZOOMS.map((zoom) => this.#tab(zoom)),
    );
    tabs.addEventListener('keydown', (event) => this.#arrow(event));
    this.errors = h('span', {});
    this.errorGroup = this.#pair('Errors', this.errors, acts.error, ['Previous error (p)', 'Next error (n)']);
    this.errorGroup.classList.add('errors');
    this.search = /** @type {HTMLInputElement} */ (
      h('input', {
        type: 'search',
        id: 'run-search',
        placeholder: 'Search this run',
        ariaLabel: 'Search this run',
        autocomplete: 'off',
        spellcheck: false,
      })
    );
    this.search.addEventListener('input', () => acts.search(this.search.value.trim()));
    this.search.addEventListener('keydown', (event) => this.#searchKey(event));
    this.matches = h('span', { role: 'status' });
    this.matchGroup = this.#pair('Matches', this.matches, acts.match, ['Previous match', 'Next match']);
    this.kinds = h('div', { className: 'kinds' });
    this.kindsMenu = h('details', { className: 'menu' }, h('summary', {}, 'Kinds'), this.kinds);
    const plain = (/** @type {string} */ words, /** @type {boolean} */ closed) =>
      h('button', { type: 'button', className: 'plain', onclick: () => acts.closeAll(closed) }, words);
    this.tree = h(
      'div',
      { className: 'tree-tools' },
      this.kindsMenu,
      plain('Collapse all', true),
      plain('Expand all', false),
    );
    this.element = h(
      'div',
      { className: 'run-bar' },
      tabs,
      this.tree,
      this.errorGroup,
      h('div', { className: 'search' }, this.search, this.matchGroup),
    );
    document.addEventListener('click', (event) => this.#clickedBeside(event));
  }

  /** @param {Event} event */
  #clickedBeside(event) {
    if (!this.kindsMenu.contains(/** @type {Node} */ (event.target))) this.kindsMenu.removeAttribute('open');
  }

  /** @param {Zoom} zoom */
  #tab(zoom) {
    const words = zoom[0].toUpperCase() + zoom.slice(1);
    const tab = h(
      'button',
      { type: 'button', role: 'tab', id: `zoom-${zoom}`, onclick: () => this.acts.zoom(zoom) },
      words,
    );
    tab.setAttribute('aria-controls', 'zoom');
    tab.title = `${words} (${zoom[0]})`;
    this.#tabs[zoom] = tab;
    return tab;
  }

  /** @param {KeyboardEvent} event */
  #arrow(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const now = ZOOMS.findIndex((zoom) => this.#tabs[zoom].ariaSelected === 'true');
    const next = ZOOMS[(now + by + ZOOMS.length) % ZOOMS.length];
    this.acts.zoom(next);
    this.#tabs[next].focus();
  }

  /**
   * Two arrows around a count.
   * @param {string} label @param {HTMLElement} words @param {(direction: 1|-1) => void} go @param {string[]} names
   */
  #pair(label, words, go, names) {
    const arrow = (/** @type {1|-1} */ direction) =>
      h(
        'button',
        {
          type: 'button',
          className: 'plain arrow',
          ariaLabel: names[direction > 0 ? 1 : 0],
          title: names[direction > 0 ? 1 : 0],
          onclick: () => go(direction),
        },
        direction > 0 ? '↓' : '↑',
      );
    return h('div', { className: 'pair', role: 'group', ariaLabel: label, hidden: true }, words, arrow(-1), arrow(1));
  }

  /** @param {KeyboardEvent} event */
  #searchKey(event) {
    if (event.key === 'Enter') this.acts.match(event.shiftKey ? -1 : 1);
    else if (event.key === 'Escape') {
      if (!this.search.value) this.search.blur();
      this.search.value = '';
      this.acts.search('');
    } else return;
    event.preventDefault();
  }

  /** @param {Zoom} zoom */
  showZoom(zoom) {
    for (const [name, tab] of Object.entries(this.#tabs)) {
      tab.ariaSelected = String(name === zoom);
      tab.tabIndex = name === zoom ? 0 : -1;
    }
    this.tree.hidden = zoom !== 'steps';
  }

  /** @param {number} errors @param {number} at the one that is shown, from 1; 0 for none */
  showErrors(errors, at) {
    this.errorGroup.hidden = errors === 0;
    put(
      this.errors,
      at ? `error ${count(at)} of ${count(errors)}` : errors === 1 ? '1 error' : `${count(errors)} errors`,
    );
  }

  /** @param {number|null} matches null while nothing is sought @param {number} at from 1 @param {boolean} busy */
  showMatches(matches, at, busy) {
    this.matchGroup.hidden = matches === null;
    if (matches === null) return put(this.matches, '');
    put(
      this.matches,
      busy
        ? 'searching…'
        : matches === 0
          ? 'no match'
          : at
            ? `${count(at)} of ${count(matches)}`
            : `${count(matches)} found`,
    );
    for (const button of this.matchGroup.querySelectorAll('button')) button.disabled = !matches;
  }

  /** @param {Map<string, number>} kinds of steps, with their number @param {Set<string>} chosen */
  showKinds(kinds, chosen) {
    const drawn = JSON.stringify([[...kinds], [...chosen]]);
    if (drawn === this.#kinds) return;
    this.#kinds = drawn;
    this.kindsMenu.hidden = kinds.size < 2 && !chosen.size;
    const { activeElement } = document;
    const focused = this.kinds.contains(activeElement) ? /** @type {HTMLInputElement} */ (activeElement).value : null;
    this.kinds.replaceChildren(
      ...[...kinds].sort().map(([kind, many]) => {
        const box = /** @type {HTMLInputElement} */ (
          h('input', { type: 'checkbox', value: kind, checked: chosen.has(kind), onchange: () => this.#filter() })
        );
        return h('label', {}, box, kind || 'none', h('span', { className: 'number' }, count(many)));
      }),
    );
    put(
      /** @type {HTMLElement} */ (this.kindsMenu.firstElementChild),
      chosen.size ? `Kinds: ${[...chosen].map((kind) => kind || 'none').join(', ')}` : 'Kinds',
    );
    if (focused !== null)
      /** @type {HTMLElement|null} */ (
        [...this.kinds.querySelectorAll('input')].find(({ value }) => value === focused) ?? null
      )?.focus();
  }

  #filter() {
    this.acts.filter(
      [...this.kinds.querySelectorAll('input')].filter(({ checked }) => checked).map(({ value }) => value),
    );
  }
}
