// What <penstock-run> says, in words. No DOM.

import { duration, number } from '../dom.js';

/** @typedef {import('../events.js').Status} Status */
/** @typedef {import('../fold.js').Fold} Fold */

/**
 * @param {Fold} fold @param {Status} status the latest
 * @param {{state: string} | null} record of GET api/runs/ID
 * @returns {string} the run's state; '' while it is unknown, or while what led to its end is still on the way
 */
export function stateOf(fold, status, record) {
  if (fold.end) return fold.end.state;
  if (record && !isLive(record.state)) return '';
  if (fold.position > 0 && status.state !== 'queued') return 'running';
  return status.state ?? record?.state ?? '';
}

/**
 * What was told last of its place in line: by a status, or before one came by the run's record.
 * @param {Status} status @param {Status | null} record
 * @returns {Status}
 */
export const lastTold = (status, record) => (status.state || !record ? status : record);

/** @param {string} state @returns {boolean} whether something may still come */
export const isLive = (state) => state === 'queued' || state === 'running';

/** @param {string} level of a log line @returns {boolean} whether it is more than a note in passing */
export const hasWeight = (level) => /^(warn|err|crit|fatal)/i.test(level);

/** @param {string} state @param {Status} status @returns {string} */
export function stateWords(state, { cancel, position, eta_s: etaS }) {
  if (isLive(state) && cancel) return 'stopping';
  if (state !== 'queued') return state || 'reading';
  const place = position ? `, position ${number(position)}` : '';
  return `queued${place}${etaS ? `, about ${duration(etaS * 1000)}` : ''}`;
}

/** @typedef {Pick<import('../subscription.js').Subscription, 'connection'|'transport'|'shared'|'lagMs'|'received'
 *   |'resumes'|'duplicates'|'draining'>} Connected */

/**
 * What can be proved about the delivery, and how it comes.
 * @param {Connected} connected @param {number|undefined} stored how many events the store has, where known
 * @returns {string[]}
 */
export function proofWords(connected, stored) {
  const { connection, transport, shared, lagMs, received, resumes, duplicates, draining } = connected;
  const over = connection === 'ended' || connection === 'stopped';
  const through = shared ? `${transport}, shared` : transport;
  return [
    draining ? 'server restarting' : connection,
    `received ${number(received)}${stored !== undefined && stored >= received ? ` of ${number(stored)}` : ''}`,
    `resumes ${number(resumes)}`,
    `duplicates dropped ${number(duplicates)}`,
    over ? '' : through,
    over || lagMs === null ? '' : `lag ${number(Math.max(0, Math.round(lagMs)))} ms`,
  ].filter(Boolean);
}

/**
 * A value as a person reads it.
 * @param {unknown} value of JSON @param {number} limit in UTF-16 units
 * @returns {string} its end, where it is longer
 */
export function valueWords(value, limit) {
  const brief = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  const full = typeof value === 'string' || brief.length <= 60 ? brief : JSON.stringify(value, null, 2);
  return full.length > limit ? `… ${full.slice(-limit)}` : full;
}

/** @param {{done: number, total?: number, unit?: string}} progress @returns {string} */
export function progressWords({ done, total, unit = '' }) {
  return `${total ? `${number(done)} of ${number(total)}` : number(done)} ${unit}`.trim();
}
