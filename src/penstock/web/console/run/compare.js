// Two runs beside each other: figures, steps, texts, results.

import { h, put, span } from '../../client/dom.js';
import { clock } from '../server.js';
import { RowList } from './list.js';
import { Frames } from '../../client/frames.js';
import { figuresOf, lastedOf, pairsOf, saidBy, textParts } from './pairs.js';
import { Session } from './session.js';
import { indent } from './steps.js';
import { isThere, problemBlock, valueBlock } from './values.js';
import { isLive, time } from './words.js';

const LIVE_MS = 1_000; // between two comparisons of runs that go on

/** The view of two runs. */
export class ComparePage {
  /** @type {Session[]} */ #sessions = [];
  /** @type {import('./pairs.js').Pair[]} */ #pairs = [];
  #drawn = '';
  #drawnMs = 0;
  #texts = '';

  constructor() {
    this.frames = new Frames(() => this.#draw());
    this.heads = [0, 1].map(() => h('div', { className: 'compared-head' }));
    this.figures = h('tbody', {});
    const columns = ['', 'A', 'B', 'Difference'].map((words) => h('th', { scope: 'col' }, words));
    this.table = h('table', { className: 'figures' }, h('thead', {}, h('tr', {}, ...columns)), this.figures);
    this.list = new RowList({
      label: 'Steps of both',
      role: 'grid',
      make,
      fill: (row, index) => this.#fill(row, index),
      choose: (index, how) => this.#choose(index, how),
    });
    this.steps = part('Steps', listHead(), this.list.element);
    this.said = [0, 1].map((index) =>
      h('div', { className: 'compared-text', tabIndex: 0, role: 'region', ariaLabel: `Text of ${'AB'[index]}` }),
    );
    this.texts = part('Text', h('div', { className: 'columns' }, ...this.said));
    this.results = [0, 1].map(() => h('div', {}));
    this.outcome = part('Result', h('div', { className: 'columns' }, ...this.results));
    const title = h('h2', { className: 'sr' }, 'Two runs compared');
    const heads = h('div', { className: 'columns' }, ...this.heads);
    this.element = h(
      'section',
      { className: 'compare', ariaLabel: 'Two runs compared' },
      title,
      heads,
      this.table,
      this.steps,
      this.texts,
      this.outcome,
    );
  }

  get title() {
    return `Compare: ${this.#sessions
      .map(({ model }) => model.record?.function ?? '')
      .filter(Boolean)
      .join(' and ')}`;
  }

  get connection() {
    const states = this.#sessions.map(({ subscription }) => subscription.connection);
    return {
      state:
        ['reconnecting', 'connecting', 'live'].find((state) => states.includes(/** @type {any} */ (state))) ?? 'ended',
    };
  }

  /** @param {{a: string, b: string}} params */
  show({ a, b }) {
    this.hide();
    this.#drawn = this.#texts = '';
    this.#sessions = [a, b].map((id) => new Session(id, () => this.frames.ask()));
  }

  hide() {
    for (const session of this.#sessions) session.close();
    this.#sessions = [];
  }

  tick() {
    for (const session of this.#sessions) session.tick();
    if (this.#sessions.some(({ model }) => isLive(model.state))) this.frames.ask();
  }

  #draw() {
    if (this.#sessions.length < 2) return;
    for (const session of this.#sessions) {
      session.take();
      session.model.tree.tidy();
    }
    const [a, b] = this.#sessions.map(({ model }) => model);
    this.#heads();
    this.#figures(a, b);
    this.element.dispatchEvent(new Event('viewchange', { bubbles: true }));
    const drawn = [a, b].map(({ position, fold, state }) => `${position} ${fold.generation} ${state}`).join();
    const early = !(a.over && b.over) && performance.now() - this.#drawnMs < LIVE_MS;
    if (drawn === this.#drawn || early) return;
    this.#drawn = drawn;
    this.#drawnMs = performance.now();
    this.#showSteps(a, b);
    this.#showTexts(a, b);
    this.#showResults();
  }

  #heads() {
    this.#sessions.forEach(({ model }, index) => {
      const link = h('a', { href: `#/runs/${encodeURIComponent(model.id)}` }, model.id);
      const state = h('strong', { className: 'state', data: { state: model.state } }, model.state);
      const notices = model.notices.map((notice) => h('p', { className: 'error' }, notice));
      const words = `${model.id} ${model.record?.function} ${model.state} ${model.notices}`;
      if (this.heads[index].dataset.words === words) return;
      this.heads[index].dataset.words = words;
      const name = h(
        'span',
        { className: 'compared-name' },
        h('span', { className: 'letter' }, 'AB'[index]),
        ' ',
        model.record?.function ?? '',
      );
      this.heads[index].replaceChildren(name, ' ', state, link, ...notices);
    });
  }

  /** @param {import('./model.js').RunModel} a @param {import('./model.js').RunModel} b */
  #figures(a, b) {
    const rows = figuresOf(a, b, clock.now()).map(({ label, ...row }) => {
      const delta = h(
        'td',
        { className: row.delta && row.worse !== null ? (row.worse ? 'more' : 'less') : '' },
        row.delta,
      );
      return h('tr', {}, h('th', { scope: 'row' }, label), h('td', {}, row.a), h('td', {}, row.b), delta);
    });
    this.figures.replaceChildren(...rows);
  }

  /** @param {import('./model.js').RunModel} a @param {import('./model.js').RunModel} b */
  #showSteps(a, b) {
    this.#pairs = pairsOf(a.tree, b.tree);
    this.steps.hidden = this.#pairs.length === 0;
    this.list.element.style.height = `calc(${this.#pairs.length} * var(--row-px))`;
    this.list.count = this.#pairs.length;
    this.list.draw(true);
  }

