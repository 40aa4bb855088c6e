// What <penstock-run> draws of one run: its head and its end, and the body between them. It decides nothing.

import { duration, h, put, span } from '../dom.js';
import { Body } from './body.js';
import { part, problem, valueBox } from './parts.js';
import { isLive, lastTold, progressWords, proofWords, stateOf, stateWords } from './words.js';

/** @typedef {import('../fold.js').Fold} Fold */

const SHOWN_NOTICES = 10;

/**
 * @typedef {object} Model
 * @property {import('../subscription.js').Subscription} subscription
 * @property {any} record of GET api/runs/ID, null until it has come
 * @property {boolean} stopping a stop was asked for, and not answered yet
 * @property {boolean} mayStop
 */

/** One run on the page. Another run gets another. */
export class RunView {
  #body = new Body(-1);
  /** @type {HTMLElement | null} */ #error = null;

  /** @param {() => void} onStop */
  constructor(onStop) {
    this.state = part('span', 'state');
    this.name = part('span', 'name');
    this.clock = part('span', 'clock');
    this.stop = part('button', 'stop', { type: 'button', onclick: onStop, hidden: true }, 'Stop');
    this.bar = h('progress', { ariaLabel: 'Progress' });
    this.progress = part('div', 'progress', { hidden: true }, this.bar, h('span'));
    this.notices = part('ul', 'notices');
    this.outcome = part('div', 'outcome');
    this.proof = part('p', 'proof');
    this.head = part('div', 'head', {}, this.name, this.state, this.clock, this.stop);
    const scroller = part('div', 'scroller', {}, this.#body.element);
    this.element = part('div', 'run', {}, this.head, this.notices, this.progress, scroller, this.outcome, this.proof);
    this.element.setAttribute('role', 'group');
    this.state.setAttribute('role', 'status');
  }

  /**
   * What may change at any time.
   * @param {Model} model @param {number} nowMs the server's clock
   */
  tick(model, nowMs) {
    const { subscription, record, stopping } = model;
    const { fold, status } = subscription;
    const state = stateOf(fold, status, record);
    const ended = Boolean(state) && !isLive(state);
    this.element.dataset.state = state;
    this.element.ariaLabel = `Run ${record?.function ?? ''}`.trim();
    put(this.name, record?.function ?? '');
    const told = lastTold(status, record);
    const words = stateWords(state, stopping ? { ...told, cancel: 'requested' } : told);
    put(this.state, state || !this.#error ? words : '');
    put(this.clock, runTime(record, fold, state, nowMs));
    this.stop.hidden = !model.mayStop || !isLive(state);
    this.stop.disabled = stopping || Boolean(told.cancel);
    // Read out once it is complete: a text that grows at every word would never let anybody finish.
    this.#body.text.element.ariaBusy = String(!ended);
    this.#body.steps.tick(nowMs, ended);
    const stored = record?.ended_at_ms ? record.stored : undefined; // before it grows
    put(this.proof, proofWords(subscription, stored).join(' · '));
    this.head.hidden = !state && Boolean(this.#error);
  }

  /**
   * What the events have changed.
   * @param {Fold} fold @param {import('../subscription.js').Changed} changed
   */
  draw(fold, changed) {
    if (changed.all || fold.generation !== this.#body.generation) this.#begin(fold);
    this.#body.draw(fold, changed);
    this.#drawProgress(fold);
    if (fold.end && !this.outcome.childElementCount) this.#drawEnd(fold.end);
  }

  /**
   * A failure that is not the run's: it can't be read, or not stopped.
   * @param {{message: string, hint?: string, code?: string}} error
   * @returns {boolean} false if it is shown already
   */
  fail(error) {
    if (this.#error?.dataset.message === error.message) return false;
    const shown = problem(error);
    shown.setAttribute('role', 'alert');
    if (this.#error) this.#error.replaceWith(shown);
    else this.proof.before(shown);
    this.#error = shown;
    shown.dataset.message = error.message;
    return true;
  }

  // Anew, after what was withdrawn; a notice comes with each withdrawal, and never without one.
  /** @param {Fold} fold */
  #begin({ generation, notices }) {
    const body = new Body(generation);
    this.#body.element.replaceWith(body.element);
    this.#body = body;
    this.outcome.replaceChildren();
    this.notices.replaceChildren(...notices.slice(-SHOWN_NOTICES).map(({ message }) => h('li', {}, message)));
  }

  /** @param {Fold} fold */
  #drawProgress({ progress, end }) {
    this.progress.hidden = !progress;
    if (!progress) return;
    const { done, total } = progress;
    if (total) Object.assign(this.bar, { max: total, value: done });
    else if (!end) this.bar.removeAttribute('value');
    this.bar.hidden = !total && Boolean(end);
    put(/** @type {Element} */ (this.bar.nextElementSibling), progressWords(progress));
  }

  /** @param {{result: any, error: any}} end */
  #drawEnd({ result, error }) {
    if (error) this.outcome.append(problem(error));
    if (result !== undefined && result !== null) this.outcome.append(span('label', 'result'), valueBox(result));
  }
}

/** @param {any} record @param {Fold} fold @param {string} state @param {number} nowMs */
function runTime(record, fold, state, nowMs) {
  const startMs = record?.started_at_ms;
  if (!startMs || state === 'queued') return '';
  return duration((fold.end?.atMs ?? record.ended_at_ms ?? nowMs) - startMs);
}
