// Numbers and states in words. No DOM.

/** @param {string} level of a log @returns {boolean} whether somebody should look at it */
export const isGrave = (level) => /^(warn|err|crit|fatal)/i.test(level);

/** @param {string} level of a log @returns {boolean} */
export const isError = (level) => /^(err|crit|fatal)/i.test(level);

/** @param {string} state @returns {boolean} whether something may still come */
export const isLive = (state) => state === 'queued' || state === 'running';

/** @param {number} x @returns {string} with its thousands apart */
export const count = (x) => x.toLocaleString('en');

/** @param {number} bytes @returns {string} */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toPrecision(3)} kB`;
  return `${(bytes / 1e6).toPrecision(3)} MB`;
}

/** @param {number} ms @returns {string} short, for columns */
export function time(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s.toFixed(s < 10 ? 2 : 1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${String(Math.floor(s % 60)).padStart(2, '0')} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} m`;
}

/** @param {number} ms that is still growing: no more digits than one can read @returns {string} */
export const clockTime = (ms) =>
  ms < 10_000 ? `${(Math.max(0, ms) / 1000).toFixed(1)} s` : time(Math.floor(ms / 1000) * 1000).replace('.0', '');

/** @param {number} tokens @returns {string} */
export function tokens(tokens) {
  if (tokens < 10_000) return count(tokens);
  if (tokens < 1e6) return `${(tokens / 1e3).toFixed(1)}k`;
  return `${(tokens / 1e6).toFixed(2)}M`;
}

const SIGNS = { USD: '$', EUR: '€', GBP: '£' };

/** @param {number} cost @param {string} [currency] @returns {string} '' where costs have no sum */
export function money(cost, currency = 'USD') {
  if (!Number.isFinite(cost)) return '';
  const digits = cost !== 0 && Math.abs(cost) < 0.1 ? 4 : 2;
  const sign = /** @type {Record<string, string>} */ (SIGNS)[currency];
  return sign
    ? `${cost < 0 ? '−' : ''}${sign}${Math.abs(cost).toFixed(digits)}`
    : `${cost.toFixed(digits)} ${currency}`;
}

/**
 * Tokens in and out, as far as they are known.
 * @param {import('../../client/fold.js').Usage | null | undefined} usage
 */
export function tokensOf(usage) {
  const parts = [];
  if (usage?.input_tokens != null) parts.push(tokens(usage.input_tokens));
  if (usage?.output_tokens != null) parts.push(tokens(usage.output_tokens));
  if (parts.length === 2) return parts.join(' → ');
  if (!parts.length) return '';
  return usage?.input_tokens != null ? `${parts[0]} →` : `→ ${parts[0]}`;
}

/** @param {import('../../client/fold.js').Usage | null | undefined} usage @returns {string} */
export const costOf = (usage) => (usage?.cost == null ? '' : money(usage.cost, usage.currency));

/**
 * What proves that nothing was lost.
 * @param {{received: number, stored: number|null|undefined, ended: boolean, resumes: number, duplicates: number,
 *   lagMs: number|null, transport: string, shared: boolean}} facts
 * @returns {string[]} the parts of the line
 */
export function proof({ received, stored, ended, resumes, duplicates, lagMs, transport, shared }) {
  // While a run goes on, what was stored a moment ago may be less than what has come since.
  const of = stored == null ? null : ended ? stored : Math.max(stored, received);
  const parts = [
    of === null ? `received ${count(received)} events` : `received ${count(received)} of ${count(of)} stored events`,
  ];
  if (of !== null && received >= of) parts.push('all that is stored was received');
  else if (of !== null && ended) parts.push(`${count(of - received)} are missing`);
  if (transport) parts.push(`over ${TRANSPORTS[transport] ?? transport}${shared ? ', shared by the tabs' : ''}`);
  if (lagMs != null && !ended) parts.push(`lag ${time(lagMs)}`);
  return [...parts, `resumes ${count(resumes)}`, `duplicates dropped ${count(duplicates)}`];
}

/** @type {Record<string, string>} */
const TRANSPORTS = { fetch: 'fetch', eventsource: 'EventSource', websocket: 'WebSocket', poll: 'long-poll' };

/** @param {{message?: string, hint?: string}} error @returns {string} */
export const sentence = ({ message, hint }) => [message, hint].filter(Boolean).join(' ');
