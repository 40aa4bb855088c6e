// One reader of one run, as its page sees it: events once and in order, the state they lead to, and how it stands.

import { clock } from './api.js';
import { PenstockError } from './errors.js';
import { Fold } from './fold.js';
import { Frames } from './frames.js';
import { watchPage } from './page.js';
import { Pieces } from './pieces.js';
import { isLast, positionAfter } from './place.js';
import { backoffMs } from './reconnect.js';

/** Events that wait for an iterator: what comes after them waits in the store. */
const MAX_ITERATED = 1_000;

/** Updates a second for a page that nobody sees. */
const HIDDEN_RATE = 1;

/**
 * @typedef {object} SubscribeOptions
 * @property {string} [after] a cursor, or 'remembered': where this tab stood before it was reloaded. From the start without it
 * @property {number} [rate] updates a second at most, 1 to 60; 0: everything at once and unmerged; 20 by default
 * @property {(event: import('./events.js').StreamEvent) => void} [onEvent] each event once, in order
 * @property {(fold: Fold, changed: Changed) => void} [onState] at most once a frame; never while nothing changed
 * @property {(status: import('./events.js').Status) => void} [onStatus] queue position, receipt of a stop
 * @property {(subscription: Subscription) => void} [onConnection] `connection`, `transport`, `draining` or a counter has changed
 * @property {AbortSignal} [signal] closes it
 */

/**
 * What the state has changed in since the last `onState`.
 * @typedef {object} Changed
 * @property {boolean} all something was withdrawn, or it is the first: draw everything anew
 * @property {Set<string>} texts spans whose text has grown; '' is the run's own
 * @property {Set<string>} steps ids of steps that began or ended
 * @property {Set<string>} kinds types of the events that came: 'json', 'log', 'progress', 'replace', 'end', …
 */

/** What a page holds of a subscription. All fields are for reading. */
export class Subscription {
  /** @type {import('./stream.js').State} stopped: closed, or `error` says why */ connection = 'connecting';
  /** @type {import('./transports/index.js').Transport|''} */ transport = '';
  /** over the browser's one connection, which a SharedWorker holds */ shared = false;
  /** @type {number|null} of events, from the server's clock to ours, in milliseconds; null before the first */ lagMs = /** */ (null);
  /** everything up to this seq has come */ received = 0;
  /** of the last event that was handed over */ cursor = '';
  resumes = 0;
  duplicates = 0;
  draining = false;
  /** @type {Error|null} */ error = null;
  /** @type {import('./events.js').Status} the latest */ status = {};
  /** the state, live: what `onState` gets */ fold = new Fold();
  #folds = true;
  #folding = false;
  #changed = nothing();
  #openedMs = 0;
  /** @type {import('./tabs.js').Joined|null} */ #joined = null;
  /** @type {any[]|null} */ #iterated = null;
  #unacked = false;
  #wakeIterator = () => {};
  #over = false;
  #begun = false;

