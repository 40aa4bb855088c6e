// The browser's own EventSource: where fetch holds streams back. It neither shows heartbeats nor says why it was refused.

import { eventsUrl } from './urls.js';
import { tell } from './fetch.js';

/** @type {import('./index.js').Open} */
export function open(server, asked, sink, env) {
  const source = new env.EventSource(server.base + eventsUrl(asked));
  /** @param {string} event */
  const told = (event) => (/** @type {MessageEvent} */ message) => {
    sink.alive();
    tell(sink, { event, data: message.data, id: message.lastEventId });
  };
  source.onopen = () => sink.alive();
  source.onmessage = told('message');
  source.addEventListener('status', told('status'));
  source.addEventListener('draining', told('draining'));
  source.onerror = () => {
    const opened = sink.opened;
    source.close(); // it would come back with its first address; we come back with our cursors
    sink.closed(opened ? { signal: 'broken' } : { signal: 'mute', unexplained: true });
  };
  return { close: () => source.close() };
}
