// Server-sent events by fetch: the first choice, since it sends headers, sees the status and each heartbeat.

import { PenstockError } from '../errors.js';
import { refusal } from '../api.js';
import { Parser } from '../sse.js';
import { Foreign, closingOf } from './closing.js';
import { eventsUrl } from './urls.js';

/** @type {import('./index.js').Open} */
export function open(server, asked, sink) {
  const abort = new AbortController();
  read(server, asked, sink, abort.signal).then(
    () => sink.closed({ signal: 'ended' }),
    (reason) => abort.signal.aborted || sink.closed(closingOf(reason)),
  );
  return { close: () => abort.abort() };
}

/**
 * @param {import('../api.js').Server} server
 * @param {import('./index.js').Asked} asked
 * @param {import('./index.js').Sink} sink
 * @param {AbortSignal} signal
 */
async function read(server, asked, sink, signal) {
  const headers = { ...(await server.headers()), Accept: 'text/event-stream' };
  const response = await server.fetch(server.base + eventsUrl(asked), { headers, signal, cache: 'no-store' });
  sink.answered = true;
  if (response.status === 204) throw new PenstockError(204);
  if (!response.ok) throw refusal(response, (await response.json().catch(() => ({}))).error);
  if (!response.headers.get('Content-Type')?.startsWith('text/event-stream') || !response.body) throw new Foreign();
  const parser = new Parser(
    (message) => tell(sink, message),
    (text) => comment(sink, text),
  );
  const reader = response.body.getReader();
  for (let chunk; !(chunk = await reader.read()).done;) {
    sink.alive();
    parser.feed(chunk.value);
    if (parser.retryMs !== null) sink.retry(parser.retryMs);
  }
}

/** @param {import('./index.js').Sink} sink @param {string} text */
function comment(sink, text) {
  const said = /^ ?heartbeat[ =](\d+(?:\.\d+)?)/.exec(text);
  if (said) sink.heartbeat(Number(said[1]) * 1000);
}

/** @param {import('./index.js').Sink} sink @param {import('../sse.js').Message} message */
export function tell(sink, { event, data, id }) {
  if (event === 'message') sink.event(data, id);
  else if (event === 'status') sink.status(data);
  else if (event === 'draining') sink.draining(JSON.parse(data).retry_ms);
}
