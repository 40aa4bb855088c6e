// The browser's one connection: a SharedWorker that reads for all tabs of an origin. A tab speaks to it through tabs.js.

import { Server } from './api.js';
import { BROWSER } from './env.js';
import { Hub } from './hub.js';
import { once } from './memory.js';

/** Without locks a tab that says nothing for so long is gone; one that was frozen is told to join again. */
const GONE_MS = 10 * 60 * 1000;

/** @type {any} */ const worker = self;
const [, base, transports] = JSON.parse(worker.name);
/** @type {Set<Tab>} */ const tabs = new Set();
/** @type {Hub|null} */ let hub = null;

/** Held for life: tabs wait for it, and know at once when this worker has been ended. */
const LIFE = navigator.locks ? `penstock-worker-${crypto.getRandomValues(new Uint32Array(3)).join('-')}` : '';
/** A tab is told of it only once it is held: else the tab might get it first, and take this worker for dead. */
const alive = new Promise((held) => {
  if (!LIFE) return held(undefined);
  navigator.locks.request(LIFE, () => new Promise(() => held(undefined))).catch(held);
});

const proven = once((name) => tabs.forEach((tab) => tab.post({ type: 'proven', name })));

/** One tab's side of it. */
class Tab {
  /** @type {Map<number, import('./reader.js').Reader>} */ readers = new Map();
  heardMs = Date.now();
  lost = false;

  /** @param {MessagePort} port */
  constructor(port) {
    this.port = port;
    port.onmessage = ({ data }) => this.#heard(data);
    tabs.add(this);
  }

  /** @param {any} message */
  post(message) {
    this.port.postMessage(message);
  }

  leave() {
    if (this.lost) return;
    for (const reader of this.readers.values()) /** @type {Hub} */ (hub).leave(reader);
    this.readers.clear();
    tabs.delete(this);
    this.lost = true;
  }

  /** @param {any} message */
  #heard({ type, ...message }) {
    this.heardMs = Date.now();
    if (this.lost && type !== 'bye') {
      this.lost = false;
      tabs.add(this);
      this.post({ type: 'lost' });
    }
    SAID[type]?.(this, message);
  }
}

/** @type {Record<string, (tab: Tab, message: any) => void>} */
const SAID = {
  hello(tab, { proven: name }) {
    hub ??= new Hub(new Server(base), BROWSER, { transports, proven: name, onProven: proven });
    alive.then((error) => tab.post({ type: 'hello', lock: error ? '' : LIFE }));
  },
  held(tab, { lock }) {
    navigator.locks.request(lock, () => tab.leave());
  },
  join(tab, { id, wish }) {
    if (hub) join(tab, id, wish, hub);
  },
  ack: (tab, { id }) => tab.readers.get(id)?.ack(),
  pace: (tab, { id, rate }) => withReader(tab, id, (reader, on) => on.pace(reader, rate)),
  leave(tab, { id }) {
    withReader(tab, id, (reader, on) => on.leave(reader));
    tab.readers.delete(id);
  },
  wake: (_, { signal }) => hub?.wake(signal),
  ping: (tab) => tab.post({ type: 'pong' }),
  bye: (tab) => tab.leave(),
};

/** @param {Tab} tab @param {number} id @param {any} wish @param {Hub} on */
function join(tab, id, wish, on) {
  const reader = on.join({
    ...wish,
    on: {
      events: (batch) =>
        tab.post({
          type: 'events',
          id,
          data: `[${batch.map(({ data }) => data).join(',')}]`,
          cursor: batch[batch.length - 1].cursor,
        }),
      status: (data) => tab.post({ type: 'status', id, data }),
      connection: (about) => tab.post({ type: 'connection', id, about }),
      refused: (error) => tab.post({ type: 'refused', id, error: said(error) }),
    },
  });
  tab.readers.set(id, reader);
}

/** @param {Tab} tab @param {number} id @param {(reader: import('./reader.js').Reader, on: Hub) => void} act */
function withReader(tab, id, act) {
  const reader = tab.readers.get(id);
  if (reader && hub) act(reader, hub);
}

// An error loses its own members on the way to another tab.
/** @param {Error & {status?: number, code?: string, hint?: string, field?: string|null}} error */
const said = ({ status, code, message, hint, field }) => ({ status, code, message, hint, field });

worker.onconnect = (/** @type {MessageEvent} */ { ports: [port] }) => new Tab(port);

if (!navigator.locks) {
  setInterval(() => tabs.forEach((tab) => Date.now() - tab.heardMs > GONE_MS && tab.leave()), GONE_MS / 10);
}
