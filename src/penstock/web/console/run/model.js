// One run as the page knows it: its record, its folded state, and what is drawn from them. No DOM.

import { Fold } from '../../client/fold.js';
import { LARGE_UNITS, Large, lightened } from './brief.js';
import { Transcript, newer } from './transcript.js';
import { Tree } from './tree.js';
import { isError, isLive } from './words.js';

/** Errors kept; the oldest go first, some at a time. */
const KEPT_ERRORS = 20_000;
const ERRORS_SHARE = 1 / 8;

/** @typedef {import('../../client/fold.js').Notice} Notice */
/** @typedef {{seq: number, span: string, message: string}} Problem a place where something failed */

/** What a page knows of one run. Give it each state that the client tells, and read the fields. */
export class RunModel {
  /** @type {any} of GET api/runs/ID; null until it has come */ record = null;
  /** @type {{state?: string, position?: number|null, eta_s?: number|null, cancel?: string}} the latest */ status = {};
  /** @type {string[]} of this page: the run is not there, the stream was read again */ notices = [];
  /** of a stop */ receipt = '';
  fold = new Fold();
  tree = new Tree();
  transcript = new Transcript();
  /** @type {Problem[]} in order */ errors = [];
  droppedErrors = 0;
  /** @type {Set<string>} steps under way */ pending = new Set();
  /** @type {Notice[]} resets that a fold of the server's left out */ #earlier = [];
  /** Unix milliseconds of the first event; 0 before it */ firstMs = 0;
  #position = 0;
  #generation = 0;
  #droppedSteps = 0;

  /** @param {string} id */
  constructor(id) {
    this.id = id;
  }

  /**
   * Take the state, up to an event: it lives, and of what has come since nobody has said yet where it changed.
   * @param {Fold} fold @param {import('../../client/subscription.js').Changed} changed since the last time
   * @param {number} [upTo]
   */
  update(fold, changed, upTo = fold.position) {
    const anew = changed.all || fold !== this.fold || fold.generation !== this.#generation;
    this.fold = fold;
    if (anew || fold.droppedSteps !== this.#droppedSteps) this.#clear();
    const all = this.#position === 0;
    const steps = all ? fold.steps.keys() : changed.steps;
    const texts = all ? fold.texts.keys() : changed.texts;
    const ids = [...steps].filter((id) => (fold.steps.get(id)?.seq ?? 0) <= upTo);
    const own = this.#takeSteps(ids, upTo);
    const replaced = all || changed.kinds.has('replace');
    this.transcript.update(fold, { texts, steps: ids, replaced, notices: this.resets, upTo }, (step) =>
      own.has(step.id),
    );
    this.#takeRest(upTo);
    this.#position = upTo;
  }

  /** @returns {Notice[]} all that is known of, in order */
  get resets() {
    const { notices } = this.fold;
    const first = notices[0]?.seq ?? Infinity;
    return this.#earlier.length ? [...this.#earlier.filter(({ seq }) => seq < first), ...notices] : notices;
  }

  /**
   * Resets were found in the store: what they withdrew is not in the state, nor are they where the server folded it.
   * @param {Notice[]} resets
   */
  recall(resets) {
    this.#earlier = resets;
    if (this.#position)
      this.update(this.fold, { all: true, texts: new Set(), steps: new Set(), kinds: new Set() }, this.#position);
  }

  #clear() {
    this.#generation = this.fold.generation;
    this.#droppedSteps = this.fold.droppedSteps;
    this.#position = 0;
    this.firstMs = 0;
    this.errors = [];
    this.droppedErrors = 0;
    this.pending.clear();
    this.tree.clear();
    this.transcript.clear();
  }

  /** @param {string[]} ids @param {number} upTo @returns {Set<string>} steps whose error began with them */
  #takeSteps(ids, upTo) {
    /** @type {Set<string>} */ const own = new Set();
    const ended = [];
    for (const id of ids) {
      const step = this.fold.steps.get(id);
      if (!step) continue;
      if (!this.tree.nodes.has(id)) this.#begin(step);
      if (step.end && step.end.seq <= upTo) ended.push(step);
    }
    ended.sort((one, other) => (one.end?.seq ?? 0) - (other.end?.seq ?? 0)); // children before what they are in
    for (const step of ended) if (this.#end(step)) own.add(step.id);
    return own;
  }

  /** @param {import('../../client/fold.js').Step} step */
  #begin(step) {
    this.tree.add(step);
    this.pending.add(step.id);
    step.input = lightened(step.input);
    step.units = Math.min(step.units, LARGE_UNITS);
    this.firstMs ||= step.startMs;
  }

  /** @param {import('../../client/fold.js').Step} step */
  #end(step) {
    const { end } = step;
    this.pending.delete(step.id);
    if (!end) return false;
    end.output = lightened(end.output);
    step.units = Math.min(step.units, 2 * LARGE_UNITS);
    const isOwn = this.tree.end(step);
    if (isOwn) this.#found({ seq: end.seq, span: step.id, message: end.error?.message ?? '' });
    return isOwn;
  }

