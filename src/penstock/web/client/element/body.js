// What a run has yielded, as <penstock-run> draws it: steps, text, values, log lines. Each part adds what is new.

import { h, put, span } from '../dom.js';
import { TextView } from '../text.js';
import { SHOWN_VALUE, addRows, part, valueBox } from './parts.js';
import { Steps } from './steps.js';
import { hasWeight, valueWords } from './words.js';

/** @typedef {import('../fold.js').Fold} Fold */

/** Values and log lines shown, each. */
const SHOWN_ROWS = 50;

/** Of one generation of a fold: after a withdrawal there is another. */
export class Body {
  #empty = true;

  /** @param {number} generation */
  constructor(generation) {
    this.generation = generation;
    this.steps = new Steps();
    this.text = new TextView(part('div', 'text answer', { ariaLive: 'polite' }));
    this.values = part('ol', 'values', { ariaLabel: 'Values' });
    this.latest = part('div', 'latest');
    this.logs = part('ol', 'logs', { ariaLabel: 'Warnings and errors' });
    const { steps, text, values, latest, logs } = this;
    this.element = h('div', { className: 'content' }, steps.element, text.element, values, latest, logs);
  }

  /** @param {Fold} fold @param {import('../subscription.js').Changed} changed */
  draw(fold, changed) {
    const first = this.#empty;
    this.#empty = false;
    this.steps.add(fold, first ? Steps.latest(fold) : changed.steps);
    this.steps.write(fold, first ? fold.texts.keys() : changed.texts);
    this.text.update(fold.texts.get(''), fold.generation);
    addRows(this.values, fold.values, SHOWN_ROWS, (item) => h('li', {}, valueBox(item.value)));
    if (first || changed.kinds.has('log')) {
      addRows(
        this.logs,
        fold.logs.filter(({ level }) => hasWeight(level)),
        SHOWN_ROWS,
        logLine,
      );
    }
    if (first || changed.kinds.has('replace')) this.#drawLatest(fold.replaced);
  }

  /** @param {{value: any}[]} replaced */
  #drawLatest(replaced) {
    for (const [index, { value }] of replaced.entries()) {
      const box = this.latest.children[index];
      const tag = typeof value === 'string' ? 'DIV' : 'PRE';
      if (box?.tagName === tag) put(box, valueWords(value, SHOWN_VALUE));
      else if (box) box.replaceWith(valueBox(value));
      else this.latest.append(valueBox(value));
    }
  }
}

/** @param {{level: string, message: string}} line */
function logLine({ level, message }) {
  const element = h('li', {}, span('level', level), ` ${message}`);
  if (!/^warn/i.test(level)) element.dataset.bad = '';
  return element;
}
