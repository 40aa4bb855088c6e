// The page's `fetch`, with ours before it: Gradio's page goes on using it, and does not know.

import { renamedBody, renamedUrl, sessionIn } from './routes.js';
import { Visit } from './visit.js';

/**
 * @typedef {import('./routes.js').Kind} Kind
 * @typedef {import('./visit.js').Surroundings} Surroundings
 * @typedef {{url: string, init: RequestInit, visit: Visit}} Asked a request, in the server's words
 */

/** @type {Record<Exclude<Kind, 'config'>, (asked: Asked) => Promise<Response>|Response>} */
const ACTS = {
  data: ({ url, init, visit }) => visit.data(url, init),
  join: ({ url, init, visit }) => visit.join(url, init),
  call: ({ url, init, visit }) => visit.call(url, init),
  heartbeat: ({ visit }) => visit.heartbeat(),
  cancel: ({ url, init, visit }) => visit.cancel(url, init),
  repeatable: ({ url, init, visit }) => visit.repeat(url, init),
  other: ({ url, init, visit }) => visit.ask(url, init),
};

/**
 * Gradio's page ends its stream before it is asked whether it may be left, and may then stay, or come back from the browser's
 * cache. Its reader looks at the Request's signal once it has the answer: there it finds one that never says so. We hear it.
 * @param {RequestInfo|URL} input
 */
function shield(input) {
  if (input instanceof Request) Object.defineProperty(input, 'signal', { value: new AbortController().signal });
}

/** What is in them is looked at. @type {Kind[]} */
const READ = ['join', 'call', 'cancel'];

/**
 * An address and its options. Gradio's page asks for streams with a Request, and with nothing else.
 * @param {RequestInfo|URL} input
 * @param {RequestInit} [init]
 * @returns {{url: URL, init: RequestInit}|null} null where it can't be had: the body of a Request is not at hand
 */
function plainly(input, init = {}) {
  if (!(input instanceof Request)) return { url: new URL(input, globalThis.document?.baseURI), init };
  const { url, method, headers, signal, credentials, cache } = input;
  if (method !== 'GET') return null;
  return { url: new URL(url), init: { method, headers, signal, credentials, cache, ...init } };
}

/** Takes a page's requests. */
export class Wrap {
  /** @type {Map<string, Visit>} by Gradio's name for the session */ visits = new Map();

  /**
   * @param {import('./routes.js').Routes} routes
   * @param {Surroundings} around
   * @param {import('./tab.js').Tab|null} tab of the page's own session, which is the first that it names
   * @param {(response: Response) => Promise<Response>} onConfig
   */
  constructor(routes, around, tab, onConfig) {
    this.routes = routes;
    this.around = around;
    this.tab = tab;
    this.onConfig = onConfig;
  }

  /**
   * @param {RequestInfo|URL} input
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  async fetch(input, init) {
    const asked = plainly(input, init);
    const kind = asked && this.#kindOf(asked);
    if (!asked || !kind) return this.around.fetch(input, init);
    const { url } = asked;
    if (kind === 'config') return this.onConfig(await this.around.fetch(url.href, asked.init));
    const name = sessionIn(url, asked.init.body);
    if (!name && kind !== 'repeatable') return this.around.fetch(url.href, asked.init);
    const visit = this.#visit(name);
    await visit.ready;
    if (kind === 'data') shield(input);
    const renamed = {
      url: renamedUrl(url.href, visit.name, visit.hash),
      init: this.#renamed(asked.init, visit),
      visit,
    };
    return ACTS[kind](renamed);
  }

  /** @param {{url: URL, init: RequestInit}} asked */
  #kindOf({ url, init: { method = 'GET', body } }) {
    const kind = this.routes.kindOf(url, method.toUpperCase());
    return kind && READ.includes(kind) && typeof body !== 'string' ? null : kind;
  }

  /** @param {RequestInit} init @param {Visit} visit @returns {RequestInit} */
  #renamed(init, { name, hash }) {
    return init.body ? { ...init, body: renamedBody(init.body, name, hash) } : init;
  }

  // An upload names no session: it is as good as any.
  /** @param {string} name */
  #visit(name) {
    const [first] = this.visits.values();
    let visit = name ? this.visits.get(name) : first;
    if (visit) return visit;
    visit = new Visit(this.around, name, name && !first ? this.tab : null);
    if (name) this.visits.set(name, visit);
    return visit;
  }
}