  /** @param {number} upTo */
  #takeRest(upTo) {
    for (const log of newer(this.fold.logs, this.#position, upTo)) {
      this.firstMs ||= log.atMs;
      log.fields = lightened(log.fields);
      if (isError(log.level)) this.#found({ seq: log.seq, span: log.span, message: log.message });
    }
    for (const item of newer(this.fold.values, this.#position, upTo)) {
      this.firstMs ||= item.atMs;
      item.value = lightened(item.value);
      if (item.value instanceof Large) item.units = item.value.preview.length;
    }
    if (this.fold.end && this.fold.end.seq <= upTo) this.#takeEnd(this.fold.end);
  }

  /** @param {import('../../client/fold.js').End} end */
  #takeEnd(end) {
    if (end.seq <= this.#position) return;
    end.result = lightened(end.result);
    const { error } = end;
    const told = this.errors.some(({ message }) => message === error?.message);
    if (error && !told) this.#found({ seq: end.seq, span: '', message: error.message ?? '' });
  }

  /** @param {Problem} problem */
  #found(problem) {
    this.errors.push(problem);
    if ((this.errors.at(-2)?.seq ?? 0) > problem.seq) this.errors.sort((one, other) => one.seq - other.seq);
    if (this.errors.length > KEPT_ERRORS)
      this.droppedErrors += this.errors.splice(0, KEPT_ERRORS * ERRORS_SHARE).length;
  }

  /** @returns {number} everything up to this event was taken */
  get position() {
    return this.#position;
  }

  /** @returns {string} the run's state; '' while it is unknown, or while what led to its end is still on the way */
  get state() {
    if (this.fold.end) return this.fold.end.state;
    if (this.record && !isLive(this.record.state)) return '';
    return this.status.state ?? (this.fold.position > 0 ? 'running' : '');
  }

  /** @returns {boolean} whether nothing more will come */
  get over() {
    return this.fold.end !== null || (this.record !== null && !isLive(this.record.state));
  }

  /** @returns {number} Unix milliseconds of its start; 0 where it has not started, or nobody knows */
  get startMs() {
    return this.record?.started_at_ms ?? this.firstMs;
  }

  /** @param {number} nowMs @returns {number} Unix milliseconds up to which it has lasted */
  endMs(nowMs) {
    return this.fold.end?.atMs || (this.over ? this.record?.ended_at_ms : 0) || nowMs;
  }

  /** @returns {number} which attempt this is, or was; 1 is the first */
  get attempt() {
    return this.record?.attempt ?? 1;
  }
}

/**
 * @param {import('./tree.js').Node} node @param {RunModel} model
 * @returns {'pending'|'done'|'failed'|'unfinished'|'interrupted'}
 */
export function stateOf({ step }, model) {
  // Of one that has ended the state is not known before all that led to it has come.
  if (!step) return !model.over || !model.state ? 'pending' : model.state === 'succeeded' ? 'done' : 'failed';
  if (!step.end) return model.over ? 'unfinished' : 'pending';
  if (step.end.error?.code === 'interrupted') return 'interrupted';
  return step.end.error ? 'failed' : 'done';
}
