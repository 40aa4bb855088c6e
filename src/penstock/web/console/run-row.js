// One row of the list of runs.

import { h, put, span } from '../client/dom.js';
import { isLive } from './run-list.js';
import { runPath, withQuery } from './router.js';
import { ageOf, detailOf, timeOf } from './run-words.js';

const ID_CHARS = 5; // of the end, enough to tell the runs of a screen apart

/**
 * @typedef {object} Hands what a row asks of its list
 * @property {(run: any) => void} select
 * @property {(run: any) => void} stop
 * @property {(run: any) => void} again
 * @property {(run: any) => boolean} isSelected
 * @property {() => number} now
 */

/** A row; another run's at any time. */
export class RunRow {
  /** @type {any} */ #run = null;
  #selected = false;

  /** @param {Hands} hands */
  constructor(hands) {
    this.hands = hands;
    this.check = h('input', { type: 'checkbox', tabIndex: -1, onchange: () => hands.select(this.#run) });
    this.link = h('a', { tabIndex: -1 });
    this.id = span('id', '');
    this.state = h('span', { className: 'state' });
    this.session = h('a', { className: 'session', tabIndex: -1, title: 'Runs of this session' });
    this.detail = span('detail', '');
    this.attempt = span('attempt', '');
    this.time = span('time', '');
    this.age = span('time', '');
    this.stop = h(
      'button',
      { type: 'button', className: 'plain', tabIndex: -1, onclick: () => hands.stop(this.#run) },
      'Stop',
    );
    this.again = h(
      'button',
      { type: 'button', className: 'plain', tabIndex: -1, onclick: () => hands.again(this.#run) },
      'Run again',
    );
    const cells = [
      ['check', this.check],
      ['state-cell', this.state],
      ['name', this.link, ' ', this.id],
      ['session-cell', this.session],
      ['detail-cell', this.detail],
      ['attempt-cell', this.attempt],
      ['time-cell', this.time],
      ['age-cell', this.age],
      ['acts', this.stop, this.again],
    ];
    this.element = h('div', { className: 'row', role: 'row' }, ...cells.map(cell));
  }

  /** @param {any} run @param {number} index */
  show(run, index) {
    this.element.ariaRowIndex = String(index + 2); // below the heads
    const selected = this.hands.isSelected(run);
    if (run !== this.#run || selected !== this.#selected) this.#draw(run, selected);
    this.tick(this.hands.now());
  }

  leave() {
    this.#run = null;
    this.element.id = ''; // another row may get it
  }

  /**
   * Clocks go on.
   * @param {number} nowMs
   */
  tick(nowMs) {
    put(this.time, timeOf(this.#run, nowMs));
    put(this.age, ageOf(nowMs - this.#run.created_at_ms));
  }

  /** @param {any} run @param {any} selected */
  #draw(run, selected) {
    this.#run = run;
    this.#selected = selected;
    const { run_id: id, function: name, state, session, attempt } = run;
    this.element.id = `row-${id}`;
    this.element.ariaSelected = String(selected);
    this.element.dataset.state = state;
    this.check.checked = selected;
    this.check.ariaLabel = `Select ${name} ${id}`;
    this.link.href = runPath(id);
    this.link.title = id;
    put(this.link, name);
    put(this.id, id.slice(-ID_CHARS));
    put(this.state, state);
    put(this.session, session ?? '');
    this.session.href = withQuery('#/runs', { q: session ?? '' });
    this.session.hidden = !session;
    put(this.detail, detailOf(run));
    this.detail.title = run.error?.message ?? '';
    put(this.attempt, attempt > 1 ? `attempt ${attempt}` : '');
    this.stop.hidden = !isLive(state) || run.cancel !== null;
    this.again.hidden = isLive(state);
  }
}

/** @param {any[]} given */
const cell = ([className, ...children]) => h('span', { className: `cell ${className}`, role: 'gridcell' }, ...children);

/** The heads of the columns. */
export function rowHeads() {
  const heads = {
    check: 'Selected',
    'state-cell': 'State',
    name: 'Function',
    'session-cell': 'Session',
    'detail-cell': 'Detail',
    'attempt-cell': 'Attempt',
    'time-cell': 'Took',
    'age-cell': 'Age',
    acts: 'Actions',
  };
  const hidden = ['check', 'attempt-cell', 'acts'];
  const cells = Object.entries(heads).map(([className, text]) =>
    h(
      'span',
      { className: `cell ${className}`, role: 'columnheader' },
      hidden.includes(className) ? span('sr', text) : text,
    ),
  );
  return h('div', { className: 'row heads', role: 'row', ariaRowIndex: '1' }, ...cells);
}
