// The whole rule of coming back, without network, clock or randomness: those are arguments.

/** Silence after which a connection is not believed any more: two heartbeats of 15 s, and slack. */
export const SILENCE_MS = 40_000;

/** An attempt younger than this is left alone: a page that loads fires its wake-ups during the first one. */
export const PATIENCE_MS = 1_000;

const BASE_MS = 500;
const CAP_MS = 15_000; // a person may be watching

/** EventSource's ready states; the global is missing outside browsers. */
export const CONNECTING = 0, OPEN = 1, CLOSED = 2;

/**
 * Wait before attempt `attempt` (0 is the first): doubling, half of it random, so that the readers of a
 * restarted server don't return as one.
 * @param {number} attempt
 * @param {number} chance in [0, 1)
 * @returns {number} milliseconds
 */
export function backoffMs(attempt, chance) {
  const full = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 16));
  return Math.round(full / 2 + (full / 2) * chance);
}

/**
 * @typedef {object} Situation
 * @property {'error'|'wake'} signal `error`: EventSource said so; `wake`: tab shown, network back
 * @property {boolean} ended the `end` event has come
 * @property {number} readyState of the EventSource
 * @property {number} silentMs since anything came, or since connecting began
 * @property {number} attempt failed attempts in a row
 * @property {number} retryMs the least that a leaving server asked for; 0 if none did
 * @property {number} chance in [0, 1)
 */

/**
 * What to do about a connection.
 * @param {Situation} now
 * @returns {{act: 'stop'|'keep'|'reopen', afterMs: number}} `keep`: well, or the browser retries by itself
 */
export function decide(now) {
  if (now.ended) return { act: 'stop', afterMs: 0 };
  if (now.signal === 'wake') return { act: mayBeAlive(now) ? 'keep' : 'reopen', afterMs: 0 };
  // EventSource retries a broken connection, but gives up for good on an answer such as a proxy's 502.
  if (now.readyState !== CLOSED) return { act: 'keep', afterMs: 0 };
  return { act: 'reopen', afterMs: Math.max(now.retryMs, backoffMs(now.attempt, now.chance)) };
}

/** @param {Situation} now */
function mayBeAlive(now) {
  const limitMs = now.readyState === OPEN ? SILENCE_MS : PATIENCE_MS;
  return now.readyState !== CLOSED && now.silentMs <= limitMs;
}
