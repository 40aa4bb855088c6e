// One session as a page uses it: what Gradio's page asks for it, and what it is given.

import { untilAnswered } from './again.js';
import { Feed, without } from './feed.js';
import { endless, Presence } from './presence.js';
import { isStrange, jsonResponse, renamedBody, renamedUrl } from './routes.js';

/**
 * @typedef {import('./memory.js').Begun} Begun
 *
 * @typedef {object} Surroundings what all sessions of a page have in common
 * @property {import('../client/index.js').Client} client
 * @property {(input: RequestInfo|URL, init?: RequestInit) => Promise<Response>} fetch the browser's own
 * @property {string} api address of Gradio's API
 * @property {import('./again.js').Clock} clock
 * @property {any} env timers
 * @property {() => string} makeKey
 * @property {() => boolean} leaving whether the page is just being asked whether it may be left
 * @property {() => void} changed how connections are has changed
 */

const KEY = 'X-Penstock-Key';
const RECORDED = 'X-Penstock';

/** One session. */
export class Visit {
  /** calls that wait for a server that is away */ waiting = 0;
  /** the page itself asks for presence */ #beats = false;
  #joining = 0;

  /**
   * @param {Surroundings} around
   * @param {string} name as Gradio's page has it
   * @param {import('./tab.js').Tab|null} tab null: it begins anew with each page
   */
  constructor(around, name, tab) {
    this.around = around;
    this.name = name;
    this.tab = tab;
    /** its name on the server */ this.hash = name;
    this.ready = (tab ? tab.session(name) : Promise.resolve(name)).then((hash) => (this.hash = hash));
    this.feed = new Feed(around.client, {
      ended: (entry, failed) => this.#ended(entry, failed),
      refused: (entry) => this.#refused(entry),
      goesOn: ({ about: { begun } }) => begun !== null && this.tab?.goesOn(begun.fn) === true,
      connections: () => this.#changed(),
      leaving: around.leaving,
    });
    this.presence = new Presence((signal) => this.#beat(signal), around.env);
  }

  /** @param {AbortSignal} signal */
  async #beat(signal) {
    await this.ready;
    const used = this.hash;
    const response = await this.around.fetch(`${this.around.api}heartbeat/${used}`, { signal, cache: 'no-store' });
    if (!(await isStrange(response))) return response;
    this.#renew(used);
    return null;
  }

  /** How its readers' connections are: worst first. @returns {'reconnecting'|'connecting'|'live'|'idle'} */
  get connection() {
    const states = [...this.feed.entries.values()].map(({ subscription }) => subscription?.connection ?? 'connecting');
    if (this.waiting || states.includes('reconnecting')) return 'reconnecting';
    if (states.includes('connecting')) return 'connecting';
    return states.length ? 'live' : 'idle';
  }

  /** whether Gradio's page waits for an event and does not listen */
  get unheard() {
    return this.feed.entries.size > 0 && !this.feed.open;
  }

  /** @returns {Response} */
  heartbeat() {
    this.#beats = true;
    this.#changed();
    return endless();
  }

  /** @param {string} url of Gradio's own @param {RequestInit} init */
  data(url, { signal, ...init }) {
    const used = this.hash;
    return this.feed.answer(() => this.around.fetch(renamedUrl(url, used, this.hash), init), signal);
  }

  /**
   * A request in the session. Where that is not this page's any more, nothing was done: it is made in another one.
   * @param {string} url
   * @param {RequestInit} init
   * @param {Begun|null} [begun] what it asks for
   * @param {(url: string, init: RequestInit) => Promise<Response>} [fetch]
   */
  async ask(url, init, begun = null, fetch = this.around.fetch) {
    const used = this.hash;
    const response = await fetch(url, init);
    if (!(await isStrange(response))) return response;
    if (this.#renew(used)) this.presence.want(false); // the next is that of this one
    this.#changed();
    if (begun) this.tab?.memory.keep(begun);
    return fetch(renamedUrl(url, used, this.hash), { ...init, body: renamedBody(init.body, used, this.hash) });
  }

  // Nothing of another's is read: it begins with nothing.
  /** @param {string} used @returns {boolean} whether it is this call that has begun another */
  #renew(used) {
    if (this.hash !== used) return false;
    this.hash = this.tab ? this.tab.renew() : this.around.makeKey();
    return true;
  }

  /**
   * @param {string} url
   * @param {RequestInit} init its body is text
   * @returns {Promise<Response>}
   */
  async join(url, init) {
    await this.ready;
    const asked = JSON.parse(/** @type {string} */ (init.body));
    const answer = this.tab?.answerTo(asked.fn_index, asked.data);
    if (answer) return answer.begun ? this.#resume(url, init, answer.begun, answer.root) : this.#nothing();
    const fn = this.tab?.originalOf(asked.fn_index) ?? asked.fn_index;
    const body = JSON.stringify({ ...asked, fn_index: fn, session_hash: this.hash });
    const key = this.around.makeKey();
    return this.#send(url, init, body, key, this.tab?.begin({ key, fn, body, data: asked.data ?? [] }) ?? null);
  }

