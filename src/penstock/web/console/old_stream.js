// One run's events over EventSource, for as long as it takes. What to do when it breaks is reconnect.js's.

import { isLast } from '../client/fold.js';
import { Pieces } from '../client/pieces.js';
import { CLOSED, OPEN, decide, backoffMs } from './old_reconnect.js';

/** @typedef {'connecting'|'live'|'reconnecting'|'ended'} Connection */

/**
 * @typedef {object} Handlers
 * @property {(event: any) => 'taken'|'duplicate'|'gap'} take what the fold says to an event
 * @property {(status: {state: string, position?: number|null, eta_s?: number|null}) => void} status
 * @property {() => void} restart events are missing: what has been taken is void, all comes again
 * @property {() => Promise<boolean>} gone whether the server, asked again, will never serve this run
 * @property {() => void} change the connection's state or a counter has changed
 */

const BROWSER = { EventSource: globalThis.EventSource, now: Date.now, random: Math.random };

/** The reader of one run. It counts what it can prove: `resumes`, and `duplicates` that it dropped. */
export class RunStream {
  /** @type {Connection} */ state = 'connecting';
  resumes = 0;
  duplicates = 0;
  draining = false;
  #cursor = '';
  #seenMs = 0;
  #attempt = 0;
  #retryMs = 0;
  #opened = false;
  #gaps = 0;
  #rate = 0;
  #sourceRate = 0;
  #repaced = false;
  #pieces = new Pieces();
  #timer;
  #source;

  /**
   * @param {string} url of the run's events
   * @param {Handlers} handlers
   * @param {{EventSource: any, now: () => number, random: () => number}} [env]
   */
  constructor(url, handlers, env = BROWSER) {
    this.url = url;
    this.handlers = handlers;
    this.env = env;
    this.#connect();
  }

  /** Let go. Nothing is called afterwards; the run itself goes on. */
  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = undefined;
    this.#set('ended');
    this.handlers = { ...this.handlers, change() {} };
  }

  /** The tab was shown, the network came back, the machine woke: look whether the connection survived. */
  wake() {
    this.#follow('wake');
  }

  /**
   * Read on at another pace, from where this reader stands.
   * @param {number} rate updates a second; 0 is the server's own choice
   */
  pace(rate) {
    this.#rate = rate;
    if (this.state === 'live') this.#keepPace();
  }

  // A browser that reconnects by itself does so at the old pace.
  #keepPace() {
    if (this.#rate === this.#sourceRate) return;
    this.#repaced = true;
    this.#connect();
  }

  #query() {
    const query = new URLSearchParams(this.#cursor ? { after: this.#cursor } : { fold: '1' });
    if (this.#rate) query.set('rate', String(this.#rate));
    return `?${query}`;
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#source?.close();
    const source = new this.env.EventSource(this.url + this.#query());
    this.#sourceRate = this.#rate;
    this.#source = source;
    this.#seenMs = this.env.now();
    const mine = (handler) => (message) => {
      if (source !== this.#source) return;
      this.#seenMs = this.env.now();
      handler(message);
    };
    source.onopen = mine(() => this.#open());
    source.onmessage = mine((message) => this.#message(message));
    source.onerror = mine(() => this.#error());
    source.addEventListener('status', mine((message) => this.handlers.status(parse(message.data) ?? {})));
    source.addEventListener('draining', mine((message) => this.#drain(message)));
  }

  #open() {
    if (this.#opened && !this.#repaced) this.resumes += 1;
    this.#opened = true;
    this.#repaced = false;
    this.draining = false;
    this.#retryMs = 0;
    this.#set('live');
    this.#keepPace();
  }

  #message(message) {
    const event = this.#whole(message.data);
    const verdict = event ? this.handlers.take(event) : event === null ? 'taken' : 'gap';
    if (verdict === 'gap') return this.#restart();
    if (message.lastEventId) this.#cursor = message.lastEventId;
    if (verdict === 'duplicate') this.duplicates += 1;
    this.#attempt = 0;
    if (event && isLast(event)) this.close();
  }

  // Undefined for what is no event, or can't be put together; null for a piece of one that goes on.
  #whole(data) {
    try {
      return this.#pieces.add(JSON.parse(data));
    } catch {
      return undefined;
    }
  }

  #error() {
    this.#repaced = false;
    this.#set(this.#opened ? 'reconnecting' : 'connecting');
    const closed = this.#source.readyState === CLOSED;
    this.#follow('error');
    if (closed) this.handlers.gone().then((gone) => gone && this.close());
  }

  #drain(message) {
    this.draining = true;
    this.#retryMs = parse(message.data)?.retry_ms ?? 0;
    this.handlers.change();
  }

  // Never show a text with a hole: forget it all, and read what the store has.
  #restart() {
    this.#cursor = '';
    this.#pieces = new Pieces();
    this.handlers.restart();
    this.#source.close();
    this.#set('reconnecting');
    this.#later(backoffMs(this.#gaps++, this.env.random()));
  }

  #follow(signal) {
    const { act, afterMs } = decide({
      signal,
      ended: this.state === 'ended',
      readyState: this.#source?.readyState ?? CLOSED,
      silentMs: this.env.now() - this.#seenMs,
      attempt: this.#attempt,
      retryMs: this.#retryMs,
      chance: this.env.random(),
    });
    if (act === 'reopen') this.#later(afterMs);
  }

  #later(afterMs) {
    this.#attempt += 1;
    this.#set(this.#opened ? 'reconnecting' : 'connecting');
    clearTimeout(this.#timer);
    if (afterMs === 0) return this.#connect();
    this.#timer = setTimeout(() => this.#connect(), afterMs);
  }

  #set(state) {
    this.state = state;
    this.handlers.change();
  }
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
