// Asking again while the server is away: when it may help, and for how long. The loop takes its clock as an argument.

import { backoffMs } from '../client/reconnect.js';

/** A server that loads a model is away for minutes; who waits longer is told by Gradio's own error. */
export const AWAY_MS = 180_000;

/** Between two attempts at most: somebody has pressed a button and waits. */
const CAP_MS = 4_000;

/** What a proxy says while there is no server behind it. */
const GATEWAY = [502, 504];

/**
 * Whether an answer says that the server is away, rather than what it thinks of the request.
 * Gradio's own 503 (its line is full) is JSON and names no time.
 * @param {{status: number, headers: {get: (name: string) => string|null}}} answer
 */
export function isAway({ status, headers }) {
  if (GATEWAY.includes(status)) return true;
  if (status !== 503) return false;
  return headers.get('Retry-After') !== null || !headers.get('Content-Type')?.includes('json');
}

/**
 * @typedef {object} Clock
 * @property {() => number} now milliseconds
 * @property {() => number} random in [0, 1)
 * @property {(ms: number) => Promise<void>} pause ends early where there is a reason to look again
 */

/**
 * Ask until there is an answer of the server's own.
 * @param {() => Promise<Response>} ask makes the request anew each time
 * @param {Clock} clock
 * @param {{signal?: AbortSignal|null, onAway?: (away: boolean) => void, limitMs?: number}} options `onAway`: told when waiting
 *   begins and ends
 * @returns {Promise<Response>} the last answer, whatever it was, once the time is over
 * @throws where there was none
 */
export async function untilAnswered(ask, clock, { signal, onAway = () => {}, limitMs = AWAY_MS }) {
  const endMs = clock.now() + limitMs;
  for (let attempt = 0; ; attempt += 1) {
    const outcome = await ask().then(
      (answer) => ({ answer, error: null }),
      (error) => ({ answer: null, error }),
    );
    const over = signal?.aborted || clock.now() >= endMs;
    if (over || (outcome.answer && !isAway(outcome.answer))) {
      if (attempt) onAway(false);
      if (outcome.answer) return outcome.answer;
      throw outcome.error;
    }
    if (!attempt) onAway(true);
    await clock.pause(backoffMs(attempt, clock.random(), CAP_MS));
  }
}
