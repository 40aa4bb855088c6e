// The steps of a run: a tree of lines, with the text that each has written.

import { duration, h, put, span } from '../dom.js';
import { TextView } from '../text.js';
import { part, problem } from './parts.js';

/** @typedef {import('../fold.js').Fold} Fold */
/** @typedef {import('../fold.js').Step} Step */

/** Steps shown. Of more the oldest that have ended leave: the console is the place to look through thousands. */
const SHOWN_STEPS = 100;

/** All that are shown. */
export class Steps {
  /** @type {Map<string, StepLine>} */ #lines = new Map();

  constructor() {
    this.element = part('ol', 'steps', { ariaLabel: 'Steps' });
  }

  /**
   * Draw what is new.
   * @param {Fold} fold @param {Iterable<string>} ids steps that began or ended, parents before children
   */
  add(fold, ids) {
    for (const id of ids) {
      const step = fold.steps.get(id);
      if (step) this.#line(step).update(step);
    }
    if (this.#lines.size > SHOWN_STEPS) this.#bound();
  }

  /** @param {Fold} fold @returns {string[]} the steps to draw where none is drawn yet */
  static latest(fold) {
    const ids = [...fold.steps.keys()];
    const open = ids.slice(0, -SHOWN_STEPS).filter((id) => !fold.steps.get(id)?.end);
    return [...open.slice(-SHOWN_STEPS), ...ids.slice(-SHOWN_STEPS)];
  }

  /** @param {Fold} fold @param {Iterable<string>} ids of steps whose text has grown */
  write(fold, ids) {
    for (const id of ids) this.#lines.get(id)?.text.update(fold.texts.get(id), fold.generation);
  }

  /**
   * Go on with the clocks.
   * @param {number} nowMs the server's @param {boolean} over no step will end any more
   */
  tick(nowMs, over) {
    for (const line of this.#lines.values()) line.tick(nowMs, over);
  }

  /** @param {Step} step */
  #line(step) {
    const known = this.#lines.get(step.id);
    if (known) return known;
    const line = new StepLine(step);
    this.#lines.set(step.id, line);
    (this.#lines.get(step.parent ?? '')?.children ?? this.element).append(line.element);
    return line;
  }

  #bound() {
    for (const [id, line] of this.#lines) {
      if (this.#lines.size <= SHOWN_STEPS) return;
      if (!line.step.end || line.children.childElementCount) continue;
      line.element.remove();
      this.#lines.delete(id);
    }
  }
}

/** One step: its name, a running clock, then what became of it. */
class StepLine {
  #shown = '';

  /** @param {Step} step */
  constructor(step) {
    this.step = step;
    this.mark = span('mark', '');
    this.time = span('time', '');
    this.text = new TextView(part('div', 'text step-text'));
    this.children = h('ol', { className: 'steps' });
    const words = [span('step-name', step.name), span('kind', step.kind)];
    const line = h('div', { className: 'line' }, this.mark, ...words, this.time);
    this.element = part('li', 'step', {}, line, this.text.element, this.children);
  }

  /** @param {Step} step */
  update(step) {
    this.step = step;
    const { end, startMs } = step;
    this.#show(end ? (end.error ? 'failed' : 'done') : 'pending');
    if (end) put(this.time, duration(end.atMs - startMs));
    if (end?.error && !this.element.querySelector(':scope > .problem')) this.element.append(problem(end.error));
  }

  /** @param {number} nowMs @param {boolean} over */
  tick(nowMs, over) {
    if (this.step.end) return;
    this.#show(over ? 'unfinished' : 'pending');
    put(this.time, over ? 'unfinished' : duration(nowMs - this.step.startMs));
  }

  /** @param {string} state */
  #show(state) {
    if (state === this.#shown) return;
    this.#shown = state;
    this.element.dataset.step = state;
    this.mark.replaceChildren(span('sr', state));
  }
}
