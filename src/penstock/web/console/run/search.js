// Where words are found in a run: names, texts, inputs, outputs, errors, logs, values. No DOM.

import { textBetween } from '../../client/texts.js';
import { LARGE_UNITS, brief } from './brief.js';

/** Of one value's JSON, searched: larger ones are not held. */
const SEARCHED_UNITS = 2 * LARGE_UNITS;
/** Places kept: nobody goes through more. */
export const MOST_MATCHES = 10_000;
/** Places looked at between two questions whether it is time to pause. */
const LOOK_EVERY = 64;

/** @typedef {{seq: number, span: string}} Match the event where it is, or begins, and its step */

/**
 * Go through a run. Yields now and then, so that whoever runs it can pause.
 * @param {{fold: import('../../client/fold.js').Fold, transcript: import('./transcript.js').Transcript,
 *   resets: import('../../client/fold.js').Notice[]}} model
 * @param {string} words
 * @returns {Generator<void, Match[], void>}
 */
export function* search({ fold, transcript, resets }, words) {
  const sought = words.toLowerCase();
  /** @type {Map<string, Match>} */ const found = new Map();
  let looked = 0;
  for (const [match, parts] of places(fold, transcript, resets)) {
    if (found.size < MOST_MATCHES && holds(parts, sought)) found.set(`${match.seq} ${match.span}`, match);
    looked += 1;
    if (looked % LOOK_EVERY === 0) yield;
  }
  return [...found.values()].sort((one, other) => one.seq - other.seq);
}

/**
 * @param {import('../../client/fold.js').Fold} fold @param {import('./transcript.js').Transcript} transcript
 * @param {import('../../client/fold.js').Notice[]} resets
 * @returns {Generator<[Match, any[]]>}
 */
function* places(fold, transcript, resets) {
  for (const { id, seq, name, kind, input, end } of fold.steps.values()) {
    yield [{ seq, span: id }, [name, kind, input, end?.output, end?.error?.message, end?.error?.code]];
  }
  for (const row of transcript.rows) {
    if (row.kind === 'text') yield [row, [textBetween(fold.texts.get(row.span), row.from, row.to)]];
    if (row.kind === 'latest') yield [row, [row.item.value]];
  }
  for (const log of fold.logs) yield [log, [log.message, log.fields]];
  for (const value of fold.values) yield [value, [value.value]];
  for (const notice of resets) yield [{ seq: notice.seq, span: '' }, [notice.message]];
  if (fold.end)
    yield [{ seq: fold.end.seq, span: '' }, [fold.end.result, fold.end.error?.message, fold.end.error?.code]];
}

/** @param {any[]} parts @param {string} sought */
function holds(parts, sought) {
  return parts.some((part) => {
    if (part === undefined || part === null) return false;
    return (typeof part === 'string' ? part : brief(part, SEARCHED_UNITS)).toLowerCase().includes(sought);
  });
}

/**
 * The match to go to from a place.
 * @param {Match[]} matches in order @param {number} seq the place; 0 is before all
 * @param {1|-1} direction
 * @returns {number} its index; from the last to the first, and back; -1 where there is none
 */
export function nextOf(matches, seq, direction) {
  if (!matches.length) return -1;
  if (direction > 0) {
    const next = matches.findIndex((match) => match.seq > seq);
    return next < 0 ? 0 : next;
  }
  const next = matches.findIndex((match) => match.seq >= seq);
  return next > 0 ? next - 1 : matches.length - 1;
}
