// The whole rule of coming back, without network, clock or randomness: those are arguments.

/** The server's own `heartbeat_s`, where it does not say another. */
export const HEARTBEAT_MS = 15_000;

/** No first byte within this: the server sends one at once, so something holds it back (a proxy, WebKit's fetch). */
export const FIRST_BYTE_MS = 10_000;

/** A connection that was silent longer than a heartbeat and this is not believed when a tab wakes. */
export const SLACK_MS = 5_000;

/** When a network comes back, what was silent even for this long may be tied to the old one. */
export const ONLINE_SILENCE_MS = 1_000;

/** Times in a row that a transport may give nothing, though the server answers, before the next is tried. */
export const MUTES = 2;

/** Faults of the server in a row after which asking again is no use: about two minutes. */
export const FAULTS = 12;

/** Times in a row that a cursor may be refused: after the first none is sent any more. */
export const RESETS = 6;

const BASE_MS = 500;
const CAP_MS = 15_000; // a person may be watching
const HIDDEN_CAP_MS = 60_000; // nobody is; waking asks at once

/**
 * Wait before attempt `attempt` (0 is the first): doubling, half of it random, so that the readers of a
 * restarted server don't return as one.
 * @param {number} attempt
 * @param {number} chance in [0, 1)
 * @param {number} [capMs]
 * @returns {number} milliseconds
 */
export function backoffMs(attempt, chance, capMs = CAP_MS) {
  const full = Math.min(capMs, BASE_MS * 2 ** Math.min(attempt, 16));
  return Math.round(full / 2 + (full / 2) * chance);
}

/**
 * @typedef {object} Situation what has happened to a connection, and what is known
 * @property {'broken'|'ended'|'refused'|'mute'|'silent'|'wake'|'online'} signal `ended`: cleanly, without an `end`;
 *   `refused`: by an HTTP status; `mute`: no first byte, or nothing that is ours; `silent`: no byte for two heartbeats;
 *   `wake`: the tab was shown; `online`: the network is back
 * @property {number} [status] of a refusal
 * @property {number} [attempt] failures in a row, with nothing received in between
 * @property {number} [mutes] times in a row that this transport was mute or fell silent, this one included
 * @property {number} [retryMs] the least that the server asked for; 0 if it did not
 * @property {number} [silentMs] since the last byte, or since connecting began
 * @property {number} [heartbeatMs] the server's
 * @property {boolean} [open] a first byte has come
 * @property {boolean} [renewed] the token is a fresh one already
 * @property {boolean} [hidden] nobody sees the page
 * @property {number} [chance] in [0, 1)
 *
 * @typedef {object} Decision
 * @property {'keep'|'retry'|'fallback'|'renew'|'reset'|'end'|'stop'} act `renew`: with a fresh token; `reset`: from the
 *   start, without the cursor; `fallback`: by the next transport; `end`: all has been received
 * @property {number} afterMs wait before it
 */

/** HTTP status to what it means for a reader. Others: below 500 it won't be better next time, from 500 on it may. */
const STATUS = new Map([
  [204, 'end'], // the cursor is that of the `end`
  [400, 'reset'], // bad_cursor: one that was kept from elsewhere
  [401, 'renew'],
  [408, 'retry'],
  [410, 'reset'], // what the cursor points to is gone
  [425, 'retry'],
  [426, 'fallback'], // something on the way took the WebSocket's upgrade off
  [429, 'retry'],
  [502, 'away'],
  [503, 'away'],
  [504, 'away'],
]);

/**
 * What to do about a connection.
 * @param {Situation} now
 * @returns {Decision}
 */
export function decide(now) {
  return SIGNALS[now.signal](now);
}

/**
 * What to do about a request of our own that failed: its token has been renewed already.
 * @param {{status: number, retryAfterMs: number}} error
 * @param {Omit<Situation, 'signal'>} now
 * @returns {Decision}
 */
export function decideOn({ status, retryAfterMs: retryMs }, now) {
  return decide({ ...now, signal: status === 0 ? 'broken' : 'refused', status, retryMs, renewed: true });
}

/** @type {Record<Situation['signal'], (now: Situation) => Decision>} */
const SIGNALS = {
  broken: (now) => retry(now),
  ended: (now) => (now.attempt ? retry(now) : { act: 'retry', afterMs: now.retryMs ?? 0 }),
  refused: (now) => refused(now),
  mute: (now) => ((now.mutes ?? 0) >= MUTES ? { act: 'fallback', afterMs: 0 } : retry(now)),
  silent: (now) => ((now.mutes ?? 0) >= MUTES ? { act: 'fallback', afterMs: 0 } : { act: 'retry', afterMs: 0 }),
  wake: (now) => doubted(now, (now.heartbeatMs ?? HEARTBEAT_MS) + SLACK_MS),
  online: (now) => doubted(now, ONLINE_SILENCE_MS),
};

/** @param {Situation} now @returns {Decision} */
function retry({ attempt = 0, chance = 0, hidden = false, retryMs = 0 }) {
  return { act: 'retry', afterMs: Math.max(retryMs, backoffMs(attempt, chance, hidden ? HIDDEN_CAP_MS : CAP_MS)) };
}

/** @param {Situation} now @returns {Decision} */
function refused(now) {
  const { status = 0, attempt = 0, renewed = false } = now;
  const act = STATUS.get(status) ?? (status >= 500 && attempt < FAULTS ? 'retry' : 'stop');
  if (act === 'retry' || act === 'away') return retry(now);
  if (act === 'renew' && renewed) return { act: 'stop', afterMs: 0 };
  if (act === 'reset' && attempt >= RESETS) return { act: 'stop', afterMs: 0 }; // it was not the cursor
  if (act === 'reset') return { act, afterMs: attempt ? retry(now).afterMs : 0 };
  return /** @type {Decision} */ ({ act, afterMs: 0 });
}

// A socket can die without a word; one that has only just been asked for is left alone.
/** @param {Situation} now @param {number} limitMs @returns {Decision} */
function doubted({ silentMs = 0, open = false }, limitMs) {
  return { act: silentMs > (open ? limitMs : ONLINE_SILENCE_MS) ? 'retry' : 'keep', afterMs: 0 };
}
