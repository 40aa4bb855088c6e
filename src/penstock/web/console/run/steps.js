// The steps of a run as a tree, and beside each its time: one list, so that the two can't part.

import { h, put, span } from '../../client/dom.js';
import { textBetween } from '../../client/texts.js';
import { RowList } from './list.js';
import { Follow } from './follow.js';
import { stateOf } from './model.js';
import { inLine, isThere } from './values.js';
import { clockTime, costOf, time, tokensOf } from './words.js';

const PREVIEW_UNITS = 160; // no screen shows more beside a name
const WIDE_LEVELS = 8; // indented by a full step; deeper ones by little, or names would have no room
const MOST_LEVELS = 40;
const LEAST_BAR = 0.2; // percent: a moment is seen, too

/** @typedef {import('./tree.js').Node} Node */
/** @typedef {import('./model.js').RunModel} RunModel */

/** The zoom "Steps". */
export class StepsView {
  /** @type {RunModel|null} */ #model = null;
  #nowMs = 0;
  /** @type {string|null} '' is the run */ #chosen = null;

  /** @param {(id: string, how: string) => void} choose a step */
  constructor(choose) {
    this.choose = choose;
    this.list = new RowList({
      label: 'Steps',
      role: 'treegrid',
      make,
      fill: (row, index) => this.#fill(row, index),
      choose: (index, how) => this.#choose(index, how),
      key: (index, key) => this.#key(index, key),
    });
    this.list.element.id = 'steps';
    this.follow = new Follow(this.list.element, 'steps');
    this.head = head();
    this.element = h('div', { className: 'zoom steps-zoom' }, this.head, this.list.element, this.follow.button);
  }

  /** @param {RunModel} model @param {number} nowMs @param {boolean} [anew] */
  draw(model, nowMs, anew = false) {
    this.#model = model;
    this.#nowMs = nowMs;
    const moved = model.tree.tidy() || anew;
    this.list.count = model.tree.rows.length;
    const { total } = model.tree;
    this.element.toggleAttribute('data-tokens', Boolean(total && tokensOf(total)));
    this.element.toggleAttribute('data-cost', Boolean(total && costOf(total)));
    this.element.toggleAttribute('data-first', model.tree.timed);
    put(
      /** @type {Element} */ (this.head.lastElementChild),
      model.startMs ? time(model.endMs(nowMs) - model.startMs) : '',
    );
    if (moved && this.#chosen !== null) this.list.active = Math.max(0, model.tree.nodes.get(this.#chosen)?.row ?? 0);
    this.list.draw(true);
    this.follow.grown(model.fold.steps.size);
  }

  /** @param {string} id @param {boolean} [focus] */
  reveal(id, focus = false) {
    const model = this.#model;
    const node = model?.tree.reveal(id);
    if (!model || !node) return;
    this.#chosen = id;
    this.follow.pause();
    this.draw(model, this.#nowMs);
    this.list.reveal(node.row, { focus, middle: true });
  }

  keepSeen() {
    this.list.reveal(this.list.active, {});
  }

  /** @param {string|null} id of the step that is open beside; '' for the run */
  mark(id) {
    this.#chosen = id;
    this.list.refillAll();
  }

  /** @param {number} index @param {string} how */
  #choose(index, how) {
    const node = this.#model?.tree.rows[index];
    if (!node) return;
    this.#chosen = node.id;
    this.follow.pause();
    this.choose(node.id, how);
    this.list.refillAll();
  }

  // As in any tree: right opens, then goes down; left closes, then goes up.
  /** @param {number} index @param {string} key */
  #key(index, key) {
    const node = this.#model?.tree.rows[index];
    if (!node) return false;
    const { length } = node.children;
    if (key === 'toggle' || key === ' ') this.#close(node, !node.closed);
    else if (key === 'ArrowRight' && length && node.closed) this.#close(node, false);
    else if (key === 'ArrowRight' && length && node.children[0].row >= 0)
      this.list.reveal(node.children[0].row, { focus: true });
    else if (key === 'ArrowLeft' && length && !node.closed) this.#close(node, true);
    else if (key === 'ArrowLeft' && node.parent) this.list.reveal(node.parent.row, { focus: true });
    else return key === 'ArrowRight' || key === 'ArrowLeft';
    return true;
  }

