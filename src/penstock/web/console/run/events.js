// The stored events of a run, one row each, read where somebody looks.

import { h, put, span } from '../../client/dom.js';
import { RowList } from './list.js';
import { Follow } from './follow.js';
import { brief } from './brief.js';
import { Heights } from './heights.js';
import { size, time } from './words.js';

const PREVIEW_UNITS = 200;
/** Between two requests for events of a run that goes on: its tail is asked for again and again. */
const LIVE_MS = 400;
const TROUBLE_MS = 3_000; // the server may be back

/** @typedef {import('./model.js').RunModel} RunModel */

/** The zoom "Events". */
export class EventsView {
  /** @type {RunModel|null} */ #model = null;
  #stored = /** @type {import('./stored.js').Stored|null} */ (null);
  #top = 0;
  #chosen = 0;
  /** Brought into sight, when it comes. */ #sought = 0;
  #askedMs = 0;
  /** Of a row for each seq: 0 where another event stands for it, a share where nobody knows yet. */ #heights =
    new Heights();
  #density = 1;
  /** @type {any} */ #timer = 0;

  /** @param {(seq: number) => void} choose an event */
  constructor(choose) {
    this.choose = choose;
    this.list = new RowList({
      label: 'Events',
      role: 'grid',
      make,
      fill: (row, index) => this.#fill(row, index),
      choose: (index) => this.#choose(index + 1),
      scrolled: () => this.#want(),
      heights: this.#heights,
    });
    this.list.element.id = 'events';
    this.follow = new Follow(this.list.element, 'events');
    this.trouble = h('p', { className: 'none', role: 'status', hidden: true });
    this.element = h(
      'div',
      { className: 'zoom events-zoom' },
      head(),
      this.list.element,
      this.trouble,
      this.follow.button,
    );
  }

  /** @param {RunModel} model @param {import('./stored.js').Stored} stored */
  draw(model, stored) {
    this.#model = model;
    if (stored !== this.#stored) this.#begin(stored);
    this.#grow(model);
    this.follow.grown(model.fold.position);
    this.list.draw(true);
    this.#want();
  }

  /** @param {import('./stored.js').Stored} stored */
  #begin(stored) {
    this.#stored = stored;
    this.#chosen = this.#sought = 0;
    this.#density = 1;
    this.#heights.clear();
    this.list.count = 0;
  }

  /** @param {RunModel} model */
  #grow({ fold }) {
    while (this.#heights.length < fold.position) this.#heights.push(this.#density);
    this.list.count = fold.position;
  }

