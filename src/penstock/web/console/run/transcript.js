// Events to the rows of a transcript: what a person reads, in the order in which it was said. No DOM.

import { isGrave } from './words.js';

/** Kinds of steps that only hold others, or speak: their text and their errors are shown, not the step. */
const STRUCTURE = new Set(['', 'agent', 'chain', 'workflow', 'llm', 'plan']);

/** Rows kept; the oldest go first, some at a time. A person scrolls through fewer. */
export const KEPT_ROWS = 100_000;
/** And the size of their values, in UTF-16 units of JSON: somewhat more than the fold keeps. */
const KEPT_UNITS = 24_000_000;
const ROWS_SHARE = 1 / 8;

/**
 * @typedef {object} Row
 * @property {'text'|'call'|'value'|'latest'|'log'|'error'|'reset'|'end'} kind
 * @property {number} seq of the event that it begins with
 * @property {string} span '' is the run itself
 * @property {number} from of a text: its place in the span's text, in UTF-16 units
 * @property {number} to and where it ends
 * @property {any} item what it shows: a step, value, log, notice or end
 */

/** The rows of one run's transcript. Give it everything once, then what is new. */
export class Transcript {
  /** @type {Row[]} another array, whenever any but the last have changed */ rows = [];
  /** Rows let go of. */ dropped = 0;
  /** @type {Set<Row>} rows that have changed since this was last emptied */ touched = new Set();
  /** @type {Row|null} what the run itself, outside its steps, has said last */ answer = null;
  #position = 0;
  #itemUnits = 0;
  /** @type {Map<string, number>} UTF-16 units of each span's text that are in rows */ #units = new Map();
  /** @type {Map<string, Row>} the row of each span to which its next words are added */ #open = new Map();
  /** @type {Map<string, Row>} */ #calls = new Map();
  /** @type {Map<string, Row>} */ #latest = new Map();

