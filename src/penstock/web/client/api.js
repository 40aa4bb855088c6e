// The HTTP calls to one server, and who makes them.

import { PenstockError } from './errors.js';

/** How far the server's clock is ahead of ours, in milliseconds; under 2 s it is the header's coarseness. */
export const clock = { skewMs: 0, now: () => Date.now() + clock.skewMs };

/** Attempts to submit: about 15 s, by when a server that restarts is back. */
const SUBMIT_ATTEMPTS = 6;

/** Kinds of answers that say that a proxy, or the server's end, was met: not this request's fault. */
const AWAY = [0, 502, 504];

/**
 * Who asks: a token, or what gives one. Told which one was refused, it gives a fresh one, or null if there is none.
 * @typedef {string | null | ((refused: string | null) => string | null | Promise<string | null>)} Token
 */

/** One server, by its address. */
export class Server {
  /** @type {string|null|undefined} */ #token;
  /** @type {Promise<string|null> | null} */ #renewal = null;

  /**
   * @param {string} base its root, with the mount prefix and a slash at the end
   * @param {Token} [source]
   * @param {typeof fetch} [fetcher]
   */
  constructor(base, source = null, fetcher = (...given) => fetch(...given)) {
    this.base = base;
    this.source = source;
    this.fetch = fetcher;
  }

  /** @returns {boolean} whether another token can be had when one is refused */
  get renews() {
    return typeof this.source === 'function';
  }

  /** @returns {Promise<Record<string, string>>} headers that say who asks */
  async headers() {
    if (this.#token === undefined) await this.renew(null);
    return this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
  }

  /**
   * Get a fresh token. Asked for by several at once, or for one that has been replaced by now, it is one.
   * @param {string|null} [refused]
   */
  async renew(refused = this.#token ?? null) {
    const { source } = this;
    if (refused !== (this.#token ?? null)) return;
    if (typeof source !== 'function') this.#token = source;
    else this.#token = await (this.#renewal ??= Promise.resolve(source(refused)).finally(() => (this.#renewal = null)));
  }

  /**
   * GET, or POST where there is a body.
   * @param {string} path under the base
   * @param {object} [body]
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   * @throws {PenstockError} for any answer but a success; status 0: no answer
   */
  async call(path, body, signal) {
    const token = this.#token;
    let response = await this.#ask(path, body, signal);
    if (response.status === 401 && this.renews) {
      await this.renew(token);
      response = await this.#ask(path, body, signal);
    }
    const answer = response.status === 204 ? {} : await response.json().catch((error) => unread(error, signal));
    if (!response.ok) throw refusal(response, answer.error);
    return answer;
  }

  /** @param {string} path @param {object} [body] @param {AbortSignal} [signal] */
  async #ask(path, body, signal) {
    /** @type {RequestInit} */
    const request = { headers: await this.headers(), signal };
    if (body) {
      const headers = { ...request.headers, 'Content-Type': 'application/json' };
      Object.assign(request, { method: 'POST', body: JSON.stringify(body), headers });
    }
    const response = await this.fetch(this.base + path, request).catch((error) => lost(error, signal));
    const skewMs = Date.parse(response.headers.get('Date') ?? '') - Date.now();
    clock.skewMs = Math.abs(skewMs) > 2000 ? skewMs : 0;
    return response;
  }

  /**
   * Start a run. Tries again while the server is away; the key makes that one run, whatever got through.
   * @param {string} name of the function
   * @param {object} input
   * @param {{key?: string, session?: string}} [options]
   * @returns {Promise<import('./events.js').Submitted>}
   */
  async submit(name, input, options = {}) {
    const { key = randomKey(), session } = options;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.call('api/runs', { function: name, input, key, session });
      } catch (error) {
        if (!isAway(error) || attempt === SUBMIT_ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt * (0.5 + Math.random() / 2)));
      }
    }
  }
}

/** @param {Response} response @param {object} [error] as the server said it */
export function refusal(response, error) {
  const seconds = Number(response.headers.get('Retry-After'));
  return new PenstockError(response.status, error, seconds > 0 ? seconds * 1000 : 0);
}

/** @param {unknown} error @param {AbortSignal} [signal] @returns {never} */
function lost(error, signal) {
  if (signal?.aborted) throw error;
  throw new PenstockError(0, { code: 'no_answer', message: 'The server does not answer.', hint: 'Is it running?' });
}

// What came whole and is no JSON is a proxy's page; what broke off in its middle is no answer.
/** @param {unknown} error @param {AbortSignal} [signal] */
const unread = (error, signal) => (error instanceof SyntaxError ? {} : lost(error, signal));

/** @param {unknown} error @returns {boolean} whether asking again may help */
export function isAway(error) {
  return error instanceof PenstockError && (AWAY.includes(error.status) || error.code === 'server_closing');
}

function randomKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('-');
}
