// Penstock's deltas of one output as Gradio's diffs: `[action, path, value]`, of actions that its clients know.
// No DOM, no state; integrations/gradio/messages/diffs.py has the same rules.

import { applyDelta } from '../client/delta.js';

/** @typedef {[string, any[], any]} Edit */

/**
 * Gradio's diffs can't change the middle of a text, so that comes whole.
 * @param {any} value what the reader has
 * @param {any[]} delta
 * @returns {Edit[]}
 * @throws {RangeError} where the delta fits nowhere
 */
export function editsOf(value, delta) {
  /** @type {Edit[]} */ const edits = [];
  delta.forEach((operation, place) => {
    const isNeeded = place + 1 < delta.length || isInText(value, operation);
    const after = isNeeded ? applyDelta(value, [operation]) : undefined;
    edits.push(...editsOfOne(value, after, operation));
    value = after;
  });
  return edits;
}

/** @param {any} value @param {any} operation */
function isInText(value, [op, path, given]) {
  if (op === 'insert') return typeof given === 'string';
  return op === 'remove' && Array.isArray(path.at(-1)) && typeof at(value, path.slice(0, -1)) === 'string';
}

/** @param {any} value @param {any} after @param {any} operation @returns {Edit[]} */
function editsOfOne(value, after, [op, path, given]) {
  if (op === 'set') return [['replace', path, given]];
  if (op === 'append') {
    if (typeof given === 'string') return [['append', path, given]];
    const start = at(value, path).length;
    return given.map((/** @type {any} */ item, /** @type {number} */ i) => ['add', [...path, start + i], item]);
  }
  const [inside, last] = [path.slice(0, -1), path.at(-1)];
  if (op === 'insert' && Array.isArray(given)) return given.map((item, i) => ['add', [...inside, last + i], item]);
  if (op === 'remove' && typeof last === 'string') return [['delete', path, null]];
  if (op === 'remove' && Array.isArray(at(value, inside)))
    return Array.from({ length: last[1] - last[0] }, () => ['delete', [...inside, last[0]], null]);
  return [['replace', inside, at(after, inside)]];
}

/** @param {any} value @param {any[]} path */
function at(value, path) {
  for (const part of path) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, part))
      throw new RangeError('The path of a delta leads nowhere.');
    value = value[part];
  }
  return value;
}
