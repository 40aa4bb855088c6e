// Many rows of different heights, of which only those are in the page that are seen.

import { h } from '../../client/dom.js';
import { Heights } from './heights.js';

const OVER_PX = 400; // above and below what is seen
const ROUNDS = 6; // of drawing, until what was measured fills what is seen

/**
 * @typedef {object} RowView
 * @property {HTMLElement} element
 * @property {() => void} update draw what has changed
 */

/** A list in an element of its own that scrolls; its rows know their own heights. */
export class FlowList {
  #heights = new Heights();
  /** @type {Map<number, RowView>} */ #shown = new Map();
  #from = 0;

  /**
   * @param {object} rows
   * @param {string} rows.label for who does not see
   * @param {(index: number) => RowView} rows.make
   * @param {(index: number) => number} rows.guess its height, before it was measured
   * @param {() => void} [rows.scrolled]
   */
  constructor(rows) {
    this.rows = rows;
    this.window = h('div', { className: 'window', role: 'list' });
    this.canvas = h('div', { className: 'canvas' }, this.window);
    this.element = h(
      'div',
      { className: 'scroller flow', tabIndex: 0, role: 'region', ariaLabel: rows.label },
      this.canvas,
    );
    this.element.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  clear() {
    this.#heights.clear();
    for (const { element } of this.#shown.values()) element.remove();
    this.#shown.clear();
  }

  /** @param {number} count of all rows; more than before, or `clear` comes first */
  set count(count) {
    for (let index = this.#heights.length; index < count; index += 1) this.#heights.push(this.rows.guess(index));
  }

  get count() {
    return this.#heights.length;
  }

  #scrolled() {
    this.draw();
    this.rows.scrolled?.();
  }

  /**
   * Draw one row anew, where it is in the page.
   * @param {number} index
   */
  update(index) {
    this.#shown.get(index)?.update();
  }

  /** @param {number} index @returns {HTMLElement|undefined} */
  elementAt(index) {
    return this.#shown.get(index)?.element;
  }

  /** @returns {{from: number, to: number}} the rows that are in the page */
  get seen() {
    const top = this.element.scrollTop;
    return { from: this.#heights.at(top), to: this.#heights.at(top + this.element.clientHeight) };
  }

  draw() {
    const { clientHeight } = this.element;
    if (!this.element.isConnected || !clientHeight) return;
    for (let round = 0; round < ROUNDS; round += 1) {
      const top = this.element.scrollTop;
      const from = this.#heights.at(top - OVER_PX);
      const to = Math.min(this.count - 1, this.#heights.at(top + clientHeight + OVER_PX));
      const changed = this.#put(from, to);
      if (!this.#measure(from, to, top) && !changed) break;
    }
  }

  /** @param {number} from @param {number} to @returns {boolean} whether rows came into the page */
  #put(from, to) {
    for (const [index, { element }] of this.#shown) {
      if (index >= from && index <= to) continue;
      element.remove();
      this.#shown.delete(index);
    }
    let changed = false;
    /** @type {Element|null} */ let before = null;
    for (let index = from; index <= to; index += 1) {
      let row = this.#shown.get(index);
      if (!row) {
        changed = true;
        row = this.rows.make(index);
        row.element.setAttribute('role', 'listitem');
        row.element.setAttribute('aria-setsize', String(this.count));
        row.element.setAttribute('aria-posinset', String(index + 1));
        this.#shown.set(index, row);
        row.update();
      }
      /** @type {ChildNode|null} */ const next = before ? before.nextSibling : this.window.firstChild;
      if (next !== row.element) this.window.insertBefore(row.element, next);
      before = row.element;
    }
    this.#from = from;
    this.#place();
    return changed;
  }

  #place() {
    this.window.style.top = `${this.#heights.before(this.#from)}px`; // a transform would have all of it painted anew
    this.canvas.style.height = `${this.#heights.before(this.count)}px`;
  }

  // What is seen stays where it is, when rows above it turn out to be higher or lower than was thought.
  /** @param {number} from @param {number} to @param {number} top @returns {boolean} whether any height has changed */
  #measure(from, to, top) {
    const anchor = this.#heights.at(top);
    let above = 0;
    let changed = false;
    for (let index = from; index <= to; index += 1) {
      const element = this.#shown.get(index)?.element;
      if (!element) continue;
      const by = this.#heights.set(index, element.getBoundingClientRect().height);
      if (by && index < anchor) above += by;
      changed ||= by !== 0;
    }
    if (changed) this.#place();
    if (above) this.element.scrollTop = top + above;
    return changed;
  }

  /** @param {number} index bring it to the middle of what is seen, where it is not seen */
  reveal(index) {
    for (let round = 0; round < 2; round += 1) {
      // the second time all around it was measured
      const top = this.#heights.before(index);
      const { scrollTop, clientHeight } = this.element;
      if (top < scrollTop || top + Math.min(this.#heights.of(index), clientHeight) > scrollTop + clientHeight) {
        this.element.scrollTop = top - clientHeight / 3;
      }
      this.draw();
    }
  }
}