  /** @param {import('./model.js').RunModel} a @param {import('./model.js').RunModel} b */
  #showTexts(a, b) {
    const [left, right] = [saidBy(a), saidBy(b)];
    const texts = `${left}\u0000${right}`;
    if (texts === this.#texts) return;
    this.#texts = texts;
    this.texts.hidden = !left && !right;
    const parts = textParts(left, right);
    this.said.forEach((element, index) => {
      const other = index ? 'removed' : 'added';
      element.replaceChildren(
        ...parts
          .filter(({ kind }) => kind !== other)
          .map(({ kind, text }) => (kind === 'same' ? span('same', text) : h(index ? 'ins' : 'del', {}, text))),
      );
    });
  }

  #showResults() {
    let any = false;
    this.#sessions.forEach(({ model, stored }, index) => {
      const { end } = model.fold;
      const blocks = model.errors.slice(0, 5).map(({ message }) => problemBlock({ message }));
      if (isThere(end?.result))
        blocks.push(valueBlock('Result', end?.result, async () => (await stored.whole(end?.seq ?? 0)).result));
      any ||= blocks.length > 0;
      this.results[index].replaceChildren(...blocks);
    });
    this.outcome.hidden = !any;
  }

  /** @param {HTMLElement} row @param {number} index */
  #fill(row, index) {
    const pair = this.#pairs[index];
    const cells = /** @type {HTMLElement[]} */ ([...row.children]);
    if (!pair) return;
    row.dataset.only = pair.a && pair.b ? '' : pair.a ? 'a' : 'b';
    cells[0].style.paddingLeft = indent(pair.depth);
    put(cells[0], pair.name);
    put(cells[1], pair.kind);
    const [a, b] = [lastedOf(pair.a), lastedOf(pair.b)];
    put(cells[2], wordsOf(pair.a));
    put(cells[3], wordsOf(pair.b));
    const by = a !== null && b !== null ? b - a : 0;
    put(cells[4], by ? `${by < 0 ? '−' : '+'}${time(Math.abs(by))}` : '');
    cells[4].className = by > 0 ? 'more' : 'less';
  }

  /** @param {number} index @param {string} how */
  #choose(index, how) {
    const { a, b } = this.#pairs[index] ?? {};
    const step = b ?? a;
    if (how !== 'enter' || !step) return;
    location.hash = `#/runs/${encodeURIComponent(this.#sessions[b ? 1 : 0].id)}/step/${encodeURIComponent(step.id)}`;
  }
}

/** @param {import('../../client/fold.js').Step|null} step */
function wordsOf(step) {
  if (!step) return '–';
  if (!step.end) return '…';
  return `${step.end.error ? '✕ ' : ''}${time(step.end.atMs - step.startMs)}`;
}

/** @param {string} title @param {...HTMLElement} children */
const part = (title, ...children) => h('section', { className: 'compared' }, h('h3', {}, title), ...children);

function make() {
  const cells = ['words', 'kind', 'number', 'number', 'less'].map((name) =>
    h('span', { className: name, role: 'gridcell' }),
  );
  return h('div', { className: 'run-row' }, ...cells);
}

function listHead() {
  return h(
    'div',
    { className: 'run-row list-head', ariaHidden: 'true' },
    span('words', 'Step'),
    span('kind', 'Kind'),
    span('number', 'A'),
    span('number', 'B'),
    span('less', 'Difference'),
  );
}
