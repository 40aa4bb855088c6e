// Events to state. No DOM, no network, no clock: apply events in order, in any merge, and read the fields.

import { applyDelta } from './delta.js';

/** Text kept, in UTF-16 units over all texts of a run. Beyond it the growing text loses its oldest pieces. */
export const KEPT_TEXT = 1_000_000;
/** Values, logs and notices kept, each: more than a person scrolls through. */
export const KEPT_ITEMS = 500;
/** Steps kept; the oldest finished ones go first. */
export const KEPT_STEPS = 500;
/** Earlier `progress`, `replace` and byte counts kept, for a `reset` to return to. */
export const KEPT_LATEST = 16;

/** @typedef {{seq: number, text: string, end: number}} Piece `end` is where it ends, in code points. */
/** @typedef {{pieces: Piece[], length: number|null, cut: null | {seq: number, end: number}}} Text `length` is
 *   in code points; `cut` is the last piece no longer kept. */
/** @typedef {{id: string, name: string, kind: string, parent: string|null, input: any, seq: number,
 *   startMs: number, end: null | {seq: number, atMs: number, output: any, error: any}}} Step */

/** The state that a run's events lead to. */
export class Fold {
  /** Everything up to this seq has been applied. */
  position = 0;
  /** Grows with each withdrawal: what was drawn from this fold must be drawn anew. */
  generation = 0;
  /** @type {Map<string, Text>} by span id; '' is the run's own */ texts = new Map();
  /** @type {Map<string, Step>} parents before children */ steps = new Map();
  /** @type {{seq: number, span: string, value: any}[]} */ values = [];
  /** @type {{seq: number, atMs: number, level: string, message: string, fields: any}[]} */ logs = [];
  /** @type {{seq: number, message: string}[]} resets, in words */ notices = [];
  /** @type {null | {seq: number, atMs: number, state: string, result: any, error: any}} */ end = null;
  #units = 0;
  /** @type {Map<string, any[]>} */ #latest = new Map();

  /**
   * Take one event. Applying one again changes nothing.
   * @param {any} event as it came
   * @returns {'taken'|'duplicate'|'gap'} `gap`: events before this one are missing; nothing has changed
   */
  apply(event) {
    const { type, seq = 0, n = 1 } = event;
    if (type === 'reset' && seq === 0) { // about a cursor: it is not itself in the stream
      this.withdraw(event);
      this.position = event.to;
      return 'taken';
    }
    if (type === 'fold') return this.#unfold(event);
    if (seq <= this.position) return 'duplicate';
    if (seq - n > this.position || TAKE[type]?.(this, event) === false) return 'gap';
    this.position = seq;
    return 'taken';
  }

  /** @returns {{done: number, total?: number, unit?: string} | undefined} the latest `progress` */
  get progress() {
    return this.#latest.get('progress')?.at(-1);
  }

  /** @returns {number} bytes received in `bytes` events */
  get bytes() {
    return this.#latest.get('bytes')?.at(-1)?.total ?? 0;
  }

  /** @returns {{seq: number, span: string, value: any}[]} the latest `replace` of each span */
  get replaced() {
    const rows = [...this.#latest].filter(([key, row]) => key.startsWith('replace/') && row.length);
    return rows.map(([, row]) => row.at(-1));
  }

  /** @param {string} span @returns {string} its text as kept; the run's own for '' */
  textOf(span) {
    return (this.texts.get(span)?.pieces ?? []).map((piece) => piece.text).join('');
  }

  // What follows is for the table of events below.

  /** @param {string} key @param {{seq: number, [member: string]: any}} entry */
  keepLatest(key, entry) {
    const row = this.#latest.get(key) ?? [];
    this.#latest.set(key, row);
    bounded(row, entry, KEPT_LATEST);
  }

  /** @param {any} event @returns {boolean} false for a delta against a value that is not here */
  replace({ seq, n = 1, span = '', value, delta }) {
    const key = `replace/${span}`;
    if (delta === undefined) this.keepLatest(key, { seq, span, value });
    else if (seq - n < this.position) return false; // made against what was before some of what is here
    else {
      const last = this.#latest.get(key)?.at(-1);
      const next = last && attempt(() => applyDelta(last.value, delta));
      if (!next) return false;
      this.keepLatest(key, { seq, span, value: next.value });
    }
    return true;
  }

  /** @param {any} event @returns {boolean} false if it begins beyond what has come */
  appendText({ span = '', pos, text, seq }) {
    const kept = this.texts.get(span) ?? { pieces: [], length: 0, cut: null };
    this.texts.set(span, kept);
    const have = kept.length ?? pos; // unknown after a reset into what was cut: then the event is believed
    if (pos > have) return false;
    const fresh = skipPoints(text, have - pos); // a merge made since may begin in what is here already
    const end = have + countPoints(fresh);
    kept.length = end;
    kept.pieces.push({ seq, text: fresh, end });
    this.#units += fresh.length;
    this.#cutText(kept);
    return true;
  }

  /** @param {Step} step */
  addStep(step) {
    this.steps.set(step.id, step);
    if (this.steps.size <= KEPT_STEPS) return;
    const all = [...this.steps.values()];
    const parents = new Set(all.map((other) => other.parent));
    const oldest = all.find((other) => other.end && !parents.has(other.id));
    if (oldest) this.#dropStep(oldest);
  }

  /** @param {{to: number, reason?: string, seq?: number}} reset */
  withdraw({ to, reason = 'Part of this run was withdrawn.', seq = 0 }) {
    /** @param {{seq: number}} entry */
    const stays = (entry) => entry.seq <= to;
    for (const step of [...this.steps.values()]) {
      if (!stays(step)) this.#dropStep(step);
      else if (step.end && !stays(step.end)) step.end = null;
    }
    for (const text of this.texts.values()) this.#withdrawText(text, to);
    for (const [key, row] of this.#latest) this.#latest.set(key, row.filter(stays));
    this.values = this.values.filter(stays);
    this.logs = this.logs.filter(stays);
    if (this.end && !stays(this.end)) this.end = null;
    this.generation += 1;
    bounded(this.notices, { seq, message: reason }, KEPT_ITEMS);
  }

  // In place of all events up to its seq; what was withdrawn is not among them, so there may be gaps.
  /** @param {any} event */
  #unfold({ seq = 0, events }) {
    if (this.position > 0) return seq > this.position ? 'gap' : 'duplicate';
    for (const event of events) {
      if (TAKE[event.type]?.(this, event) === false) return 'gap';
      this.position = event.seq;
    }
    this.position = seq;
    return 'taken';
  }

  /** @param {Text} kept */
  #cutText(kept) {
    let count = 0;
    for (; this.#units > KEPT_TEXT && kept.pieces.length - count > 1; count += 1) {
      this.#units -= kept.pieces[count].text.length;
    }
    if (count) [kept.cut] = kept.pieces.splice(0, count).slice(-1).map(({ seq, end }) => ({ seq, end }));
  }

