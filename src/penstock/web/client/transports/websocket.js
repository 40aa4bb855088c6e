// A WebSocket, for one run: where proxies hold back or cut every kind of long answer.

import { DEFAULT_RATE } from './urls.js';

/** Codes of a close to what they mean (docs/PROTOCOL.md, WebSocket). Others: the connection broke. */
const CODES = new Map([
  [1012, 'ended'],
  [1008, 'refused'],
  [1009, 'refused'],
]);

/** @type {import('./index.js').Open} */
export function open(server, { streams: [{ run, cursor, fold }], rate }, sink, env) {
  const url = new URL(`api/runs/${encodeURIComponent(run)}/ws`, server.base);
  url.protocol = url.protocol.replace('http', 'ws');
  if (cursor) url.searchParams.set('after', cursor);
  else if (fold) url.searchParams.set('fold', '1');
  if (rate !== undefined) url.searchParams.set('rate', String(rate));
  const socket = new env.WebSocket(url.href);
  socket.onopen = () => sink.alive();
  socket.onmessage = (message) => {
    sink.alive();
    tell(sink, message.data);
  };
  socket.onclose = ({ code, reason }) => sink.closed(closing(code, reason, sink.opened));
  return {
    close() {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
    pace(wanted) {
      if (socket.readyState !== socket.OPEN) return false;
      socket.send(JSON.stringify({ rate: wanted ?? DEFAULT_RATE }));
      return true;
    },
  };
}

/** @param {import('./index.js').Sink} sink @param {string} data */
function tell(sink, data) {
  const message = JSON.parse(data);
  if (message.type === 'status') sink.status(data);
  else if (message.type === 'draining') sink.draining(message.retry_ms);
  else if (message.type !== 'heartbeat') sink.event(data, message.cursor ?? '');
}

/** @param {number} code @param {string} reason @param {boolean} opened @returns {import('./index.js').Closing} */
function closing(code, reason, opened) {
  if (!opened) return { signal: 'mute', unexplained: true };
  const signal = CODES.get(code);
  if (code === 1000) return { signal: 'refused', status: 204 };
  if (signal === 'refused')
    return { signal, status: 422, error: new Error(reason || `The server closed with ${code}.`) };
  return { signal: signal === 'ended' ? 'ended' : 'broken' };
}
