// The ways in which events reach a page, in the order in which they are tried.

import { open as eventsource } from './eventsource.js';
import { open as fetch } from './fetch.js';
import { open as poll } from './poll.js';
import { open as websocket } from './websocket.js';

/**
 * @typedef {'fetch'|'eventsource'|'websocket'|'poll'} Transport
 *
 * @typedef {object} Asked what a connection is to bring
 * @property {{run: string, cursor: string, fold: boolean}[]} streams several only over fetch and eventsource
 * @property {number|undefined} rate
 *
 * @typedef {object} Sink what a transport tells; nothing after `closed`, or after it was told to close
 * @property {boolean} opened whether anything has come
 * @property {boolean} answered whether the head of an answer has
 * @property {() => void} alive a byte has come
 * @property {(waits: boolean) => void} inLine whether the request waits for its turn: that is no silence of the server's
 * @property {(everyMs: number) => void} heartbeat how often one comes at least
 * @property {(event: string|any, cursors: string) => void} event its JSON, or itself; '' where it moves no cursor
 * @property {(data: string) => void} status
 * @property {(ms: number) => void} retry the server's wish for the time before coming back
 * @property {(ms: number) => void} draining the same, and that it is leaving
 * @property {(closing: Closing) => void} closed
 *
 * @typedef {object} Closing why a connection is over
 * @property {'broken'|'ended'|'refused'|'mute'} signal
 * @property {number} [status]
 * @property {Error} [error]
 * @property {number} [retryMs]
 * @property {boolean} [sure] that the transport itself is at fault: one such time is enough
 * @property {boolean} [held] answers come, but not their bodies
 * @property {boolean} [unexplained] the browser does not say why: an ordinary request may tell
 *
 * @typedef {object} Env what a browser gives, and a test may give instead
 * @property {typeof EventSource} EventSource
 * @property {typeof WebSocket} WebSocket
 * @property {(work: (value?: any) => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now milliseconds
 * @property {() => number} random in [0, 1)
 * @property {() => boolean} hidden nobody sees the page
 *
 * @callback Open
 * @param {import('../api.js').Server} server
 * @param {Asked} asked
 * @param {Sink} sink
 * @param {Env} env
 * @returns {{close: () => void, pace?: (rate: number|undefined) => boolean}} `pace`: whether it could be told
 */

/** @type {Map<Transport, {open: Open, several: boolean, headers: boolean, needs?: 'EventSource'|'WebSocket'}>} */
export const TRANSPORTS = new Map([
  ['fetch', { open: fetch, several: true, headers: true }],
  ['eventsource', { open: eventsource, several: true, headers: false, needs: 'EventSource' }],
  ['websocket', { open: websocket, several: false, headers: false, needs: 'WebSocket' }],
  ['poll', { open: poll, several: false, headers: true }],
]);

/**
 * Those that can be used here, in order. A token travels in a header, which two of them can't send.
 * @param {Transport[]} wanted
 * @param {Env} env
 * @param {boolean} token
 * @returns {Transport[]}
 */
export function usable(wanted, env, token) {
  const found = wanted.filter((name) => {
    const { needs, headers } = /** @type {any} */ (TRANSPORTS.get(name));
    return (!needs || env[/** @type {'WebSocket'} */ (needs)]) && (headers || !token);
  });
  return found.length ? found : ['fetch'];
}
