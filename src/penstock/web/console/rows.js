// A long list of rows of one height, of which only those in sight exist.

/** Rows beyond the edges: a flick of the finger finds them drawn. */
const BEYOND = 8;

/**
 * Which rows are in sight.
 * @param {number} top pixels above the sight @param {number} height of the sight
 * @param {number} rowHeight @param {number} count of all rows
 * @returns {{first: number, last: number}} `last` is the first that is not
 */
export function inSight(top, height, rowHeight, count) {
  const first = Math.max(0, Math.floor(top / rowHeight) - BEYOND);
  const last = Math.min(count, Math.ceil((top + height) / rowHeight) + BEYOND);
  return { first: Math.min(first, last), last };
}

/**
 * What draws one row.
 * @typedef {object} RowView
 * @property {HTMLElement} element
 * @property {() => void} leave it shows none any more
 * @property {(item: any, index: number) => void} show another item, perhaps; must cost nothing while it is the same
 */

/** @typedef {RowView & {index?: number}} Placed with its row */

/** Rows in a box that scrolls. */
export class Rows {
  /** @type {any[]} */ items = [];
  first = 0;
  last = 0;
  /** @type {() => void} after each drawing */ drawn = () => {};
  /** @type {Map<string, Placed>} */ #shown = new Map();
  /** @type {Placed[]} */ #spare = [];
  #due = false;
  #rowHeight = 36;

  /**
   * @param {HTMLElement} scroller @param {HTMLElement} sheet as high as all rows, in the scroller
   * @param {() => RowView} make @param {(item: any) => string} keyOf
   */
  constructor(scroller, sheet, make, keyOf) {
    this.scroller = scroller;
    this.sheet = sheet;
    this.make = make;
    this.keyOf = keyOf;
    scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(scroller);
  }

  get rowHeight() {
    return this.#rowHeight;
  }

  /** @param {any[]} items drawn in the next frame */
  set(items) {
    this.items = items;
    this.draw();
  }

  /** Draw in the next frame what has changed. */
  draw() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    this.#due = false;
    const { items, scroller, sheet } = this;
    const top = scroller.scrollTop - sheet.offsetTop;
    Object.assign(this, inSight(top, scroller.clientHeight, this.#rowHeight, items.length));
    this.#stretch();
    this.#free(new Set(items.slice(this.first, this.last).map(this.keyOf)));
    for (let index = this.first; index < this.last; index += 1) this.#show(items[index], index);
    for (const view of this.#spare) view.element.hidden = true;
    this.drawn();
  }

  /**
   * Other items, of which one that is in sight stays where it is.
   * @param {any[]} items @param {number} by rows that came above it
   */
  setAround(items, by) {
    this.items = items;
    this.#stretch();
    if (by) this.scroller.scrollTop += by * this.#rowHeight;
    this.drawNow();
  }

  /**
   * Bring a row into sight.
   * @param {number} index
   */
  reveal(index) {
    const { scroller, sheet } = this;
    const above = sheet.offsetTop; // what stands above the rows stays in sight
    const top = index * this.#rowHeight;
    const lowest = top + this.#rowHeight + above - scroller.clientHeight;
    scroller.scrollTop = Math.min(Math.max(scroller.scrollTop, lowest), top);
    this.draw();
  }

  /** @param {string} key @returns {RowView | undefined} if it is in sight */
  viewOf(key) {
    return this.#shown.get(key);
  }

  /** @returns {Iterable<RowView>} all in sight */
  views() {
    return this.#shown.values();
  }

  #stretch() {
    const height = `${this.items.length * this.#rowHeight}px`;
    if (this.sheet.style.height !== height) this.sheet.style.height = height;
  }

  #measure() {
    const height = parseFloat(getComputedStyle(this.scroller).getPropertyValue('--row'));
    if (height) this.#rowHeight = height;
    this.draw();
  }

  /** @param {any} wanted */
  #free(wanted) {
    for (const [key, view] of this.#shown) {
      if (wanted.has(key)) continue;
      this.#shown.delete(key);
      view.leave();
      this.#spare.push(view);
    }
  }

  /** @param {any} item @param {number} index */
  #show(item, index) {
    const key = this.keyOf(item);
    let view = this.#shown.get(key);
    if (!view) {
      view = this.#spare.pop() ?? this.make();
      this.#shown.set(key, view);
      view.index = -1;
      if (!view.element.isConnected) this.sheet.append(view.element);
    }
    if (view.index !== index) {
      view.index = index;
      view.element.style.transform = `translateY(${index * this.#rowHeight}px)`;
    }
    view.element.hidden = false;
    view.show(item, index);
  }
}
