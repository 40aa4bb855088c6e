// One reader of one run, as its page sees it: events once and in order, the state they lead to, and how it stands.

import { clock } from './api.js';
import { PenstockError } from './errors.js';
import { Fold } from './fold.js';
import { Frames } from './frames.js';
import { watchPage } from './page.js';
import { Pieces } from './pieces.js';
import { cursorOf, isCursor, isLast, placeOf, positionAfter } from './place.js';
import { decideOn } from './reconnect.js';

/** Events that wait for an iterator: what comes after them waits in the store. */
const MAX_ITERATED = 1_000;

/** Updates a second for a page that nobody sees. */
const HIDDEN_RATE = 1;

/** Updates a second: the server refuses more. */
const MAX_RATE = 60;

/**
 * @typedef {object} SubscribeOptions
 * @property {string} [after] a cursor, or 'remembered': where this tab stood before it was reloaded. From the start without it
 * @property {number} [rate] updates a second at most, 1 to 60; 0: everything at once and unmerged; 20 by default
 * @property {(event: import('./events.js').StreamEvent) => void} [onEvent] each event once, in order
 * @property {boolean} [folded] `onEvent` begins with the state too, as one `fold` event; not after a cursor
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
  /** @type {number|null} of events, from the server's clock to ours, in milliseconds; null before the first */ lagMs =
    /** */ null;
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
  /** @type {{event: any, cursor: string}[]|null} */ #iterated = null;
  #unacked = false;
  #wakeIterator = () => {};
  #over = false;
  #begun = false;
  #close = () => this.close();

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
      hidden: (hidden) => this.#joined?.pace(hidden ? HIDDEN_RATE : paceOf(this.options.rate)),
      wake: () => this.frames.wake(),
      suspend: () => client.cursors.write(),
    });
    options.signal?.addEventListener('abort', this.#close);
    if (options.signal?.aborted) this.close();
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
    this.#joined?.pace(globalThis.document?.hidden ? HIDDEN_RATE : paceOf(rate));
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
    const waiting = /** @type {{event: any, cursor: string}[]} */ (this.#iterated);
    try {
      for (;;) {
        for (let next; (next = waiting.shift());) {
          this.#stand(next.cursor);
          yield next.event;
        }
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
    const wanted = options.after === 'remembered' ? client.cursors.get(client.base + run) : options.after;
    const after = isCursor(wanted) ? wanted : ''; // another would be refused, for all who share the connection
    this.received = placeOf(after).seq;
    const single = Boolean(options.onEvent || this.#iterated);
    this.#folds = !after || Boolean(options.onState);
    const rate = globalThis.document?.hidden ? HIDDEN_RATE : paceOf(options.rate);
    this.#joined = client.link.join({ run, after, fold: !single || Boolean(options.folded), rate, on: this.#listener() });
    if (this.#over)
      this.#joined.leave(); // the page let go when it was told something while this one joined
    else if (after && this.#folds) this.#refold();
  }

  /** @returns {import('./tabs.js').Listener} */
  #listener() {
    /** @type {<T extends any[]>(act: (...given: T) => void) => (...given: T) => void} */
    const mine =
      (act) =>
      (...given) => {
        if (!this.#over) act(...given);
      };
    return {
      events: mine((events, cursor) => this.#take(events, cursor)),
      status: mine((status) => {
        this.status = status;
        this.#tell('onStatus', status);
      }),
      connection: mine((about) => this.#connection(about)),
      refused: mine((error) => this.#refused(error)),
    };
  }

  /** @param {any[]} events @param {string} cursor */
  #take(events, cursor) {
    const { epoch } = placeOf(cursor);
    for (const event of events) {
      this.#one(event);
      this.#iterated?.push({ event, cursor: cursor && event.seq ? cursorOf(epoch, event.seq) : '' });
    }
    if (!this.#iterated) this.#stand(cursor);
    this.#unacked = true;
    if (!this.#iterated || this.#iterated.length < MAX_ITERATED) this.#ack();
    if (events.length && isLast(events[events.length - 1])) this.#finish('ended');
    this.#wakeIterator();
  }

  // What waits for an iterator has not been handed over: after a reload it comes again.
  /** @param {string} cursor */
  #stand(cursor) {
    if (!cursor) return;
    this.cursor = cursor;
    // Another reader of this run, of its state perhaps, stands elsewhere.
    if (this.options.after === 'remembered') this.client.cursors.set(this.client.base + this.run, cursor);
  }

  /** @param {any} event */
  #one(event) {
    this.received = positionAfter(event);
    const sentMs = event.at_ms - clock.skewMs;
    if (sentMs >= this.#openedMs) this.lagMs = Math.max(0, Date.now() - sentMs);
    if (this.#folds && !this.#folding) this.#apply(event);
    this.#tell('onEvent', event);
  }

  // What the page does wrong is its own: the connection, which others share, has not deserved it.
  /** @param {'onEvent'|'onStatus'|'onConnection'} name @param {any} what */
  #tell(name, what) {
    try {
      this.options[name]?.(what);
    } catch (error) {
      globalThis.reportError?.(error);
    }
  }

  /** @param {any} event */
  #apply(event) {
    const verdict = this.#verdictOn(event);
    if (verdict === 'taken') note(this.#changed, event);
    if (verdict === 'gap') this.#refold();
    this.#draws();
  }

  // What no fold can take is read once more, as a state; if it is in there as well it is the server's fault.
  /** @param {any} event */
  #verdictOn(event) {
    try {
      return this.fold.apply(event);
    } catch (error) {
      globalThis.reportError?.(error);
      return 'gap';
    }
  }

  #draws() {
    if (this.options.onState) this.frames.ask();
  }

  // The state by itself, where events alone don't lead to it: after a cursor, or between two deltas.
  async #refold() {
    if (this.#folding) return;
    this.#folding = true;
    const fold = Object.assign(new Fold(), { generation: this.fold.generation + 1 });
    try {
      await this.#readFold(fold);
    } catch (error) {
      this.#refused(/** @type {Error} */ (error));
    }
  }

  // At once after its last answer: what comes next is for this one.
  /** @param {Fold} fold */
  #takeFold(fold) {
    this.fold = fold;
    this.#folding = false;
    this.#changed.all = true;
    this.#draws();
  }

  /** @param {Fold} fold */
  async #readFold(fold) {
    const pieces = new Pieces();
    for (let cursor = ''; this.connection !== 'stopped';) {
      // not only until the end: a large state takes several answers
      const place = cursor ? `after=${encodeURIComponent(cursor)}` : 'fold=1';
      const answer = await this.#call(`api/runs/${encodeURIComponent(this.run)}/events?poll=0&${place}`);
      for (const event of answer.events.map((/** @type {any} */ one) => pieces.add(one))) if (event) fold.apply(event);
      cursor = answer.cursor;
      const done = answer.done || !answer.events.length || fold.position >= Math.max(this.received, 1);
      if (done) return this.#takeFold(fold);
    }
  }

  // The connection waits for a server that is away, and so does this.
  /** @param {string} path */
  async #call(path) {
    for (let attempt = 0; ; attempt += 1) {
      const answer = await this.client.call(path).catch((error) => /** @type {any} */ ({ error }));
      if (!answer.error) return answer;
      if (!(answer.error instanceof PenstockError)) throw answer.error;
      const { act, afterMs } = decideOn(answer.error, {
        attempt,
        chance: Math.random(),
        hidden: globalThis.document?.hidden,
      });
      if (act !== 'retry' || this.connection === 'stopped') throw answer.error;
      await new Promise((resolve) => setTimeout(resolve, afterMs));
    }
  }

  /** @param {import('./reader.js').About & {shared: boolean}} about */
  #connection({ openedMs, ...about }) {
    this.#openedMs = openedMs;
    Object.assign(this, about);
    if (about.connection === 'ended') this.#finish('ended');
    else this.#tell('onConnection', this);
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
    this.options.signal?.removeEventListener('abort', this.#close);
    this.client.cursors.write();
    this.#tell('onConnection', this);
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

// Another number than the server takes would be refused, for all who share the connection.
/** @param {number|undefined} rate @returns {number|undefined} */
function paceOf(rate) {
  if (rate === undefined || !(rate >= 0)) return undefined;
  return rate && Math.min(MAX_RATE, Math.max(1, Math.round(rate)));
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