  /**
   * One without the queue. It is made once, whatever comes: nobody knows whether it got through.
   * @param {string} url
   * @param {RequestInit} init its body is text
   */
  async call(url, init) {
    const asked = JSON.parse(/** @type {string} */ (init.body));
    const answer = this.tab?.doubles && this.tab.answerTo(asked.fn_index, null);
    if (answer) return jsonResponse({ data: [] });
    const fn = this.tab?.originalOf(asked.fn_index) ?? asked.fn_index;
    const body = JSON.stringify({ ...asked, fn_index: fn, session_hash: this.hash });
    this.tab?.called(fn, asked.data ?? []);
    const response = await this.ask(url, { ...init, body });
    const { data } = response.ok ? await response.clone().json() : { data: null };
    const spared = this.tab?.spare(fn) ?? [];
    this.tab?.showed(fn, data, spared);
    return data && spared.length ? jsonResponse({ ...(await response.json()), data: without(data, spared) }) : response;
  }

  /** @param {string} url @param {RequestInit} init @param {Begun} begun @param {number} root */
  #resume(url, init, begun, root) {
    if (!begun.id) return this.#send(url, init, /** @type {string} */ (begun.body), begun.key, begun);
    this.feed.add(begun.id, { begun, root }, { folded: true });
    this.#changed();
    return eventIs(begun.id);
  }

  #nothing() {
    const id = this.around.makeKey();
    this.feed.complete(id);
    return eventIs(id);
  }

  /**
   * @param {string} url
   * @param {RequestInit} init
   * @param {string} body
   * @param {string} key the same however often it is sent
   * @param {Begun|null} begun
   */
  async #send(url, init, body, key, begun) {
    const headers = new Headers(init.headers);
    headers.set(KEY, key);
    this.#joining += 1;
    this.#changed();
    try {
      const ask = (/** @type {string} */ to, /** @type {RequestInit} */ how) => this.repeat(to, how);
      return await this.#joined(await this.ask(url, { ...init, headers, body }, begun, ask), begun);
    } catch (error) {
      if (begun) this.tab?.memory.drop(begun);
      throw error;
    } finally {
      this.#joining -= 1;
      this.#changed();
    }
  }

  /** @param {Response} response @param {Begun|null} begun */
  async #joined(response, begun) {
    const recorded = response.ok && response.headers.get(RECORDED) === '1';
    if (recorded) {
      const { event_id: id } = await response.clone().json();
      if (begun) this.tab?.opened(begun, id);
      this.feed.add(id, { begun, root: -1 }, { spared: begun ? this.tab?.spare(begun.fn) : [] });
      return response;
    }
    if (begun) this.tab?.memory.drop(begun);
    if (response.ok) this.feed.passThrough();
    return response;
  }

  /**
   * A request that does no more when it is made twice.
   * @param {string} url
   * @param {RequestInit} init
   */
  repeat(url, init) {
    return this.#untilAnswered(() => this.around.fetch(url, init), init.signal);
  }

  /** @param {string} url @param {RequestInit} init its body is text */
  cancel(url, init) {
    const asked = JSON.parse(/** @type {string} */ (init.body));
    const fn = this.tab?.originalOf(asked.fn_index) ?? asked.fn_index;
    return this.repeat(url, { ...init, body: JSON.stringify({ ...asked, fn_index: fn, session_hash: this.hash }) });
  }

  /** @param {() => Promise<Response>} ask @param {AbortSignal|null} [signal] */
  #untilAnswered(ask, signal) {
    const onAway = (/** @type {boolean} */ away) => {
      this.waiting += away ? 1 : -1;
      this.#changed();
    };
    return untilAnswered(ask, this.around.clock, { signal, onAway });
  }

  /** @param {import('./feed.js').Entry} entry @param {boolean} failed */
  #ended({ about: { begun }, outputs, spared }, failed) {
    if (begun) this.tab?.ended(begun, outputs, failed, spared);
    this.#changed();
  }

  // What an earlier page has begun may be gone by now: then this page has nothing to show for it, and no error either.
  /** @param {import('./feed.js').Entry} entry */
  #refused({ id, folded, about: { begun, root } }) {
    if (!folded || !begun) return false;
    this.tab?.giveUp(root, begun);
    this.feed.complete(id);
    return true;
  }

  #changed() {
    this.presence.want(this.#beats || this.#joining > 0 || this.feed.entries.size > 0);
    this.around.changed();
  }
}

/** @param {string} id @returns {Response} as Gradio answers a call */
const eventIs = (id) => jsonResponse({ event_id: id });
