// A run as a transcript: what was said, which tools were called, what came of it.

import { h, put, span } from '../../client/dom.js';
import { TextView } from '../../client/text.js';
import { FlowList } from './flow.js';
import { Follow } from './follow.js';
import { outputsOf } from './gradio.js';
import { stateOf } from './model.js';
import { OutputsView } from './outputs.js';
import { inLine, isThere, problemBlock, valueBlock } from './values.js';
import { Large, LARGE_UNITS, lightened } from './brief.js';
import { clockTime, time } from './words.js';

const LINE_UNITS = 240; // of a tool's input, and output
const SHORT_UNITS = 90; // fits on a line: needs no box

/** @typedef {import('./transcript.js').Row} Row */
/** @typedef {import('./model.js').RunModel} RunModel */
/** @typedef {import('./flow.js').RowView} RowView */

/** The zoom "Messages". */
export class MessagesView {
  /** @type {RunModel|null} */ #model = null;
  /** @type {Map<Row, number>} where the rows that may still change are */ #places = new Map();
  #generation = -1;
  #nowMs = 0;
  #known = 0;
  /** @type {Row[]} */ #rows = [];

  /**
   * @param {(row: Row) => void} choose
   * @param {(seq: number) => Promise<any>} load an event from the store
   */
  constructor(choose, load) {
    this.choose = choose;
    this.load = load;
    this.list = new FlowList({
      label: 'Messages',
      make: (index) => this.#make(index),
      guess: (index) => this.#guess(index),
      scrolled: () => this.#markAnswer(this.#model?.transcript.rows ?? []),
    });
    this.list.element.id = 'messages';
    this.follow = new Follow(this.list.element, 'messages');
    this.none = h('p', { className: 'none' });
    this.element = h('div', { className: 'zoom messages-zoom' }, this.none, this.list.element, this.follow.button);
  }