  /** @param {Step} step */
  #dropStep({ id }) {
    for (const piece of this.texts.get(id)?.pieces ?? []) this.#units -= piece.text.length;
    this.texts.delete(id);
    this.steps.delete(id);
  }

  /** @param {Text} text @param {number} to */
  #withdrawText(text, to) {
    for (let piece; (piece = text.pieces.at(-1)) && piece.seq > to; text.pieces.pop()) {
      this.#units -= piece.text.length;
    }
    if (to === 0) text.cut = null;
    const last = text.pieces.at(-1) ?? text.cut ?? { seq: 0, end: 0 };
    text.length = last.seq <= to ? last.end : null;
  }
}

/**
 * Event type to what it does. Types of a later version are passed over: their seq still counts.
 * @type {Record<string, (fold: Fold, event: any) => unknown>}
 */
const TAKE = {
  text: (fold, event) => fold.appendText(event),
  json: (fold, { seq, span = '', value }) => bounded(fold.values, { seq, span, value }, KEPT_ITEMS),
  log: (fold, { seq, at_ms: atMs, level = 'info', message, fields }) =>
    bounded(fold.logs, { seq, atMs, level, message, fields }, KEPT_ITEMS),
  replace: (fold, event) => fold.replace(event),
  progress: (fold, { seq, done, total, unit }) => fold.keepLatest('progress', { seq, done, total, unit }),
  bytes: (fold, { seq, data }) => fold.keepLatest('bytes', { seq, total: fold.bytes + base64Size(data) }),
  'span-start': (fold, { seq, at_ms: startMs, span: id, name, kind = '', parent = null, input }) =>
    fold.addStep({ id, name, kind, parent, input, seq, startMs, end: null }),
  'span-end': (fold, { seq, at_ms: atMs, span, output, error }) => {
    const step = fold.steps.get(span);
    if (step) step.end = { seq, atMs, output, error };
  },
  reset: (fold, event) => fold.withdraw(event),
  end: (fold, { seq, at_ms: atMs, state, result, error }) => {
    fold.end = { seq, atMs, state, result, error };
  },
};

/** @template T @param {() => T} make @returns {{value: T} | null} */
function attempt(make) {
  try {
    return { value: make() };
  } catch {
    return null;
  }
}

/** @param {any[]} row @param {any} entry @param {number} limit */
function bounded(row, entry, limit) {
  row.push(entry);
  if (row.length > limit) row.shift();
}

/** @param {string} data */
function base64Size(data) {
  return (data.length / 4) * 3 - (data.endsWith('==') ? 2 : data.endsWith('=') ? 1 : 0);
}

/** @param {any} event as it came @returns {boolean} whether nothing follows it: it is the `end`, or holds it */
export function isLast(event) {
  return (event.type === 'fold' ? event.events.at(-1)?.type : event.type) === 'end';
}

/**
 * Length in code points. The wire counts those; JavaScript's `length` counts an emoji twice.
 * @param {string} text
 * @returns {number}
 */
export function countPoints(text) {
  let points = 0;
  for (const _ of text) points += 1;
  return points;
}

/** @param {string} text @param {number} points @returns {string} `text` without its first code points */
export function skipPoints(text, points) {
  let units = 0;
  for (; points > 0 && units < text.length; points -= 1) units += Number(text.codePointAt(units)) > 0xffff ? 2 : 1;
  return text.slice(units);
}
