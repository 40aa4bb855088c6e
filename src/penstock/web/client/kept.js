// What a fold keeps of rows that may grow for ever: the newest, within a number and a size. No DOM.

/** What is let go at once, of the bound: to let go of one at a time would move all others each time. */
const SHARE = 1 / 8;

/**
 * The newest entries of a row. An entry's `units` is its size; it may be made smaller while it is kept.
 * @template {{seq: number, units: number}} Entry
 */
export class Kept {
  /** @type {Entry[]} */ items = [];
  /** Entries let go. */ dropped = 0;
  #units = 0;

  /** @param {number} most entries @param {number} mostUnits of all of them together */
  constructor(most, mostUnits = Infinity) {
    this.most = most;
    this.mostUnits = mostUnits;
  }

  /** @param {Entry} entry */
  add(entry) {
    this.items.push(entry);
    this.#units += entry.units;
    if (this.#units > this.mostUnits) this.#units = sumOf(this.items);
    if (this.items.length > this.most || this.#units > this.mostUnits) this.#trim();
  }

  /**
   * Keep those up to an event.
   * @param {number} to its seq
   */
  withdraw(to) {
    while ((this.items.at(-1)?.seq ?? 0) > to) this.#units -= this.items.pop()?.units ?? 0;
  }

  #trim() {
    const most = this.most * (1 - SHARE);
    const mostUnits = this.mostUnits * (1 - SHARE);
    let count = 0;
    while (count < this.items.length - 1 && (this.items.length - count > most || this.#units > mostUnits)) {
      this.#units -= this.items[count].units;
      count += 1;
    }
    this.items.splice(0, count);
    this.dropped += count;
  }
}

/** @param {Iterable<{units: number}>} entries @returns {number} */
export function sumOf(entries) {
  let units = 0;
  for (const entry of entries) units += entry.units;
  return units;
}

/** Of a number, a word, brackets: what one value takes at least. */
const LEAST_UNITS = 8;

/**
 * About how long a value's JSON is, in UTF-16 units, without writing it.
 * @param {any} value of JSON
 * @returns {number}
 */
export function unitsOf(value) {
  let units = 0;
  const waiting = [value]; // a row of its own: a value may be nested deeper than calls may be
  while (waiting.length) {
    const next = waiting.pop();
    units += typeof next === 'string' ? next.length : LEAST_UNITS;
    if (next === null || typeof next !== 'object') continue;
    if (Array.isArray(next)) for (const item of next) waiting.push(item);
    else
      for (const key in next) {
        units += key.length;
        waiting.push(next[key]);
      }
  }
  return units;
}
