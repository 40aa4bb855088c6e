// The client's face: submit a run, subscribe to its events, cancel it, fold events to a state.

import { Fold } from './fold.js';
import { call as callServer, submit as submitTo } from './api.js';
import { Subscription } from './subscription.js';

export { Fold } from './fold.js';
export { PenstockError } from './errors.js';

/**
 * @typedef {import('./subscription.js').Subscription} SubscriptionType
 * @typedef {import('./subscription.js').SubscribeOptions} SubscribeOptions
 * @typedef {import('./events.js').StreamEvent} StreamEvent
 * @typedef {import('./events.js').Status} Status
 */

/** One server, as one page sees it. */
export class Client {
  /**
   * @param {{base?: string}} options `base`: address of the server's root, with its mount prefix; where this module came from
   */
  constructor({ base = new URL('../../', import.meta.url).href } = {}) {
    this.base = base.endsWith('/') ? base : `${base}/`;
  }

  /**
   * GET, or POST where there is a body.
   * @param {string} path @param {object} [body]
   * @returns {Promise<any>}
   */
  call(path, body) {
    return callServer(this.base, path, body);
  }

  /**
   * Start a run.
   * @param {string} name of the function
   * @param {object} [input] one member per parameter
   * @param {{key?: string, session?: string}} [options]
   * @returns {Promise<import('./events.js').Submitted>}
   */
  submit(name, input = {}, options = {}) {
    return submitTo(this.base, name, input, options);
  }

  /** @param {string} run its id @returns {Promise<import('./events.js').Cancelled>} the receipt */
  cancel(run) {
    return this.call(`api/runs/${encodeURIComponent(run)}/cancel`, {});
  }

  /** @param {string} run its id @param {SubscribeOptions} [options] @returns {Subscription} */
  subscribe(run, options = {}) {
    return new Subscription(this, run, options);
  }
}

const here = new Client();

export const submit = here.submit.bind(here);
export const cancel = here.cancel.bind(here);
export const subscribe = here.subscribe.bind(here);

/** @param {Iterable<any>} events in order @returns {Fold} the state they lead to */
export function fold(events) {
  const state = new Fold();
  for (const event of events) state.apply(event);
  return state;
}
