// How a tab's readers reach the server: through the browser's one connection, in a SharedWorker, or through their own.

import { BROWSER } from './env.js';
import { Hub, plain } from './hub.js';
import { once, recallTransport, rememberTransport, shelfOf } from './memory.js';
import { watchPage } from './page.js';
import { VERSION } from './version.js';

/** A worker that has not answered within this is not there: its module was refused, or the system ended it. */
const ANSWER_MS = 4_000;

/** How often a worker is asked whether it lives; systems end them without a word. */
const PING_MS = 10_000;

/**
 * @typedef {object} Joined a reader's handle, wherever the reader is
 * @property {() => void} ack what was handed over has been taken
 * @property {(rate: number|undefined) => void} pace
 * @property {() => void} leave
 *
 * @typedef {object} Listener what a subscription is told
 * @property {(events: any[], cursor: string) => void} events
 * @property {(status: any) => void} status
 * @property {(about: import('./reader.js').About & {shared: boolean}) => void} connection
 * @property {(error: Error) => void} refused
 *
 * @typedef {{run: string, after?: string, fold?: boolean, rate?: number, on: Listener}} Wish
 * @typedef {{join: (wish: Wish) => Joined}} Link
 *
 * @typedef {{id: number, wish: Wish, cursor: string, own: Joined|null, before: Counts, counts: Counts}} SharedReader `before`: of
 *   workers that are no more
 * @typedef {{resumes: number, duplicates: number}} Counts
 */

/** Readers over a connection of this tab's own. @implements {Link} */
export class OwnLink {
  #unwatch = () => {};

  /** @param {import('./api.js').Server} server @param {import('./transports/index.js').Transport[]} transports */
  constructor(server, transports) {
    const shelf = shelfOf('localStorage');
    const proven = recallTransport(shelf, server.base, Date.now());
    const onProven = once((name) => rememberTransport(shelf, server.base, name, Date.now()));
    this.hub = new Hub(server, BROWSER, { transports, proven, onProven });
  }

  // Only while somebody reads: a page may make a client for each of its parts, and forget it.
  #watch() {
    if (!this.hub.idle) return;
    this.hub.resume(); // it may have been left in the back/forward cache
    this.#unwatch = watchPage({
      wake: (signal) => this.hub.wake(signal),
      suspend: () => this.hub.suspend(),
      resume: () => this.hub.resume(),
    });
  }

  /** @param {import('./reader.js').Reader} reader */
  #leave(reader) {
    this.hub.leave(reader);
    if (this.hub.idle) this.#unwatch();
  }

  /** @param {Wish} wish @returns {Joined} */
  join({ on, ...wish }) {
    const { hub } = this;
    this.#watch();
    /** @type {import('./reader.js').Reader|null} */ let reader = null;
    const joined = {
      ack: () => reader?.ack(),
      pace: (/** @type {number|undefined} */ rate) => reader && hub.pace(reader, rate),
      leave: () => reader && this.#leave(reader),
    };
    reader = hub.join({
      ...wish,
      on: {
        events: (batch) =>
          on.events(
            batch.map(({ event }) => event),
            batch[batch.length - 1].cursor,
          ),
        status: (data) => on.status(plain(JSON.parse(data))),
        connection: (about) => on.connection({ ...about, shared: false }),
        refused: on.refused,
      },
    });
    return joined;
  }
}

/** Readers over the browser's one connection. Where that can't be had, over the tab's own. @implements {Link} */
export class SharedLink {
  /** @type {Map<number, SharedReader>} by the number under which the worker knows them */ #joined = new Map();
  /** @type {MessagePort|null} */ #port = null;
  /** @type {OwnLink|null} */ #own = null;
  #ids = 0;
  #heardMs = 0;
  #askedMs = 0;
  #release = () => {};
  #heardOf = new AbortController(); // ends the wait for the worker's end
  #again = false; // whether another worker may be asked for
  /** @type {any} */ #timer;

  /** @param {import('./api.js').Server} server @param {import('./transports/index.js').Transport[]} transports */
  constructor(server, transports) {
    this.server = server;
    this.transports = transports;
    this.#connect();
    watchPage({
      wake: (signal) => this.#post({ type: 'wake', signal }),
      suspend: () => this.#suspend(),
      resume: () => this.#resume(),
    });
  }

  /** @param {Wish} wish @returns {Joined} */
  join(wish) {
    /** @type {SharedReader} */
    const joined = { id: 0, wish, cursor: wish.after ?? '', own: null, before: NONE, counts: NONE };
    this.#enter(joined);
    return {
      ack: () => (joined.own ? joined.own.ack() : this.#post({ type: 'ack', id: joined.id })),
      pace: (rate) => {
        joined.wish = { ...joined.wish, rate };
        joined.own ? joined.own.pace(rate) : this.#post({ type: 'pace', id: joined.id, rate });
      },
      leave: () => {
        this.#joined.delete(joined.id);
        joined.own ? joined.own.leave() : this.#post({ type: 'leave', id: joined.id });
      },
    };
  }

  #connect() {
    const worker = this.#worker();
    if (!worker) return this.#giveUp();
    worker.onerror = () => this.#giveUp();
    this.#heardOf = new AbortController();
    this.#port = worker.port;
    this.#port.onmessage = ({ data }) => this.#heard(data);
    const tab = `penstock-${crypto.getRandomValues(new Uint32Array(3)).join('-')}`;
    const { signal } = this.#heardOf;
    // Held for as long as this page lives, however it dies. The worker waits for it, so it is told only once it is held.
    navigator.locks?.request(tab, { signal }, () => this.#hold(tab)).catch(() => {});
    const proven = recallTransport(shelfOf('localStorage'), this.server.base, Date.now());
    this.#post({ type: 'hello', proven });
    this.#heardMs = this.#askedMs = Date.now();
    this.#timer = setTimeout(() => this.#watch(), ANSWER_MS);
  }

  /** @returns {SharedWorker|null} null where the person's settings deny it, which browsers say by an exception */
  #worker() {
    const name = JSON.stringify([VERSION, this.server.base, this.transports]);
    try {
      return new SharedWorker(new URL('./worker.js', import.meta.url), { type: 'module', name });
    } catch {
      return null;
    }
  }

