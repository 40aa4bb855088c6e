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
    new ResizeObserver(() => this.draw(true)).observe(this.element);
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

  #size() {
    this.#rowPx ||= parseFloat(getComputedStyle(this.element).getPropertyValue('--row-px')) || 28;
    this.canvas.style.height = `${this.#count * this.#rowPx}px`;
  }

  /** @returns {{from: number, to: number}} the rows that are seen */
  get seen() {
    const from = Math.floor(this.element.scrollTop / (this.#rowPx || 28));
    const to = Math.ceil((this.element.scrollTop + this.element.clientHeight) / (this.#rowPx || 28));
    return { from, to: Math.min(to, this.#count) - 1 };
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
    for (let index = Math.max(0, from - OVER_ROWS); index <= Math.min(this.#count - 1, to + OVER_ROWS); index += 1) wanted.push(index);
    // The active one stays: the focus would be lost with it.
    if (this.#count && !wanted.includes(this.active)) this.active < (wanted[0] ?? 0) ? wanted.unshift(this.active) : wanted.push(this.active);
    this.#release(new Set(wanted));
    /** @type {Element|null} */ let before = null;
    for (const index of wanted) before = this.#put(index, before, refill);
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
      row.style.transform = `translateY(${index * this.#rowPx}px)`;
    }
    if (fresh || refill) this.rows.fill(row, index);
    row.tabIndex = index === this.active ? 0 : -1;
    const next = before ? before.nextSibling : this.canvas.firstChild;
    if (next !== row) this.canvas.insertBefore(row, next);
    return row;
  }

  /** Draw one row anew, where it is seen. @param {number} index */
  refill(index) {
    const row = this.#rows.get(index);
    if (row) this.rows.fill(row, index);
  }

  /** Draw anew all that is seen. */
  refillAll() {
    for (const [index, row] of this.#rows) this.rows.fill(row, index);
  }

  /** @param {number} index make it the active one, and seen @param {{focus?: boolean, middle?: boolean}} [how] */
  reveal(index, { focus = false, middle = false } = {}) {
    this.active = Math.max(0, Math.min(index, this.#count - 1));
    this.#size();
    const top = this.active * this.#rowPx;
    const { clientHeight, scrollTop } = this.element;
    const hidden = top < scrollTop || top + this.#rowPx > scrollTop + clientHeight;
    if (hidden && (middle || Math.abs(top - scrollTop) > 2 * clientHeight)) this.element.scrollTop = top - clientHeight / 2;
    else if (top < scrollTop) this.element.scrollTop = top;
    else if (hidden) this.element.scrollTop = top + this.#rowPx - clientHeight;
    this.draw(true);
    if (focus) this.#rows.get(this.active)?.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.#count) return;
    const page = Math.max(1, this.seen.to - this.seen.from - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.#count, End: this.#count };
    const by = /** @type {Record<string, number>} */ (moves)[event.key];
    if (by) {
      this.reveal(Math.max(0, Math.min(this.active + by, this.#count - 1)), { focus: true });
      this.rows.choose(this.active, 'key');
    } else if (event.key === 'Enter') this.rows.choose(this.active, 'enter');
    else if (!this.rows.key?.(this.active, event.key)) return;
    event.preventDefault();
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