  /**
   * @param {import('./index.js').Client} client
   * @param {string} run
   * @param {SubscribeOptions} options
   */
  constructor(client, run, options) {
    this.client = client;
    this.run = run;
    this.options = options;
    this.frames = new Frames(() => this.#draw());
    this.unwatch = watchPage({
      hidden: (hidden) => this.#joined?.pace(hidden ? HIDDEN_RATE : this.options.rate),
      wake: () => this.frames.wake(),
      suspend: () => client.cursors.write(),
    });
    options.signal?.addEventListener('abort', () => this.close());
    queueMicrotask(() => this.#begin()); // an iterator is asked for in the same breath
  }

  /** Let go. Nothing is called afterwards; the run itself goes on. */
  close() {
    this.#finish('stopped');
    this.options = {};
  }

  /**
   * Read on at another pace, from where this reader stands.
   * @param {number|undefined} rate
   */
  pace(rate) {
    this.options = { ...this.options, rate };
    this.#joined?.pace(rate);
  }

  /**
   * The events, each once, in order, until the `end`. To be asked for at once: `for await (const event of subscribe(run))`.
   * Leaving the loop closes the subscription. What is not taken waits in the store.
   * @returns {AsyncGenerator<import('./events.js').StreamEvent, void, void>}
   * @throws {PenstockError} where it is refused
   */
  [Symbol.asyncIterator]() {
    if (this.#begun) throw new TypeError('Iterate over a subscription where you make it: its events are on their way.');
    this.#iterated = [];
    return this.#iterate();
  }

  async *#iterate() {
    const waiting = /** @type {any[]} */ (this.#iterated);
    try {
      for (;;) {
        while (waiting.length) yield waiting.shift();
        this.#ack();
        if (this.error) throw this.error;
        if (this.#over) return;
        await new Promise((resolve) => (this.#wakeIterator = () => resolve(undefined)));
      }
    } finally {
      this.close();
    }
  }

  async #begin() {
    this.#begun = true;
    if (this.#over) return;
    const { options, client, run } = this;
    const after = (options.after === 'remembered' ? client.cursors.get(client.base + run) : options.after) ?? '';
    const single = Boolean(options.onEvent || this.#iterated);
    this.#folds = !after || Boolean(options.onState);
    const rate = globalThis.document?.hidden ? HIDDEN_RATE : options.rate;
    this.#joined = client.link.join({ run, after, fold: !single, rate, on: this.#listener() });
    if (after && this.#folds) this.#refold();
  }

  /** @returns {import('./tabs.js').Listener} */
  #listener() {
    /** @type {<T extends any[]>(act: (...given: T) => void) => (...given: T) => void} */
    const mine = (act) => (...given) => {
      if (!this.#over) act(...given);
    };
    return {
      events: mine((events, cursor) => this.#take(events, cursor)),
      status: mine((status) => {
        this.status = status;
        this.options.onStatus?.(status);
      }),
      connection: mine((about) => this.#connection(about)),
      refused: mine((error) => this.#refused(error)),
    };
  }

  /** @param {any[]} events @param {string} cursor */
  #take(events, cursor) {
    for (const event of events) this.#one(event);
    this.cursor = cursor || this.cursor;
    // Another reader of this run, of its state perhaps, stands elsewhere.
    if (cursor && this.options.after === 'remembered') this.client.cursors.set(this.client.base + this.run, cursor);
    this.#unacked = true;
    if (!this.#iterated || this.#iterated.length < MAX_ITERATED) this.#ack();
    if (events.length && isLast(events[events.length - 1])) this.#finish('ended');
    this.#wakeIterator();
  }

  /** @param {any} event */
  #one(event) {
    this.received = positionAfter(event);
    const sentMs = event.at_ms - clock.skewMs;
    if (sentMs >= this.#openedMs) this.lagMs = Math.max(0, Date.now() - sentMs);
    if (this.#folds && !this.#folding) this.#apply(event);
    this.#iterated?.push(event);
    try {
      this.options.onEvent?.(event);
    } catch (error) {
      globalThis.reportError?.(error); // the page's own; the next event has not deserved it
    }
  }

  /** @param {any} event */
  #apply(event) {
    const verdict = this.fold.apply(event);
    if (verdict === 'taken') note(this.#changed, event);
    if (verdict === 'gap') this.#refold();
    this.frames.ask();
  }

  // The state by itself, where events alone don't lead to it: after a cursor, or between two deltas.
  async #refold() {
    if (this.#folding) return;
    this.#folding = true;
    const fold = Object.assign(new Fold(), { generation: this.fold.generation + 1 });
    try {
      await this.#readFold(fold);
      this.fold = fold;
      this.#changed.all = true;
      this.frames.ask();
    } catch (error) {
      if (this.connection !== 'stopped') this.#refused(/** @type {Error} */ (error));
    }
    this.#folding = false;
  }

  /** @param {Fold} fold */
  async #readFold(fold) {
    const pieces = new Pieces();
    for (let cursor = '', done = false; !done && this.connection !== 'stopped'; ) { // beyond the end as well
      const place = cursor ? `after=${encodeURIComponent(cursor)}` : 'fold=1';
      const answer = await this.#ask(`api/runs/${encodeURIComponent(this.run)}/events?poll=0&${place}`);
      for (const event of answer.events.map((/** @type {any} */ one) => pieces.add(one))) if (event) fold.apply(event);
      cursor = answer.cursor;
      done = answer.done || !answer.events.length || fold.position >= Math.max(this.received, 1);
    }
  }

  // A server that is away for a while takes the connection along as well: the state waits, as the events do.
  /** @param {string} path @returns {Promise<any>} */
  async #ask(path) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.client.call(path);
      } catch (error) {
        const { status } = /** @type {PenstockError} */ (error);
        if ((status !== 0 && !(status >= 500)) || this.connection === 'stopped') throw error;
        await new Promise((resolve) => setTimeout(resolve, backoffMs(attempt, Math.random())));
      }
    }
  }

  /** @param {import('./reader.js').About & {shared: boolean}} about */
  #connection({ openedMs, ...about }) {
    this.#openedMs = openedMs;
    Object.assign(this, about);
    if (about.connection === 'ended') this.#finish('ended');
    else this.options.onConnection?.(this);
  }

  /** @param {Error | {status?: number, message?: string}} error */
  #refused(error) {
    this.error = error instanceof Error ? error : new PenstockError(error.status ?? 0, error);
    this.#finish('stopped');
  }

  /** @param {import('./stream.js').State} connection */
  #finish(connection) {
    if (this.#over) return;
    this.#over = true;
    this.connection = connection;
    this.#joined?.leave();
    this.unwatch();
    this.client.cursors.write();
    this.options.onConnection?.(this);
    this.#wakeIterator();
  }

  #ack() {
    if (!this.#unacked) return;
    this.#unacked = false;
    this.#joined?.ack();
  }

  #draw() {
    const changed = this.#changed;
    this.#changed = nothing();
    this.options.onState?.(this.fold, changed);
  }
}

/** @returns {Changed} */
const nothing = () => ({ all: false, texts: new Set(), steps: new Set(), kinds: new Set() });

/** @param {Changed} changed @param {any} event */
function note(changed, { type, span = '', events = [] }) {
  for (const event of events) note(changed, event);
  changed.kinds.add(type);
  if (type === 'text') changed.texts.add(span);
  if (type.startsWith('span')) changed.steps.add(span);
  if (type === 'reset' || type === 'fold') changed.all = true;
}