  // A page that was frozen has not listened: only an answer that is late while it listens counts.
  #watch() {
    const frozen = Date.now() - this.#askedMs > 2 * PING_MS;
    if (this.#heardMs <= this.#askedMs && !frozen) return this.#again ? this.#renew() : this.#giveUp();
    this.#askedMs = Date.now();
    this.#post({ type: 'ping' });
    this.#timer = setTimeout(() => this.#watch(), PING_MS);
  }

  // It is dead, not refused: another takes its place. If that one does not answer either, it can't be had here.
  #renew() {
    this.#again = false;
    this.#leavePort();
    this.#resume();
  }

  #giveUp() {
    this.#leavePort();
    this.#own ??= new OwnLink(this.server, this.transports);
    this.#enterAll();
  }

  #enterAll() {
    for (const joined of [...this.#joined.values()]) this.#enter(joined);
  }

  // Each time under another number: what is still on its way for the one before is not listened to.
  /** @param {SharedReader} joined */
  #enter(joined) {
    if (this.#joined.delete(joined.id)) this.#post({ type: 'leave', id: joined.id });
    joined.before = joined.counts;
    joined.id = this.#ids += 1;
    this.#joined.set(joined.id, joined);
    const { on: told, ...wish } = { ...joined.wish, after: joined.cursor };
    const on = { ...told, connection: counted(joined) };
    if (!this.#own) this.#post({ type: 'join', id: joined.id, wish });
    else joined.own ??= this.#own.join({ ...wish, on });
  }

  #suspend() {
    if (!this.#own) this.#post({ type: 'bye' });
    this.#leavePort();
  }

  #resume() {
    if (this.#own) return;
    this.#connect();
    this.#enterAll();
  }

  #leavePort() {
    clearTimeout(this.#timer);
    this.#release();
    this.#heardOf.abort();
    this.#port?.close();
    this.#port = null;
  }

  /** @param {string} lock */
  #hold(lock) {
    this.#post({ type: 'held', lock });
    return new Promise((resolve) => (this.#release = () => resolve(undefined)));
  }

  // The worker holds its lock while it lives. A renderer that crashes takes it along, without a word to other tabs.
  /** @param {string} lock */
  #meet(lock) {
    this.#again = true;
    const { signal } = this.#heardOf;
    if (lock) navigator.locks.request(lock, { mode: 'shared', signal }, () => this.#renew()).catch(() => {});
  }

  /** @param {any} message */
  #post(message) {
    this.#port?.postMessage(message);
  }

  /** @param {any} said */
  #heard(said) {
    const { type, id, ...message } = said;
    this.#heardMs = Date.now() + 1; // later than the asking, even within its millisecond
    const joined = this.#joined.get(id);
    if (type === 'hello') this.#meet(message.lock);
    else if (type === 'lost') this.#enterAll();
    else if (type === 'proven') rememberTransport(shelfOf('localStorage'), this.server.base, message.name, Date.now());
    else if (joined) HEARD[type]?.(joined, message);
  }
}

const NONE = { resumes: 0, duplicates: 0 };

/** @param {SharedReader} joined @returns {Listener['connection']} */
const counted = (joined) => (about) => {
  const { resumes, duplicates } = joined.before;
  joined.counts = { resumes: about.resumes + resumes, duplicates: about.duplicates + duplicates };
  joined.wish.on.connection({ ...about, ...joined.counts });
};

/** @type {Record<string, (joined: SharedReader, message: any) => void>} */
const HEARD = {
  events(joined, { data, cursor }) {
    joined.cursor = cursor;
    joined.wish.on.events(JSON.parse(data).map(plain), cursor);
  },
  status: ({ wish }, { data }) => wish.on.status(plain(JSON.parse(data))),
  connection: (joined, { about }) => counted(joined)({ ...about, shared: true }),
  refused: ({ wish }, { error }) => wish.on.refused(error),
};

// A bundle of another format has no address of its own, and so no worker beside it.
/** @param {string} origin */
const isOurs = (origin) => String(import.meta.url).startsWith(`${origin}/`);

/**
 * Whether the browser's one connection can be had. A token is a tab's own: those of several people never share.
 * @param {import('./api.js').Server} server
 */
export function canShare(server) {
  const here = globalThis.location?.origin;
  const same = new URL(server.base, globalThis.location?.href).origin === here && isOurs(here);
  return 'SharedWorker' in globalThis && server.source === null && same;
}
