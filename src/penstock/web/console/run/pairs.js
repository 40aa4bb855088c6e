// Two runs compared: figures, steps by name and order, texts. No DOM.

import { diff, diffTexts } from './diff.js';
import { costOf, money, time, tokens } from './words.js';

/** Of a text that is the same in both, shown where it is long: its ends. */
const SAME_UNITS = 1_200;
/** Of one text, compared: beyond, a browser is busy for seconds. */
const COMPARED_UNITS = 400_000;

/**
 * @typedef {import('../../client/fold.js').Step} Step
 * @typedef {import('./model.js').RunModel} RunModel
 * @typedef {import('./tree.js').Node} Node
 * @typedef {{label: string, a: string, b: string, delta: string, worse: boolean|null}} Figure `delta` is b less a, in words;
 *   `worse` whether that is bad, null where it is neither
 * @typedef {{name: string, kind: string, depth: number, a: Step|null, b: Step|null}} Pair a step of either, or of both
 * @typedef {{kind: 'same'|'removed'|'added', text: string}} TextPart
 */

/** @param {RunModel} a @param {RunModel} b @param {number} nowMs @returns {Figure[]} */
export function figuresOf(a, b, nowMs) {
  const lasted = (/** @type {RunModel} */ run) => (run.startMs ? run.endMs(nowMs) - run.startMs : null);
  const first = (/** @type {RunModel} */ { fold }) => fold.end?.firstMs ?? null;
  const used = (/** @type {'input_tokens'|'output_tokens'|'cost'} */ key) => (/** @type {RunModel} */ run) =>
    run.tree.total?.[key] ?? null;
  const currencies = new Set([a, b].map(({ tree }) => tree.total?.currency));
  const cost = (/** @type {number} */ sum) => money(sum, [...currencies][0]);
  const figures = [
    { label: 'State', a: a.state, b: b.state, delta: '', worse: false },
    figure('Time', lasted(a), lasted(b), time),
    figure('First output', first(a), first(b), time),
    figure('Tokens in', used('input_tokens')(a), used('input_tokens')(b), tokens),
    figure('Tokens out', used('output_tokens')(a), used('output_tokens')(b), tokens),
    currencies.size > 1
      ? { ...figure('Cost', 0, 0, String), a: costOf(a.tree.total), b: costOf(b.tree.total), delta: '' }
      : figure('Cost', used('cost')(a), used('cost')(b), cost),
    neutral('Steps', a.fold.steps.size, b.fold.steps.size, String),
    figure('Errors', a.errors.length, b.errors.length, String),
    neutral('Attempt', a.attempt, b.attempt, String),
    neutral('Events', a.fold.position, b.fold.position, tokens),
  ];
  return figures.filter(({ a: left, b: right }) => (left || right) && !(left === '0' && right === '0'));
}

/**
 * @param {string} label @param {number|null} a @param {number|null} b @param {(x: number) => string} words
 * @returns {Figure}
 */
function figure(label, a, b, words) {
  const known = a !== null && b !== null;
  const by = known ? b - a : 0;
  const share = known && a > 0 ? `, ${by < 0 ? '−' : '+'}${Math.round(Math.abs((100 * by) / a))} %` : '';
  const delta = by === 0 ? '' : `${by < 0 ? '−' : '+'}${words(Math.abs(by))}${share}`;
  return { label, a: a === null ? '' : words(a), b: b === null ? '' : words(b), delta, worse: by > 0 };
}

/** @type {typeof figure} */
const neutral = (label, a, b, words) => ({ ...figure(label, a, b, words), worse: null });

/**
 * The steps of both, in order: those of the same name in the same place beside each other.
 * @param {import('./tree.js').Tree} a @param {import('./tree.js').Tree} b
 * @returns {Pair[]}
 */
export function pairsOf(a, b) {
  /** @type {Pair[]} */ const pairs = [];
  /** @type {[Node|null, Node|null, number][]} */ const waiting = [];
  const below = (/** @type {Node[]} */ left, /** @type {Node[]} */ right, /** @type {number} */ depth) => {
    const aligned = align(left, right);
    for (let index = aligned.length - 1; index >= 0; index -= 1) waiting.push([...aligned[index], depth]);
  };
  below(a.root.children, b.root.children, 0);
  for (let next; (next = waiting.pop());) {
    const [left, right, depth] = next;
    const step = /** @type {Step} */ ((left ?? right)?.step);
    pairs.push({ name: step.name, kind: step.kind, depth, a: left?.step ?? null, b: right?.step ?? null });
    below(left?.children ?? [], right?.children ?? [], depth + 1);
  }
  return pairs;
}

/** @param {Node[]} left @param {Node[]} right @returns {[Node|null, Node|null][]} */
function align(left, right) {
  const same = (/** @type {Node} */ one, /** @type {Node} */ other) =>
    one.step?.name === other.step?.name && one.step?.kind === other.step?.kind;
  return diff(left, right, same).flatMap(({ kind, a, b }) => {
    if (kind === 'removed') return a.map((node) => /** @type {[Node|null, Node|null]} */ ([node, null]));
    if (kind === 'added') return b.map((node) => /** @type {[Node|null, Node|null]} */ ([null, node]));
    return a.map((node, index) => /** @type {[Node|null, Node|null]} */ ([node, b[index]]));
  });
}

/** @param {Step|null} step @returns {number|null} milliseconds; null while it goes on */
export const lastedOf = (step) => (step?.end ? step.end.atMs - step.startMs : null);

/**
 * What a run has said: by itself, else in its steps, else as its latest value.
 * @param {RunModel} model
 * @returns {string}
 */
export function saidBy({ fold }) {
  const own = fold.textOf('');
  if (own) return own.slice(0, COMPARED_UNITS);
  const parts = [];
  let units = 0;
  for (const id of fold.steps.keys()) {
    const text = units < COMPARED_UNITS ? fold.textOf(id) : '';
    if (text) parts.push(text);
    units += text.length;
  }
  const latest = fold.replacedOf('')?.value;
  return (parts.join('\n\n') || (typeof latest === 'string' ? latest : '')).slice(0, COMPARED_UNITS);
}

/**
 * @param {string} a @param {string} b
 * @returns {TextPart[]} what is the same for long is shortened
 */
export function textParts(a, b) {
  return diffTexts(a, b).map(({ kind, text }) => {
    if (kind !== 'same' || text.length <= 2 * SAME_UNITS) return { kind, text };
    const left = text.length - 2 * SAME_UNITS;
    return {
      kind,
      text: `${text.slice(0, SAME_UNITS)}\n… ${left.toLocaleString('en')} characters alike …\n${text.slice(-SAME_UNITS)}`,
    };
  });
}
