// One connection, for as long as it takes: a thin loop around a transport. What to do when it breaks is reconnect.js's.

import { PenstockError } from './errors.js';
import { FIRST_BYTE_MS, HEARTBEAT_MS, decide } from './reconnect.js';
import { closingOf } from './transports/closing.js';
import { TRANSPORTS } from './transports/index.js';

/**
 * @typedef {import('./transports/index.js').Transport} Transport
 * @typedef {'connecting'|'live'|'reconnecting'|'ended'|'stopped'} State
 *
 * @typedef {object} Handlers
 * @property {() => import('./transports/index.js').Asked} asked what to ask for, from where its readers stand now. Asked for
 *   only when it is sent: the cursors that come back are in this order
 * @property {() => number|undefined} rate the pace that its readers wish for now
 * @property {(event: string|any, cursors: string) => void} event
 * @property {(data: string) => void} status
 * @property {(change: {resumed?: boolean}) => void} change its state or `draining`; `resumed`: it had been lost
 * @property {() => void} reset the cursor is no use: what comes next comes from the start
 * @property {(held: boolean) => void} fallBack this transport does not get through; `held`: answers come, their bodies don't
 * @property {() => void} end all had been received before
 * @property {(error: Error) => void} refused for good: nothing more will come
 * @property {() => Promise<import('./errors.js').PenstockError|null>} probe what an ordinary request for the same is refused with
 */

/** How often silence is looked for: no byte needs to set a timer. */
const WATCH_MS = 1_000;

/** A connection that lasted this long without an event was a good one all the same. */
const GOOD_MS = 5_000;

/** How long an answer of a long-poll may be on its way. */
const POLL_MS = 27_000;

/** Keeps events coming over one transport. */
export class Connection {
  /** @type {State} */ state = 'connecting';
  draining = false;
  heartbeatMs = HEARTBEAT_MS;
  openedMs = 0;
  /** @type {number|undefined} */ #rate;
  #attempt = 0;
  #mutes = 0;
  #retryMs = 0;
  #renewed = false;
  #moving = false; // is opened anew by our own wish: no resume
  #aliveMs = 0;
  /** @type {any} */ #timer;
  /** @type {any} */ #watch;
  /** @type {import('./transports/index.js').Sink|null} */ #sink = null;
  /** @type {ReturnType<import('./transports/index.js').Open>|null} */ #handle = null;

  /**
   * @param {import('./api.js').Server} server
   * @param {Transport} transport
   * @param {Handlers} handlers
   * @param {import('./transports/index.js').Env} env
   * @param {boolean} [lost] it takes the place of one that had been live
   */
  constructor(server, transport, handlers, env, lost = false) {
    this.server = server;
    this.transport = transport;
    this.handlers = handlers;
    this.env = env;
    this.wasLive = lost;
  }

  /** Connect, or connect anew: at another place, for other streams. */
  open() {
    this.#moving = this.state === 'live';
    this.#connect();
  }