  /** @param {RunModel} model @param {number} nowMs @param {boolean} [anew] */
  draw(model, nowMs, anew = false) {
    this.#model = model;
    this.#nowMs = nowMs;
    const { rows, touched } = model.transcript;
    if (anew || model.fold.generation !== this.#generation || rows !== this.#rows) this.#begin(model);
    for (let index = this.#known; index < rows.length; index += 1) this.#places.set(rows[index], index);
    this.list.count = rows.length;
    for (const row of touched) this.list.update(this.#places.get(row) ?? -1);
    touched.clear();
    this.#known = rows.length;
    this.none.hidden = rows.length > 0;
    put(
      this.none,
      model.over ? 'It has said nothing.' : model.state === 'queued' ? 'It waits for its turn.' : 'Nothing yet.',
    );
    this.list.draw();
    this.#markAnswer(rows);
    this.follow.grown(rows.length);
  }

  /** @param {RunModel} model */
  #begin(model) {
    this.#generation = model.fold.generation;
    this.#rows = model.transcript.rows;
    this.#places.clear();
    this.#known = 0;
    this.list.clear();
  }

  /**
   * Clocks of calls under way.
   * @param {number} nowMs
   */
  tick(nowMs) {
    this.#nowMs = nowMs;
    const { from, to } = this.list.seen;
    const rows = this.#model?.transcript.rows ?? [];
    for (let index = from; index <= to; index += 1) if (rows[index]?.kind === 'call') this.list.update(index);
  }

  // What the run itself said last is its answer.
  /** @param {Row[]} rows */
  #markAnswer(rows) {
    const { from, to } = this.list.seen;
    const answer = this.#model?.transcript.answer;
    for (let index = from; index <= to && answer; index += 1) {
      const said = this.list.elementAt(index)?.querySelector('.own');
      if (said) said.id = rows[index] === answer ? 'answer' : '';
    }
  }

  /** @param {number} seq @param {string} span */
  reveal(seq, span) {
    const model = this.#model;
    if (!model?.transcript.rows.length) return;
    this.follow.pause();
    const index = model.transcript.placeOf(seq, span);
    this.list.reveal(index);
    this.mark(index);
  }

  /** @param {number} index */
  mark(index) {
    for (const element of this.element.querySelectorAll('.message[data-marked]'))
      element.removeAttribute('data-marked');
    this.list.elementAt(index)?.setAttribute('data-marked', '');
  }

  /** @param {number} index */
  #guess(index) {
    const row = /** @type {RunModel} */ (this.#model).transcript.rows[index];
    if (row.kind !== 'text') return row.kind === 'call' || row.kind === 'log' ? 32 : 64;
    return 24 + 28 * Math.ceil((row.to - row.from) / 90);
  }

  /** @param {number} index @returns {RowView} */
  #make(index) {
    const model = /** @type {RunModel} */ (this.#model);
    const row = model.transcript.rows[index];
    const view = MAKE[row.kind](row, model, this);
    const offset = h('time', { className: 'offset' }, offsetOf(row, model));
    const element = h('div', { className: `message kind-${row.kind}` }, offset, view.element);
    element.dataset.seq = String(row.seq);
    return { element, update: view.update };
  }

  get nowMs() {
    return this.#nowMs;
  }
}

/** @param {Row} row @param {RunModel} model */
function offsetOf({ item, kind, span }, { startMs, fold }) {
  const atMs =
    kind === 'call'
      ? item.startMs
      : kind === 'error'
        ? item.end.atMs
        : kind === 'text'
          ? (fold.steps.get(span)?.startMs ?? 0)
          : item?.atMs;
  return atMs && startMs ? `+${time(atMs - startMs)}` : '';
}

/** @type {Record<Row['kind'], (row: Row, model: RunModel, view: MessagesView) => RowView>} */
const MAKE = { text, call, value, latest, log, error, reset, end };

/** @param {Row} row @param {RunModel} model @returns {RowView} */
function text(row, model) {
  const said = h('div', { className: row.span ? 'text told' : 'text own' });
  const view = new TextView(said);
  const step = model.fold.steps.get(row.span);
  const element = step ? h('div', {}, stepLink(model, step), said) : said;
  return {
    element,
    update: () => view.update(model.fold.texts.get(row.span), model.fold.generation, row.from, row.to),
  };
}

/** @param {RunModel} model @param {{id: string, name: string}} step */
const stepLink = (model, { id, name }) =>
  h('a', { className: 'speaker', href: `#/runs/${encodeURIComponent(model.id)}/step/${encodeURIComponent(id)}` }, name);

/** @param {Row} row @param {RunModel} model @param {MessagesView} view @returns {RowView} */
function call(row, model, view) {
  const parts = ['sr', 'name', 'given', 'arrow', 'gave', 'time'].map((name) => span(name, ''));
  const [state, name, given, arrow, gave, lasted] = parts;
  const mark = h('span', { className: 'mark' }, state);
  const element = h(
    'button',
    { type: 'button', className: 'call-line', onclick: () => view.choose(row) },
    mark,
    ...parts.slice(1),
  );
  const update = () => {
    const step = model.fold.steps.get(row.span) ?? row.item;
    const node = model.tree.nodes.get(row.span);
    const is = node ? stateOf(node, model) : 'done';
    element.dataset.state = is;
    put(state, is);
    put(name, step.name);
    put(given, isThere(step.input) ? inLine(step.input, LINE_UNITS) : '');
    const { output, error } = step.end ?? {};
    put(gave, error ? (error.message ?? 'failed') : isThere(output) ? inLine(output, LINE_UNITS) : '');
    put(arrow, gave.textContent ? '→' : '');
    put(
      lasted,
      step.end ? time(step.end.atMs - step.startMs) : is === 'pending' ? clockTime(view.nowMs - step.startMs) : is,
    );
  };
  return { element, update };
}

/** @param {Row} row @param {RunModel} model @param {MessagesView} view @returns {RowView} */
function value(row, model, view) {
  const { item } = row;
  const step = model.fold.steps.get(row.span);
  const short = item.value instanceof Large ? '' : inLine(item.value, SHORT_UNITS + 1);
  const body =
    short && short.length <= SHORT_UNITS
      ? h('code', { className: 'inline-value' }, short)
      : valueBlock('Value', item.value, async () => (await view.load(item.seq)).value);
  const element = h('div', {}, ...(step ? [stepLink(model, step)] : []), body);
  return { element, update() {} };
}

// A text that is told again and again is added to, so that what a person has marked in it stays marked.
/** @param {Row} row @param {RunModel} model @param {MessagesView} view @returns {RowView} */
function latest(row, model, view) {
  const words = h('div', { className: 'text' });
  const told = new TextView(words);
  const outputs = new OutputsView();
  const other = h('div', {});
  const body = h('div', { id: row.span ? '' : 'latest' }, words, outputs.element, other);
  const step = model.fold.steps.get(row.span);
  const element = h('div', {}, ...(step ? [stepLink(model, step)] : []), body);
  /** @type {any} */ let shown = null;
  const update = () => {
    const { item } = row;
    if (item === shown) return;
    shown = item;
    const load = () => model.fold.replacedOf(row.span)?.value;
    const found = outputsOf(item.value);
    outputs.draw(found ?? [], (index) => outputsOf(load())?.[index]);
    if (typeof item.value === 'string') told.replace(item.value);
    else told.clear();
    if (typeof item.value === 'string' || found) other.replaceChildren();
    else other.replaceChildren(valueBlock('Latest value', lightened(item.value), async () => load()));
  };
  return { element, update };
}

/** @param {Row} row @returns {RowView} */
function log({ item }) {
  const element = h(
    'div',
    { className: 'log-line', data: { level: item.level } },
    span('level', item.level),
    span('', item.message),
  );
  if (isThere(item.fields)) element.append(h('code', {}, inLine(item.fields, LINE_UNITS)));
  return { element, update() {} };
}

/** @param {Row} row @param {RunModel} model @returns {RowView} */
function error({ item }, model) {
  return { element: h('div', {}, stepLink(model, item), problemBlock(item.end.error)), update() {} };
}

/** @param {Row} row @returns {RowView} */
function reset({ item }) {
  return { element: h('div', { className: 'reset-line' }, resetWords(item)), update() {} };
}

/** @param {import('../../client/fold.js').Notice} notice @returns {string} */
export const resetWords = ({ to, message }) =>
  `${to ? `What came after event ${to} was withdrawn` : 'All before was withdrawn'}: ${message}`;

/** @param {Row} row @param {RunModel} _model @param {MessagesView} view @returns {RowView} */
function end({ item }, _model, view) {
  const element = h('div', { id: 'outcome' });
  if (item.error) element.append(problemBlock(item.error, item.state));
  if (isThere(item.result))
    element.append(valueBlock('Result', item.result, async () => (await view.load(item.seq)).result));
  if (!element.childElementCount)
    element.append(h('p', { className: 'ended', data: { state: item.state } }, item.state));
  return { element, update() {} };
}
