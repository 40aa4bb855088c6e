// The client's face: submit a run, subscribe to its events, cancel it, fold events to a state.

import { Server } from './api.js';
import { Fold } from './fold.js';
import { Cursors, shelfOf } from './memory.js';
import { Subscription } from './subscription.js';
import { OwnLink, SharedLink, canShare } from './tabs.js';
import { TRANSPORTS } from './transports/index.js';

export { PenstockError } from './errors.js';
export { Fold } from './fold.js';
export { Subscription } from './subscription.js';
export { VERSION } from './version.js';

/**
 * @typedef {import('./subscription.js').SubscribeOptions} SubscribeOptions
 * @typedef {import('./events.js').StreamEvent} StreamEvent
 * @typedef {import('./events.js').Status} Status
 * @typedef {import('./subscription.js').Changed} Changed
 * @typedef {import('./transports/index.js').Transport} Transport
 *
 * @typedef {object} ClientOptions
 * @property {string} [base] address of the server's root, with its mount prefix; where this module came from
 * @property {import('./api.js').Token} [token] of a server that asks for one; a function is asked for a fresh one when it is refused
 * @property {Transport[]} [transports] in the order in which they are tried
 * @property {boolean} [share] over the browser's one connection where it can be had; true
 */

// By this name, as bundlers take `new URL(…, import.meta.url)` for a file that they are to pack.
const MODULE = import.meta.url;

/** Cursors are written to the tab's storage this often at most, and when the page is left. */
const WRITE_MS = 1_000;

const cursors = new Cursors(shelfOf('sessionStorage'), (write) => setTimeout(write, WRITE_MS));

/** @type {Map<string, import('./tabs.js').Link>} */ const shared = new Map();

/** One server, as one page sees it. */
export class Client {
  #link = /** @type {import('./tabs.js').Link|null} */ (null);

  /** @param {ClientOptions} [options] */
  constructor(options = {}) {
    const { base = new URL('../../', MODULE).href, token = null, transports, share = true } = options;
    this.base = new URL(base.endsWith('/') ? base : `${base}/`, globalThis.location?.href).href;
    this.server = new Server(this.base, token);
    this.transports = transports ?? [...TRANSPORTS.keys()];
    this.share = share;
    this.cursors = cursors;
  }

  /** What readers join. Made with the first of them. */
  get link() {
    return (this.#link ??=
      this.share && canShare(this.server) ? sharedLink(this) : new OwnLink(this.server, this.transports));
  }

  /**
   * GET, or POST where there is a body.
   * @param {string} path under the base
   * @param {object} [body]
   * @returns {Promise<any>}
   * @throws {import('./errors.js').PenstockError} for any answer but a success; status 0: no answer
   */
  call(path, body) {
    return this.server.call(path, body);
  }

  /**
   * Start a run. Tries again while the server is away; the key makes that one run, whatever got through.
   * @param {string} name of the function
   * @param {object} [input] one member per parameter
   * @param {{key?: string, session?: string}} [options]
   * @returns {Promise<import('./events.js').Submitted>}
   * @throws {import('./errors.js').PenstockError} with the `field` that was refused, where it was one
   */
  submit(name, input = {}, options = {}) {
    return this.server.submit(name, input, options);
  }

  /**
   * Stop a run.
   * @param {string} run its id
   * @returns {Promise<import('./events.js').Cancelled>} the receipt
   */
  cancel(run) {
    return this.call(`api/runs/${encodeURIComponent(run)}/cancel`, {});
  }

  /**
   * Read a run, for as long as it takes.
   * @param {string} run its id
   * @param {SubscribeOptions} [options]
   * @returns {Subscription}
   */
  subscribe(run, options = {}) {
    return new Subscription(this, run, options);
  }
}

/** @param {Client} client */
function sharedLink({ server, transports }) {
  const key = JSON.stringify([server.base, transports]);
  const link = shared.get(key) ?? new SharedLink(server, transports);
  shared.set(key, link);
  return link;
}

/** @type {Client|null} */ let here = null;
const home = () => (here ??= new Client());

/** @type {Client['submit']} of the server that this module came from */
export const submit = (...given) => home().submit(...given);
/** @type {Client['cancel']} */
export const cancel = (...given) => home().cancel(...given);
/** @type {Client['subscribe']} */
export const subscribe = (...given) => home().subscribe(...given);

/** @param {Iterable<any>} events in order @returns {Fold} the state they lead to */
export function fold(events) {
  const state = new Fold();
  for (const event of events) state.apply(event);
  return state;
}
