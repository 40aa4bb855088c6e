// Events to state. No DOM, no network, no clock: apply events in order, in any merge, and read the fields.

import { applyDelta } from './delta.js';
import { Kept, sumOf, unitsOf } from './kept.js';
import { Texts, textBetween } from './texts.js';

export { isLast } from './place.js';
export { KEPT_TEXT, countPoints, skipPoints, textBetween } from './texts.js';

/** Values, and logs, kept, each: a list that long is searched, not read. */
export const KEPT_ITEMS = 20_000;
/** And of what size, each, in UTF-16 units of JSON: a browser's tab has little memory on a phone. */
export const KEPT_ITEM_UNITS = 16_000_000;
/** Steps kept; the oldest finished ones go first. */
export const KEPT_STEPS = 50_000;
/** And of what size, with their input and output. */
export const KEPT_STEP_UNITS = 32_000_000;
/** Resets kept. */
export const KEPT_NOTICES = 500;
/** Earlier `progress`, `replace` and byte counts kept, for a `reset` to return to. */
export const KEPT_LATEST = 16;

/** Steps let go at once, of the bound: to look for the oldest takes a look at all. */
const STEPS_SHARE = 1 / 16;
const ENTRY_UNITS = 32; // what an entry takes beside its value

/** @typedef {import('./texts.js').Text} Text */
/** @typedef {{input_tokens?: number, output_tokens?: number, cost?: number, currency?: string, model?: string}} Usage */
/** @typedef {{code?: string, message?: string, hint?: string}} Failure */
/** @typedef {{seq: number, atMs: number, output: any, error: Failure|null|undefined, usage: Usage|null|undefined,
 *   firstMs: number|null|undefined}} StepEnd `firstMs`: from the step's start to its first output */
/** @typedef {{id: string, name: string, kind: string, parent: string|null, input: any, seq: number,
 *   startMs: number, end: null | StepEnd, units: number}} Step */
/** @typedef {{seq: number, span: string, value: any, units: number, atMs: number}} Value */
/** @typedef {{seq: number, span: string, atMs: number, level: string, message: string, fields: any, units: number}} Log */
/** @typedef {{seq: number, message: string, to: number, atMs: number, units: number}} Notice a reset, in words */
/** @typedef {{seq: number, atMs: number, state: string, result: any, error: Failure|null|undefined,
 *   firstMs: number|null|undefined}} End */

/** The state that a run's events lead to. */
export class Fold {
  /** Everything up to this seq has been applied. */
  position = 0;
  /** Grows with each withdrawal: what was drawn from this fold must be drawn anew. */
  generation = 0;
  /** @type {Map<string, Step>} parents before children */ steps = new Map();
  /** @type {null | End} */ end = null;
  /** Steps no longer kept. */ droppedSteps = 0;
  #texts = new Texts();
  /** @type {Kept<Value>} */ #values = new Kept(KEPT_ITEMS, KEPT_ITEM_UNITS);
  /** @type {Kept<Log>} */ #logs = new Kept(KEPT_ITEMS, KEPT_ITEM_UNITS);
  /** @type {Kept<Notice>} */ #notices = new Kept(KEPT_NOTICES);
  /** @type {Map<string, any[]>} */ #latest = new Map();
  #stepUnits = 0;
  #stepsAt = KEPT_STEPS;
  #stepUnitsAt = KEPT_STEP_UNITS;

