// One reader of one run, as its page sees it.

import { Fold, isLast } from './fold.js';
import { RunStream } from './stream.js';

/**
 * @typedef {object} SubscribeOptions
 * @property {string} [after] a cursor; from the start (of the state: by a fold) without it
 * @property {number} [rate] updates a second at most, 1 to 60; 0: everything at once and unmerged; 20 by default
 * @property {(event: import('./events.js').StreamEvent) => void} [onEvent] each event once, in order
 * @property {(fold: Fold, changed: Changed) => void} [onState] at most once a frame; never while nothing changed
 * @property {(status: import('./events.js').Status) => void} [onStatus] queue position, receipt of a stop
 * @property {(subscription: Subscription) => void} [onConnection] its connection or a counter has changed
 * @property {AbortSignal} [signal] closes it
 */

/**
 * What a fold has changed in since the last `onState`.
 * @typedef {object} Changed
 * @property {boolean} all something was withdrawn, or it is the first: draw everything anew
 * @property {Set<string>} texts spans whose text has grown; '' is the run's own
 * @property {Set<string>} steps ids of steps that began or ended
 * @property {Set<string>} kinds types of the events that came: 'json', 'log', 'progress', 'replace', 'end', …
 */

/** What a page holds of a subscription. All fields are for reading. */
export class Subscription {
  /** @type {'connecting'|'live'|'reconnecting'|'ended'|'stopped'} stopped: closed, or `error` says why */
  connection = 'connecting';
  /** @type {''|'fetch'|'eventsource'|'websocket'|'poll'} */ transport = 'eventsource';
  /** over the browser's one connection, which a SharedWorker holds */ shared = false;
  /** @type {number|null} of events, from the server's clock to ours, in milliseconds; null before the first */
  lagMs = null;
  resumes = 0;
  duplicates = 0;
  draining = false;
  /** @type {null | import('./errors.js').PenstockError} */ error = null;
  /** @type {import('./events.js').Status} the latest */ status = {};
  /** the state, live: what `onState` gets */ fold = new Fold();
  #changed = nothing();
  #due = false;

  /** @param {{base: string}} client @param {string} run its id @param {SubscribeOptions} options */
  constructor(client, run, options) {
    this.run = run;
    this.options = options;
    this.stream = new RunStream(`${client.base}api/runs/${encodeURIComponent(run)}/events`, {
      take: (event) => this.#take(event),
      status: (status) => this.#status(status),
      restart: () => this.#restart(),
      gone: async () => false,
      change: () => this.#connection(),
    });
    options.signal?.addEventListener('abort', () => this.close());
  }

  /** Events received: everything up to this seq. */
  get received() {
    return this.fold.position;
  }

  /** Let go. Nothing is called afterwards; the run itself goes on. */
  close() {
    this.stream.close();
    this.options = {};
  }

  /**
   * Read on at another pace, from where this reader stands.
   * @param {number} rate
   */
  pace(rate) {
    this.stream.pace(rate);
  }

  /** @param {any} event */
  #take(event) {
    const verdict = this.fold.apply(event);
    if (verdict !== 'taken') return verdict;
    this.options.onEvent?.(event);
    this.#note(event);
    if (isLast(event)) queueMicrotask(() => this.#connection());
    return verdict;
  }

  /** @param {any} event */
  #note({ type, span = '', events }) {
    for (const event of events ?? []) this.#note(event);
    this.#changed.kinds.add(type);
    if (type === 'text') this.#changed.texts.add(span);
    if (type.startsWith('span')) this.#changed.steps.add(span);
    if (type === 'reset' || type === 'fold') this.#changed.all = true;
    this.#draw();
  }

  #draw() {
    if (this.#due) return;
    this.#due = true;
    if (document.hidden) setTimeout(() => this.#drawNow(), 1000);
    else requestAnimationFrame(() => this.#drawNow());
  }

  #drawNow() {
    this.#due = false;
    const changed = this.#changed;
    this.#changed = nothing();
    this.options.onState?.(this.fold, changed);
  }

  /** @param {import('./events.js').Status} status */
  #status(status) {
    this.status = status;
    this.options.onStatus?.(status);
  }

  #restart() {
    this.fold = Object.assign(new Fold(), { generation: this.fold.generation + 1 });
    this.#changed.all = true;
  }

  #connection() {
    const stream = this.stream;
    if (!stream) return; // still being made
    this.connection = stream.state;
    this.resumes = stream.resumes;
    this.duplicates = stream.duplicates;
    this.draining = stream.draining;
    this.options.onConnection?.(this);
  }
}

/** @returns {Changed} */
const nothing = () => ({ all: false, texts: new Set(), steps: new Set(), kinds: new Set() });