  /** @param {Node} node @param {boolean} closed */
  #close(node, closed) {
    const model = /** @type {RunModel} */ (this.#model);
    model.tree.close(node, closed);
    this.follow.pause();
    this.draw(model, this.#nowMs);
    this.list.reveal(node.row, { focus: true });
  }

  /** @param {HTMLElement} row @param {number} index */
  #fill(row, index) {
    const model = this.#model;
    const node = model?.tree.rows[index];
    const parts = PARTS.get(row);
    if (!model || !node || !parts) return;
    const { step } = node;
    const state = stateOf(node, model);
    row.dataset.state = state;
    row.ariaLevel = String(node.depth + 1);
    row.ariaSelected = String(node.id === this.#chosen);
    if (node.children.length) row.ariaExpanded = String(!node.closed);
    else row.removeAttribute('aria-expanded');
    parts.name.style.paddingLeft = indent(node.depth);
    put(parts.state, state);
    put(parts.words, step ? step.name : (model.record?.function ?? 'run'));
    put(parts.kind, step?.kind ?? '');
    put(parts.preview, previewOf(node, model));
    this.#measures(parts, node, model, state);
  }

  /** @param {Parts} parts @param {Node} node @param {RunModel} model @param {string} state */
  #measures(parts, { step, total }, model, state) {
    const startMs = step ? step.startMs : model.startMs;
    const runEndMs = model.endMs(this.#nowMs);
    const endMs = step ? (step.end?.atMs ?? runEndMs) : runEndMs;
    const end = step ? step.end : model.fold.end;
    put(parts.tokens, tokensOf(total));
    put(parts.cost, costOf(total));
    put(parts.first, end?.firstMs == null ? '' : time(end.firstMs));
    const lasted = endMs - startMs;
    put(parts.time, state === 'unfinished' || !startMs ? '' : state === 'pending' ? clockTime(lasted) : time(lasted));
    const all = Math.max(1, runEndMs - model.startMs);
    const left = clamp((100 * (startMs - model.startMs)) / all);
    parts.bar.style.left = `${left}%`;
    parts.bar.style.width = `${Math.max(LEAST_BAR, clamp((100 * lasted) / all, 100 - left))}%`;
    parts.bar.hidden = !startMs;
  }
}

/** @param {number} depth @returns {string} */
export const indent = (depth) =>
  `${0.9 * Math.min(depth, WIDE_LEVELS) + 0.25 * Math.max(0, Math.min(depth, MOST_LEVELS) - WIDE_LEVELS)}rem`;

/** @param {number} share @param {number} [most] */
const clamp = (share, most = 100) => Math.max(0, Math.min(share, most));

/**
 * What it says, as it says it; else what it was given and gave.
 * @param {Node} node @param {RunModel} model
 */
function previewOf({ id, step }, { fold }) {
  if (step?.end?.error) return step.end.error.message ?? '';
  const text = fold.texts.get(id);
  if (text && text.units) {
    const from = step?.end ? 0 : Math.max(0, text.units - PREVIEW_UNITS);
    return textBetween(text, from, from + PREVIEW_UNITS).replace(/\s+/g, ' ');
  }
  if (!step) return '';
  const given = isThere(step.input) ? inLine(step.input, PREVIEW_UNITS) : '';
  const gave = isThere(step.end?.output) ? inLine(step.end?.output, PREVIEW_UNITS) : '';
  return [given, gave].filter(Boolean).join(' → ');
}

/** @typedef {Record<'name'|'state'|'words'|'kind'|'preview'|'tokens'|'cost'|'first'|'time'|'bar', HTMLElement>} Parts */
/** @type {WeakMap<HTMLElement, Parts>} */ const PARTS = new WeakMap();

function make() {
  const parts = /** @type {Parts} */ ({});
  for (const name of /** @type {const} */ ([
    'state',
    'words',
    'kind',
    'preview',
    'tokens',
    'cost',
    'first',
    'time',
    'bar',
  ])) {
    parts[name] = span(name === 'bar' ? 'span-bar' : name, '');
  }
  parts.state.className = 'sr';
  const twisty = h('span', { className: 'twisty', ariaHidden: 'true' });
  const mark = h('span', { className: 'mark' }, parts.state);
  parts.name = h(
    'div',
    { className: 'name-cell', role: 'gridcell' },
    twisty,
    mark,
    parts.words,
    parts.kind,
    parts.preview,
  );
  const lane = h('div', { className: 'lane', role: 'gridcell', ariaHidden: 'true' }, parts.bar);
  for (const name of /** @type {const} */ (['tokens', 'cost', 'first', 'time']))
    parts[name].setAttribute('role', 'gridcell');
  const row = h('div', { className: 'run-row' }, parts.name, parts.tokens, parts.cost, parts.first, parts.time, lane);
  PARTS.set(row, parts);
  return row;
}

function head() {
  const cell = (/** @type {string} */ name, /** @type {string} */ words, title = '') =>
    h('span', { className: name, title }, words);
  return h(
    'div',
    { className: 'run-row list-head', ariaHidden: 'true' },
    cell('name-cell', 'Step'),
    cell('tokens', 'Tokens', 'in → out, with those of the steps inside'),
    cell('cost', 'Cost', 'with that of the steps inside'),
    cell('first', 'First', 'Time to first output'),
    cell('time', 'Time'),
    cell('lane', ''),
  );
}