  /**
   * Let go. Nothing is called afterwards.
   * @param {'stopped'|'ended'} [state]
   */
  close(state = 'stopped') {
    this.#drop();
    this.env.clearTimeout(this.#timer);
    this.state = state;
  }

  /**
   * The tab was shown, or the network came back: look whether the connection survived.
   * @param {'wake'|'online'} signal
   */
  wake(signal) {
    if (this.#over) return;
    if (this.#handle === null)
      this.#connect(); // it was only waiting for its next attempt
    else this.#follow({ signal });
  }

  /** Another pace, from where its readers stand. */
  repace() {
    const rate = this.handlers.rate();
    if (this.state !== 'live' || rate === this.#rate) return;
    if (this.#handle?.pace?.(rate)) this.#rate = rate;
    else this.open();
  }

  get #over() {
    return this.state === 'ended' || this.state === 'stopped';
  }

  #connect() {
    this.#drop();
    this.env.clearTimeout(this.#timer);
    const sink = (this.#sink = this.#makeSink());
    this.#aliveMs = this.openedMs = this.env.now();
    this.#retryMs = 0;
    const asked = this.handlers.asked();
    this.#rate = asked.rate;
    const { open } = /** @type {any} */ (TRANSPORTS.get(this.transport));
    this.#watch = this.env.setTimeout(() => this.#look(), WATCH_MS);
    try {
      this.#handle = open(this.server, asked, sink, this.env);
    } catch {
      sink.closed({ signal: 'mute', sure: true }); // a WebSocket that the page's policy forbids
    }
  }

  #drop() {
    this.env.clearTimeout(this.#watch);
    this.#sink = null;
    this.#handle?.close();
    this.#handle = null;
  }

  // A transport that was let go may still speak; only the latest is listened to.
  #makeSink() {
    /** @type {(act: (...given: any[]) => void) => (...given: any[]) => void} */
    const mine =
      (act) =>
      (...given) => {
        if (sink === this.#sink) act(...given);
      };
    /** @type {import('./transports/index.js').Sink} */
    const sink = {
      opened: false,
      answered: false,
      alive: mine(() => this.#alive(sink)),
      inLine: mine((waits) => (this.#aliveMs = waits ? Infinity : this.env.now())),
      heartbeat: mine((everyMs) => (this.heartbeatMs = everyMs)),
      event: mine((event, cursors) => this.#event(event, cursors)),
      status: mine((data) => this.handlers.status(data)),
      retry: mine((ms) => (this.#retryMs = ms)),
      draining: mine((ms) => this.#drain(ms)),
      closed: mine((closing) => this.#closed(closing)),
    };
    return sink;
  }

  /** @param {{opened: boolean}} sink */
  #alive(sink) {
    this.#aliveMs = this.env.now();
    if (sink.opened) return;
    sink.opened = true;
    this.#renewed = this.draining = false;
    const resumed = this.wasLive && !this.#moving;
    this.wasLive = true;
    this.#moving = false;
    this.#set('live', { resumed });
    this.repace(); // wished for while there was no connection
  }

  /** @param {string|any} event @param {string} cursors */
  #event(event, cursors) {
    this.#attempt = this.#mutes = 0;
    this.handlers.event(event, cursors);
  }

  /** @param {number} ms */
  #drain(ms) {
    this.draining = true;
    this.#retryMs = ms;
    this.handlers.change({});
  }

  #look() {
    const opened = this.#sink?.opened;
    const silentMs = this.env.now() - this.#aliveMs;
    // EventSource hides heartbeats, so a quiet run looks like a dead socket; the next transport tells them apart.
    const quietMs = this.transport === 'poll' ? POLL_MS : 2 * this.heartbeatMs;
    if (opened && silentMs > quietMs) return this.#closed({ signal: 'silent' });
    if (!opened && silentMs > FIRST_BYTE_MS)
      return this.#closed({ signal: 'mute', unexplained: true, held: this.#sink?.answered });
    this.#watch = this.env.setTimeout(() => this.#look(), WATCH_MS);
  }

  /** @param {import('./transports/index.js').Closing | {signal: 'silent'}} closing */
  async #closed(closing) {
    const sink = this.#sink;
    if (this.state === 'live' && this.env.now() - this.openedMs > GOOD_MS) this.#attempt = 0;
    if (this.#aliveMs - this.openedMs > GOOD_MS) this.#mutes = 0; // bytes came through, not only the first
    this.#drop();
    this.#set(this.wasLive ? 'reconnecting' : 'connecting');
    this.#sink = sink; // until the answer of the probe: an opening in between makes another
    const explained = 'unexplained' in closing && closing.unexplained ? await this.#explain(closing) : closing;
    if (this.#sink !== sink || this.#over) return;
    this.#sink = null;
    this.#follow(explained);
  }

  /**
   * @param {import('./transports/index.js').Closing} closing
   * @returns {Promise<import('./transports/index.js').Closing>}
   */
  async #explain({ held }) {
    const error = await this.handlers.probe();
    return error ? closingOf(error) : { signal: 'mute', sure: true, held };
  }

  /** @param {any} closing */
  #follow(closing) {
    const { signal, sure = false } = closing;
    if (signal === 'mute' || signal === 'silent') this.#mutes += sure ? 2 : 1;
    const { act, afterMs } = decide({
      ...closing,
      attempt: this.#attempt,
      mutes: this.#mutes,
      retryMs: Math.max(closing.retryMs ?? 0, signal === 'ended' || this.draining ? this.#retryMs : 0),
      silentMs: this.env.now() - this.#aliveMs,
      heartbeatMs: this.heartbeatMs,
      open: this.#sink?.opened ?? false,
      renewed: this.#renewed || !this.server.renews,
      hidden: this.env.hidden(),
      chance: this.env.random(),
    });
    ACTS[act](this, afterMs, closing);
  }

  // What follows is for the table of acts below.

  /** @param {number} afterMs */
  later(afterMs) {
    this.#attempt += 1;
    this.#drop();
    this.#set(this.wasLive ? 'reconnecting' : 'connecting');
    this.env.clearTimeout(this.#timer);
    if (afterMs === 0) this.#connect();
    else this.#timer = this.env.setTimeout(() => this.#connect(), afterMs);
  }

  renew() {
    this.#renewed = true;
    const sink = this.#sink; // none; another where it was opened in between
    const mine = (/** @type {() => void} */ act) => !this.#over && this.#sink === sink && act();
    this.server.renew().then(
      () => mine(() => this.later(0)),
      (error) => mine(() => this.#notRenewed(error)),
    );
  }

  // It was not refused: where it comes from is away, as the server may be.
  /** @param {Error} error */
  #notRenewed(error) {
    this.#renewed = false;
    this.#follow({ signal: 'refused', status: 500, error });
  }

  end() {
    this.close('ended');
    this.handlers.end();
  }

  /** @param {Error} error */
  stop(error) {
    this.close('stopped');
    this.handlers.refused(error);
  }

  /** @param {State} state @param {{resumed?: boolean}} [change] */
  #set(state, change = {}) {
    this.state = state;
    this.handlers.change(change);
  }
}

/** @type {Record<import('./reconnect.js').Decision['act'], (one: Connection, afterMs: number, closing: any) => void>} */
const ACTS = {
  keep: () => {},
  retry: (one, afterMs) => one.later(afterMs),
  fallback: (one, _, { held = false }) => one.handlers.fallBack(held),
  renew: (one) => one.renew(),
  reset: (one, afterMs) => {
    one.handlers.reset();
    one.later(afterMs);
  },
  end: (one) => one.end(),
  stop: (one, _, { status = 0, error }) => one.stop(error ?? new PenstockError(status)),
};