  clear() {
    this.rows = [];
    this.answer = null;
    this.dropped = this.#itemUnits = 0;
    this.#position = 0;
    for (const map of [this.#units, this.#open, this.#calls, this.#latest]) map.clear();
  }

  /**
   * Take what is new.
   * @param {import('../../client/fold.js').Fold} fold
   * @param {{texts: Iterable<string>, steps: Iterable<string>, replaced: boolean,
   *   notices: import('../../client/fold.js').Notice[], upTo: number}} changed
   * @param {(step: import('../../client/fold.js').Step) => boolean} ownError whether a step's error began with it
   */
  update(fold, changed, ownError) {
    const { upTo } = changed;
    const fresh = [...this.#newTexts(fold, changed.texts, upTo), ...this.#newSteps(fold, changed.steps, ownError)];
    for (const item of newer(fold.values, this.#position, upTo)) fresh.push(rowOf('value', item.seq, item.span, item));
    for (const item of newer(fold.logs, this.#position, upTo)) {
      if (isGrave(item.level)) fresh.push(rowOf('log', item.seq, item.span, item));
    }
    for (const item of newer(changed.notices, this.#position, upTo)) fresh.push(rowOf('reset', item.seq, '', item));
    if (changed.replaced) fresh.push(...this.#newLatest(fold));
    const { end } = fold;
    if (end && end.seq > this.#position && end.seq <= upTo) fresh.push(rowOf('end', end.seq, '', end));
    fresh.sort((one, other) => one.seq - other.seq);
    for (const row of fresh) this.#add(row);
    if (this.rows.length > KEPT_ROWS || this.#itemUnits > KEPT_UNITS) this.#trim();
    this.#position = upTo;
  }

  #trim() {
    let count = Math.max(0, this.rows.length - KEPT_ROWS * (1 - ROWS_SHARE));
    for (const { item } of this.rows.slice(0, count)) this.#itemUnits -= item?.units ?? 0;
    for (; this.#itemUnits > KEPT_UNITS * (1 - ROWS_SHARE) && count < this.rows.length - 1; count += 1) {
      this.#itemUnits -= this.rows[count].item?.units ?? 0;
    }
    for (const { kind, span } of this.rows.slice(0, count)) if (kind === 'call') this.#calls.delete(span);
    this.rows = this.rows.slice(count);
    this.dropped += count;
  }

  /** @param {import('../../client/fold.js').Fold} fold @param {Iterable<string>} spans @param {number} upTo @returns {Row[]} */
  #newTexts(fold, spans, upTo) {
    const fresh = [];
    for (const span of spans) {
      const text = fold.texts.get(span);
      if (!text) continue;
      const done = this.#units.get(span) ?? 0;
      let shown = done;
      for (let index = text.pieces.length - 1; index >= 0 && text.pieces[index].units > done; index -= 1) {
        const { seq, text: piece, units } = text.pieces[index];
        if (seq > upTo && units - piece.length >= done) continue; // its turn comes
        shown = Math.max(shown, units);
        fresh.push({ ...rowOf('text', seq, span, null), from: Math.max(done, units - piece.length), to: units });
      }
      this.#units.set(span, shown);
    }
    return fresh;
  }

  /**
   * @param {import('../../client/fold.js').Fold} fold @param {Iterable<string>} ids
   * @param {(step: import('../../client/fold.js').Step) => boolean} ownError
   */
  #newSteps(fold, ids, ownError) {
    const fresh = [];
    for (const id of ids) {
      const step = fold.steps.get(id);
      if (!step) continue;
      const shown = this.#calls.get(id);
      if (shown) this.touched.add(shown);
      else if (!STRUCTURE.has(step.kind)) {
        const row = rowOf('call', step.seq, id, step);
        this.#calls.set(id, row);
        fresh.push(row);
      } else if (step.end?.error && ownError(step)) fresh.push(rowOf('error', step.end.seq, id, step));
    }
    return fresh;
  }

  /** @param {import('../../client/fold.js').Fold} fold */
  #newLatest(fold) {
    const fresh = [];
    for (const item of fold.replaced) {
      const shown = this.#latest.get(item.span);
      if (shown) {
        if (shown.item === item) continue;
        shown.item = item;
        this.touched.add(shown);
      } else {
        const row = rowOf('latest', item.seq, item.span, item);
        this.#latest.set(item.span, row);
        fresh.push(row);
      }
    }
    return fresh;
  }

  // Words go on in their row until something else comes. Where several speak at once each goes on in its own, or
  // the rows would change with every word: only who speaks for the first time ends those of the others.
  /** @param {Row} row */
  #add(row) {
    const open = row.kind === 'text' ? this.#open.get(row.span) : undefined;
    if (open && open.to === row.from) {
      open.to = row.to;
      this.touched.add(open);
      return;
    }
    if (row.kind !== 'text' || row.from === 0) this.#open.clear();
    if (row.kind === 'text') this.#open.set(row.span, row);
    if (row.kind === 'text' && row.span === '') this.answer = row;
    this.#itemUnits += row.item?.units ?? 0;
    this.rows.push(row);
  }

  /**
   * The row that shows an event: its own, or that of its step's call, or the last before it.
   * @param {number} seq @param {string} span
   * @returns {number}
   */
  placeOf(seq, span) {
    const index = this.#indexOf(seq);
    const call = this.#calls.get(span);
    return call && this.rows[index].seq !== seq ? this.#indexOf(call.seq) : index;
  }

  /** @param {number} seq */
  #indexOf(seq) {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].seq <= seq) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

/** @param {Row['kind']} kind @param {number} seq @param {string} span @param {any} item @returns {Row} */
const rowOf = (kind, seq, span, item) => ({ kind, seq, span, from: 0, to: 0, item });

/**
 * The entries after an event, up to another.
 * @template {{seq: number}} Entry
 * @param {Entry[]} entries in order @param {number} seq @param {number} upTo
 * @returns {Entry[]}
 */
export function newer(entries, seq, upTo) {
  let to = entries.length;
  while (to > 0 && entries[to - 1].seq > upTo) to -= 1;
  let from = to;
  while (from > 0 && entries[from - 1].seq > seq) from -= 1;
  return entries.slice(from, to);
}
