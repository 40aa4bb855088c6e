// That a page is there: one long request, made anew for ever. Gradio's page sees an answer that never ends.

import { backoffMs } from '../client/reconnect.js';

/** Nobody waits for it, and the server counts a page as there for some time after. */
const CAP_MS = 15_000;

/** An answer that lasted so long was a good one. */
const GOOD_MS = 5_000;

/** Keeps a session alive for as long as somebody asks for it. */
export class Presence {
  #wanted = false;
  #suspended = false;
  #attempt = 0;
  /** @type {AbortController|null} */ #abort = null;
  #wake = () => {};

  /**
   * @param {(signal: AbortSignal) => Promise<Response|null>} ask null: it is to be asked in another way the next time
   * @param {{setTimeout: (work: () => void, ms: number) => any, clearTimeout: (timer: any) => void, now: () => number,
   *   random: () => number}} env
   */
  constructor(ask, env) {
    this.ask = ask;
    this.env = env;
  }

  /** @param {boolean} wanted */
  want(wanted) {
    if (this.#wanted === wanted) return;
    this.#wanted = wanted;
    if (wanted) this.#begin();
    else this.#end();
  }

  /** The page goes into the browser's cache, which an open request would keep it out of. */
  suspend() {
    this.#suspended = true;
    this.#end();
  }

  resume() {
    this.#suspended = false;
    if (this.#wanted) this.#begin();
  }

  /** The network is back, or the page was shown: if it waits, it asks now. */
  wake() {
    this.#wake();
  }

  #begin() {
    if (this.#abort || this.#suspended) return;
    this.#abort = new AbortController();
    this.#loop(this.#abort.signal);
  }

  #end() {
    this.#abort?.abort();
    this.#abort = null;
    this.#wake();
  }

  /** @param {AbortSignal} signal */
  async #loop(signal) {
    while (!signal.aborted) {
      const beganMs = this.env.now();
      const refused = await this.#once(signal).catch(() => false);
      if (refused || signal.aborted) return;
      this.#attempt = this.env.now() - beganMs > GOOD_MS ? 0 : this.#attempt + 1;
      await this.#pause(backoffMs(this.#attempt, this.env.random(), CAP_MS));
    }
  }

  /** @param {AbortSignal} signal @returns {Promise<boolean>} whether the server wants none */
  async #once(signal) {
    const response = await this.ask(signal);
    if (!response) return false;
    if (!response.ok)
      return response.status >= 400 && response.status < 500 && ![408, 425, 429].includes(response.status);
    const reader = response.body?.getReader();
    while (reader && !(await reader.read()).done);
    return false;
  }

  /** @param {number} ms */
  #pause(ms) {
    return new Promise((resolve) => {
      const timer = this.env.setTimeout(() => resolve(undefined), ms);
      this.#wake = () => {
        this.env.clearTimeout(timer);
        resolve(undefined);
      };
    });
  }
}

/** @returns {Response} an answer whose body never ends */
export function endless() {
  return new Response(new ReadableStream(), { headers: { 'Content-Type': 'text/event-stream' } });
}
