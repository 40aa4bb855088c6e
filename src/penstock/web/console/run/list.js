// Many rows of one height, of which only those are in the page that are seen.

import { h } from '../../client/dom.js';

const OVER_ROWS = 8; // above and below what is seen: a wheel's notch shows no blank

/**
 * @typedef {object} RowsOf
 * @property {string} label for who does not see
 * @property {'treegrid'|'grid'} role
 * @property {() => HTMLElement} make an empty row
 * @property {(row: HTMLElement, index: number) => void} fill
 * @property {(index: number, how: 'key'|'click'|'enter') => void} choose
 * @property {(index: number, key: string) => boolean} [key] another key on a row: whether it meant something
 * @property {() => void} [scrolled] other rows are seen
 * @property {import('./heights.js').Heights} [heights] in rows, where some indexes have no row of their own, or nobody
 *   knows: only those of a whole row are shown
 */

/** A list in an element of its own that scrolls. */
export class RowList {
  /** @type {Map<number, HTMLElement>} */ #rows = new Map();
  /** @type {HTMLElement[]} */ #spare = [];
  #count = 0;
  #rowPx = 0;
  /** The row that has, or would get, the focus. */ active = 0;

  /** @param {RowsOf} rows */
  constructor(rows) {
    this.rows = rows;
    this.canvas = h('div', { className: 'canvas', role: 'presentation' });
    this.element = h('div', { className: 'scroller list', tabIndex: -1 }, this.canvas);
    this.element.setAttribute('role', rows.role);
    this.element.setAttribute('aria-label', rows.label);
    this.element.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.element.addEventListener('keydown', (event) => this.#key(event));
    this.element.addEventListener('click', (event) => this.#click(event));
    new ResizeObserver(() => this.#resized()).observe(this.element);
  }

  /** @param {number} count of all rows */
  set count(count) {
    if (count === this.#count) return;
    this.#count = count;
    this.element.setAttribute('aria-rowcount', String(count));
    this.active = Math.max(0, Math.min(this.active, count - 1));
    this.#size();
  }

  get count() {
    return this.#count;
  }

  // On a small screen rows are higher.
  #resized() {
    const before = this.#rowPx;
    this.#rowPx = 0;
    this.#size();
    if (before !== this.#rowPx) this.#release(new Set());
    this.draw(true);
  }

  #size() {
    this.#rowPx ||= parseFloat(getComputedStyle(this.element).getPropertyValue('--row-px')) || 28;
    this.canvas.style.height = `${this.#topOf(this.#count)}px`;
  }

  /** @param {number} index @returns {number} pixels from the top */
  #topOf(index) {
    return (this.rows.heights ? this.rows.heights.before(index) : index) * this.#rowPx;
  }

  /** @param {number} px @returns {number} the row that is there */
  #at(px) {
    const row = Math.max(0, px / (this.#rowPx || 28));
    return this.rows.heights ? this.rows.heights.at(row) : Math.floor(row);
  }

  /** @param {number} index */
  #shows(index) {
    return !this.rows.heights || this.rows.heights.of(index) >= 1;
  }

  /** @returns {{from: number, to: number}} the rows that are seen */
  get seen() {
    const { scrollTop, clientHeight } = this.element;
    return { from: this.#at(scrollTop), to: Math.min(this.#at(scrollTop + clientHeight), this.#count - 1) };
  }

  /**
   * Change heights; what is seen stays where it is.
   * @param {() => void} change
   */
  keepPlace(change) {
    const { scrollTop } = this.element;
    const first = this.#at(scrollTop);
    const within = scrollTop - this.#topOf(first);
    change();
    this.#size();
    const top = this.#topOf(first) + within;
    if (Math.abs(top - scrollTop) >= 1) this.element.scrollTop = top;
    this.draw(true);
  }

  #scrolled() {
    this.draw(false);
    this.rows.scrolled?.();
  }

  /** @param {boolean} refill rows that are in the page already, too */
  draw(refill) {
    if (!this.element.isConnected || !this.element.clientHeight) return;
    this.#size();
    const { from, to } = this.seen;
    const wanted = [];
    const last = Math.min(this.#count - 1, to + OVER_ROWS);
    for (let index = Math.max(0, from - OVER_ROWS); index <= last; index += 1)
      if (this.#shows(index)) wanted.push(index);
    if (this.active < this.#count && !wanted.includes(this.active)) this.#keepActive(wanted);
    this.#release(new Set(wanted));
    /** @type {Element|null} */ let before = null;
    for (const index of wanted) before = this.#put(index, before, refill);
  }

  // The active one stays in the page: the focus would be lost with it.
  /** @param {number[]} wanted */
  #keepActive(wanted) {
    if (!this.#rows.has(this.active) && wanted.length) return;
    if (this.active < (wanted[0] ?? 0)) wanted.unshift(this.active);
    else wanted.push(this.active);
  }

  /** @param {Set<number>} wanted */
  #release(wanted) {
    for (const [index, row] of this.#rows) {
      if (wanted.has(index)) continue;
      this.#rows.delete(index);
      if (this.#spare.length < 2 * OVER_ROWS && row !== document.activeElement) this.#spare.push(row);
      row.remove();
    }
  }

  /** @param {number} index @param {Element|null} before @param {boolean} refill */
  #put(index, before, refill) {
    let row = this.#rows.get(index);
    const fresh = !row;
    if (!row) {
      row = this.#spare.pop() ?? this.rows.make();
      this.#rows.set(index, row);
      row.setAttribute('role', 'row');
      row.setAttribute('aria-rowindex', String(index + 1));
      row.dataset.index = String(index);
    }
    if (fresh || this.rows.heights) row.style.top = `${this.#topOf(index)}px`;
    if (fresh || refill) this.rows.fill(row, index);
    const tabIndex = index === this.active ? 0 : -1;
    if (row.tabIndex !== tabIndex) row.tabIndex = tabIndex;
    const next = before ? before.nextSibling : this.canvas.firstChild;
    if (next !== row) this.canvas.insertBefore(row, next);
    return row;
  }

  /**
   * Draw one row anew, where it is seen.
   * @param {number} index
   */
  refill(index) {
    const row = this.#rows.get(index);
    if (row) this.rows.fill(row, index);
  }

  /** Draw anew all that is seen. */
  refillAll() {
    for (const [index, row] of this.#rows) this.rows.fill(row, index);
  }

  /**
   * Make a row the active one, and bring it into sight.
   * @param {number} index
   * @param {{focus?: boolean, middle?: boolean}} how
   */
  reveal(index, { focus = false, middle = false }) {
    this.active = Math.max(0, Math.min(index, this.#count - 1));
    this.#size();
    const top = this.#topOf(this.active);
    const { clientHeight, scrollTop } = this.element;
    const hidden = top < scrollTop || top + this.#rowPx > scrollTop + clientHeight;
    if (hidden && (middle || Math.abs(top - scrollTop) > 2 * clientHeight))
      this.element.scrollTop = top - clientHeight / 2;
    else if (top < scrollTop) this.element.scrollTop = top;
    else if (hidden) this.element.scrollTop = top + this.#rowPx - clientHeight;
    this.draw(true);
    if (focus) this.#rows.get(this.active)?.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.#count) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.#rowPx) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.#count, End: this.#count };
    const by = /** @type {Record<string, number>} */ (moves)[event.key];
    if (by) {
      this.reveal(this.#moved(by), { focus: true });
      this.rows.choose(this.active, 'key');
    } else if (event.key === 'Enter') this.rows.choose(this.active, 'enter');
    else if (!this.rows.key?.(this.active, event.key)) return;
    event.preventDefault();
  }

  /** @param {number} by rows @returns {number} the index so many rows on */
  #moved(by) {
    if (!this.rows.heights || Math.abs(by) >= this.#count)
      return Math.max(0, Math.min(this.active + by, this.#count - 1));
    const step = Math.sign(by);
    let index = this.active;
    let found = index;
    for (let left = Math.abs(by); left > 0 && index + step >= 0 && index + step < this.#count;) {
      index += step;
      if (!this.#shows(index)) continue;
      found = index;
      left -= 1;
    }
    return found;
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const row = /** @type {HTMLElement|null} */ (/** @type {Element} */ (event.target).closest('[role=row]'));
    if (!row?.dataset.index || getSelection()?.type === 'Range') return; // who marks text wants to copy it
    const index = Number(row.dataset.index);
    const isTwisty = /** @type {Element} */ (event.target).closest('.twisty');
    this.reveal(index, { focus: true });
    if (isTwisty) this.rows.key?.(index, 'toggle');
    else this.rows.choose(index, 'click');
  }
}
