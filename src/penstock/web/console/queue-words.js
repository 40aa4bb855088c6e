// What Queue says of a group. Pure.

import { duration, number } from '../client/dom.js';
import { roughly } from './run-words.js';

/** @param {any} group @returns {string} */
export function runningOf({ running, calls, concurrency_limit: limit }) {
  const batched = calls !== running ? ` in ${number(calls)} calls` : '';
  return limit === null ? `${number(running)}${batched}` : `${number(running)}${batched} of ${number(limit)}`;
}

/** @param {any} group @returns {string} */
export function waitingOf({ waiting, max_size: most }) {
  return most === null ? number(waiting) : `${number(waiting)} of ${number(most)}`;
}

/** @param {any} group @returns {string} how long a run that is submitted now would wait */
export function etaOf({ eta_s: etaS }) {
  if (etaS === null) return 'not known yet';
  return etaS === 0 ? 'starts at once' : `about ${roughly(etaS * 1000)}`;
}

/** @param {{mean_s: number, spread_s: number, runs: number} | undefined} known */
export function takesOf(known) {
  if (!known) return '';
  const [mean, spread] = [known.mean_s * 1000, known.spread_s * 1000].map(brief);
  return known.runs > 1 ? `${mean} ± ${spread}` : mean;
}

/** @param {number} ms */
const brief = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : duration(ms));

/** @param {any} group @returns {number} of its places that are taken, 0 to 1; 0 where there is no limit */
export function fullness({ calls, held, concurrency_limit: limit }) {
  return limit ? Math.min(1, (calls + held) / limit) : 0;
}

/**
 * Runs in the order in which they would start.
 * @param {any[]} runs
 */
export function inTurn(runs) {
  /** @param {any} given */
  const place = ({ position }) => position ?? Infinity;
  return [...runs].sort((a, b) => place(a) - place(b) || a.created_at_ms - b.created_at_ms);
}

/** @param {any} overview @returns {string} */
export function workersOf({ workers, max_threads: threads }) {
  if (workers === 0) return 'No process executes runs: what is submitted waits.';
  const who = workers === 1 ? 'One process executes runs' : `${number(workers)} processes execute runs`;
  return `${who}, with up to ${number(threads)} threads each.`;
}