  /**
   * Take one event. Applying one again changes nothing.
   * @param {any} event as it came
   * @returns {'taken'|'duplicate'|'gap'} `gap`: events before this one are missing; nothing has changed
   */
  apply(event) {
    const { type, seq = 0, n = 1 } = event;
    if (type === 'reset' && seq === 0) {
      // about a cursor: it is not itself in the stream
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

  /** @returns {Map<string, Text>} by span id; '' is the run's own */
  get texts() {
    return this.#texts.all;
  }

  /** @returns {Value[]} the `json` values, in order */
  get values() {
    return this.#values.items;
  }

  /** @returns {Log[]} in order */
  get logs() {
    return this.#logs.items;
  }

  /** @returns {Notice[]} resets, in words */
  get notices() {
    return this.#notices.items;
  }

  /** @returns {{values: number, logs: number, steps: number}} what was let go, of each */
  get dropped() {
    return { values: this.#values.dropped, logs: this.#logs.dropped, steps: this.droppedSteps };
  }

  /** @returns {{done: number, total?: number, unit?: string, fields?: any} | undefined} the latest `progress` */
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

  /** @param {string} span @returns {{seq: number, span: string, value: any} | undefined} its latest `replace` */
  replacedOf(span) {
    return this.#latest.get(`replace/${span}`)?.at(-1);
  }

  /** @param {string} span @returns {string} its text as kept; the run's own for '' */
  textOf(span) {
    return textBetween(this.texts.get(span), 0);
  }

  // What follows is for the table of events below.

  /** @param {string} key @param {any} entry */
  keepLatest(key, entry) {
    const row = this.#latest.get(key) ?? [];
    row.push(entry);
    if (row.length > KEPT_LATEST) row.shift();
    this.#latest.set(key, row);
  }

  /** @param {any} event */
  addValue({ seq, at_ms: atMs, span = '', value }) {
    this.#values.add({ seq, span, value, atMs, units: ENTRY_UNITS + unitsOf(value) });
  }

  /** @param {any} event */
  addLog({ seq, at_ms: atMs, span = '', level = 'info', message, fields }) {
    const units = ENTRY_UNITS + message.length + (fields === undefined ? 0 : unitsOf(fields));
    this.#logs.add({ seq, span, atMs, level, message, fields, units });
  }

  /** @param {any} event @returns {boolean} false for a delta against a value that is not here */
  replace({ seq, n = 1, span = '', value, delta }) {
    const key = `replace/${span}`;
    if (delta === undefined) this.keepLatest(key, { seq, span, value });
    else if (seq - n < this.position)
      return false; // made against what was before some of what is here
    else {
      const last = this.#latest.get(key)?.at(-1);
      const next = last && attempt(() => applyDelta(last.value, delta));
      if (!next) return false;
      this.keepLatest(key, { seq, span, value: next.value });
    }
    return true;
  }

  /** @param {any} event @returns {boolean} false if it begins beyond what has come */
  appendText(event) {
    return this.#texts.append(event);
  }

  /** @param {any} event */
  addStep({ seq, at_ms: startMs, span: id, name, kind = '', parent = null, input }) {
    const units = ENTRY_UNITS + name.length + (input === undefined ? 0 : unitsOf(input));
    this.steps.set(id, { id, name, kind, parent, input, seq, startMs, end: null, units });
    this.#stepUnits += units;
    this.#boundSteps();
  }

  /** @param {any} event */
  endStep({ seq, at_ms: atMs, span, output, error, usage, first_ms: firstMs }) {
    const step = this.steps.get(span);
    if (!step) return;
    step.end = { seq, atMs, output, error, usage, firstMs };
    const units = output === undefined ? 0 : unitsOf(output);
    step.units += units;
    this.#stepUnits += units;
    this.#boundSteps();
  }

  /** @param {{to: number, reason?: string, seq?: number, at_ms?: number}} event */
  withdraw({ to, reason: message = 'Part of this run was withdrawn.', seq = 0, at_ms: atMs = 0 }) {
    for (const step of [...this.steps.values()].reverse()) {
      if (step.seq > to) this.#dropStep(step);
      else if (step.end && step.end.seq > to) step.end = null;
    }
    this.#texts.withdraw(to);
    for (const [key, row] of this.#latest)
      this.#latest.set(
        key,
        row.filter((entry) => entry.seq <= to),
      );
    this.#values.withdraw(to);
    this.#logs.withdraw(to);
    if (this.end && this.end.seq > to) this.end = null;
    this.generation += 1;
    this.#notices.add({ seq, message, to, atMs, units: message.length });
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

  #boundSteps() {
    if (this.#stepUnits > this.#stepUnitsAt) this.#stepUnits = sumOf(this.steps.values());
    if (this.steps.size > this.#stepsAt || this.#stepUnits > this.#stepUnitsAt) this.#trimSteps();
  }

  // The oldest that have ended and hold no other; where none may go, they are not looked at again at once.
  #trimSteps() {
    const most = KEPT_STEPS * (1 - STEPS_SHARE);
    const mostUnits = KEPT_STEP_UNITS * (1 - STEPS_SHARE);
    const parents = new Set([...this.steps.values()].map(({ parent }) => parent));
    for (const step of this.steps.values()) {
      if (this.steps.size <= most && this.#stepUnits <= mostUnits) break;
      if (!step.end || parents.has(step.id)) continue;
      this.#dropStep(step);
      this.droppedSteps += 1;
    }
    this.#stepsAt = Math.max(KEPT_STEPS, this.steps.size + KEPT_STEPS * STEPS_SHARE);
    this.#stepUnitsAt = Math.max(KEPT_STEP_UNITS, this.#stepUnits + KEPT_STEP_UNITS * STEPS_SHARE);
  }

  /** @param {Step} step */
  #dropStep({ id, units }) {
    this.#texts.drop(id);
    this.#latest.delete(`replace/${id}`);
    this.#stepUnits -= units;
    this.steps.delete(id);
  }
}

/**
 * Event type to what it does. Types of a later version are passed over: their seq still counts.
 * @type {Record<string, (fold: Fold, event: any) => boolean|void>}
 */
const TAKE = {
  text: (fold, event) => fold.appendText(event),
  json: (fold, event) => fold.addValue(event),
  log: (fold, event) => fold.addLog(event),
  replace: (fold, event) => fold.replace(event),
  progress: (fold, { seq, done, total, unit, fields }) =>
    fold.keepLatest('progress', { seq, done, total, unit, fields }),
  bytes: (fold, { seq, data }) => fold.keepLatest('bytes', { seq, total: fold.bytes + base64Size(data) }),
  'span-start': (fold, event) => fold.addStep(event),
  'span-end': (fold, event) => fold.endStep(event),
  reset: (fold, event) => fold.withdraw(event),
  end: (fold, { seq, at_ms: atMs, state, result, error, first_ms: firstMs }) => {
    fold.end = { seq, atMs, state, result, error, firstMs };
  },
};

/** @param {() => any} make */
function attempt(make) {
  try {
    return { value: make() };
  } catch {
    return null;
  }
}

/** @param {string} data */
function base64Size(data) {
  return (data.length / 4) * 3 - (data.endsWith('==') ? 2 : data.endsWith('=') ? 1 : 0);
}