  // Which places have an event of their own is seen when they come; of the others it is guessed.
  /** @param {import('./stored.js').Window} window */
  #learn({ events, from, to }) {
    if (this.#density === 1) this.#guess(events.length / (to - from + 1));
    for (let seq = from; seq <= Math.min(to, this.#heights.length); seq += 1) this.#heights.set(seq - 1, 0);
    for (const { seq } of events) if (seq <= this.#heights.length) this.#heights.set(seq - 1, 1);
  }

  /** @param {number} density */
  #guess(density) {
    this.#density = density;
    const { length } = this.#heights;
    this.#heights.clear();
    for (let seq = 1; seq <= length; seq += 1) this.#heights.push(density);
  }

  /** @param {number} seq */
  reveal(seq) {
    this.#chosen = this.#sought = seq;
    this.follow.pause();
    if (this.#model) this.#grow(this.#model);
    this.list.reveal(seq - 1, { middle: true });
    this.#want();
  }

  /** @param {number} seq */
  #choose(seq) {
    this.#chosen = seq;
    this.follow.pause();
    this.choose(seq);
    this.list.refillAll();
  }

  #want() {
    if (!this.#stored || !this.element.isConnected) return;
    const { from, to } = this.list.seen;
    const upwards = from < this.#top;
    this.#top = from;
    const waitMs = this.#model?.over ? 0 : this.#askedMs + LIVE_MS - performance.now();
    clearTimeout(this.#timer);
    if (waitMs > 0) {
      this.#timer = setTimeout(() => this.#want(), waitMs);
      return;
    }
    const reading = this.#stored.want(from + 1, to + 1, upwards);
    if (!reading) return;
    this.#askedMs = performance.now();
    const stored = this.#stored;
    reading.then(
      (window) => this.#come(stored, window, 'The store has no more of these events.'),
      (error) => this.#come(stored, null, `The events can't be read: ${error.message}`),
    );
  }

  // What was scrolled to in the meantime is asked for next, unless the store gave nothing.
  /** @param {import('./stored.js').Stored} stored @param {import('./stored.js').Window|null} window @param {string} trouble */
  #come(stored, window, trouble) {
    if (stored !== this.#stored) return;
    put(this.trouble, window ? '' : trouble);
    this.trouble.hidden = Boolean(window);
    if (window) this.list.keepPlace(() => this.#learn(window));
    if (window && this.#sought >= window.from && this.#sought <= window.to) this.#meet(stored.at(this.#sought).seq);
    if (this.follow.following) this.follow.toBottom();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#want(), !window ? TROUBLE_MS : this.#model?.over ? 0 : LIVE_MS);
  }

  // Where it is was guessed; and an address may lead into the middle of what was stored as one.
  /** @param {number} seq */
  #meet(seq) {
    this.#chosen = seq;
    this.#sought = 0;
    this.list.reveal(seq - 1, { middle: true });
  }

  /** @param {HTMLElement} row @param {number} index */
  #fill(row, index) {
    const parts = PARTS.get(row);
    if (!parts || !this.#model) return;
    const found = this.#stored?.at(index + 1);
    const event = found?.seq === index + 1 ? found : undefined;
    row.ariaSelected = String(index + 1 === this.#chosen);
    put(parts.seq, event?.n > 1 ? `${index + 2 - event.n}–${index + 1}` : String(index + 1));
    row.dataset.type = event?.type ?? '';
    if (!event) {
      for (const name of NAMES.slice(1)) put(parts[name], name === 'content' ? '…' : '');
      return;
    }
    put(parts.offset, event.at_ms && this.#model.startMs ? time(event.at_ms - this.#model.startMs) : '');
    put(parts.type, event.type);
    put(parts.size, size(sizeOf(event)));
    put(parts.span, event.span ? (this.#model.fold.steps.get(event.span)?.name ?? event.span) : '');
    put(parts.content, contentOf(event));
  }
}

/** @type {WeakMap<any, number>} written once: a row is filled whenever it comes into sight */
const SIZES = new WeakMap();

/** @param {any} event @returns {number} bytes of its JSON, counted in UTF-16 units */
export function sizeOf(event) {
  let found = SIZES.get(event);
  if (found === undefined) SIZES.set(event, (found = JSON.stringify(event).length));
  return found;
}

/** @param {any} event @returns {string} */
function contentOf({ type, seq, at_ms: _atMs, span: _span, n: _n, edge: _edge, ...own }) {
  if (type === 'text') return brief(own.text, PREVIEW_UNITS).replace(/\n/g, '⏎');
  if (type === 'log') return brief([own.level, own.message].filter(Boolean).join(': '), PREVIEW_UNITS);
  if (type === 'piece') return `part ${own.part + 1} of ${own.parts}`;
  if (type === 'json') return brief(JSON.stringify(own.value)?.slice(0, 2 * PREVIEW_UNITS) ?? '', PREVIEW_UNITS);
  return Object.keys(own).length ? brief(own, PREVIEW_UNITS).replace(/\s+/g, ' ') : '';
}

const NAMES = /** @type {const} */ (['seq', 'offset', 'type', 'size', 'span', 'content']);
/** @typedef {Record<typeof NAMES[number], HTMLElement>} Parts */
/** @type {WeakMap<HTMLElement, Parts>} */ const PARTS = new WeakMap();

function make() {
  const parts = /** @type {Parts} */ ({});
  for (const name of NAMES) {
    parts[name] = span(name, '');
    parts[name].setAttribute('role', 'gridcell');
  }
  const row = h('div', { className: 'run-row' }, ...NAMES.map((name) => parts[name]));
  PARTS.set(row, parts);
  return row;
}

function head() {
  const words = { seq: '#', offset: 'Time', type: 'Type', size: 'Size', span: 'Step', content: 'Content' };
  return h(
    'div',
    { className: 'run-row list-head', ariaHidden: 'true' },
    ...NAMES.map((name) => span(name, words[name])),
  );
}
