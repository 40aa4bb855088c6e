// When to ask the server again: for all views in one place. Nothing while nobody looks, less while it is away.

import { backoffMs } from '../client/reconnect.js';

/** Answers that say "not here, not now": no use in asking at the same pace. */
const AWAY = [0, 429, 500, 502, 503, 504];

/** After a refusal, which asking again is not likely to change: a new token, perhaps. */
const REFUSED_MS = 15_000;

const BROWSER = {
  now: () => Date.now(),
  random: Math.random,
  hidden: () => document.hidden,
  /** @type {(act: () => void, ms: number) => any} */
  setTimeout: (act, ms) => setTimeout(act, ms),
  /** @type {(timer: any) => void} */
  clearTimeout: (timer) => clearTimeout(timer),
};

/**
 * @typedef {object} Job
 * @property {number} everyMs from the beginning of one time to that of the next
 * @property {() => Promise<void>} load asks, and shows; rejects with what went wrong
 * @property {(error: any) => void} [failed] is told so
 */

/** All that is asked again and again. `change` is called when `state` has changed. */
export class Polling {
  /** @type {'idle'|'connecting'|'live'|'reconnecting'} */ state = 'idle';
  change = () => {};
  /** @type {Set<any>} */ #jobs = new Set();
  #failures = 0;

  /** @param {typeof BROWSER} [env] */
  constructor(env = BROWSER) {
    this.env = env;
  }

  /**
   * Ask now, and again and again. Never twice at once.
   * @param {Job} job
   * @returns {{now: () => void, close: () => void}} `now`: don't wait for the next time
   */
  add(job) {
    const task = { job, timer: 0, busy: false, again: false, closed: false, dueMs: 0 };
    this.#jobs.add(task);
    if (this.state === 'idle') this.#set('connecting');
    this.#start(task);
    return { now: () => this.#start(task), close: () => this.#close(task) };
  }

  /** The tab was shown, the network is back: look at once. */
  wake() {
    if (this.env.hidden()) return;
    this.#failures = 0;
    for (const task of this.#jobs) if (this.state !== 'live' || this.env.now() >= task.dueMs) this.#start(task);
  }

  /** @param {any} task */
  #close(task) {
    task.closed = true;
    this.env.clearTimeout(task.timer);
    this.#jobs.delete(task);
    if (this.#jobs.size === 0) this.#set('idle');
  }

  /** @param {any} task */
  async #start(task) {
    this.env.clearTimeout(task.timer);
    task.again ||= task.busy;
    if (task.busy || task.closed) return;
    if (this.env.hidden() && this.state !== 'connecting') return; // `wake` begins again
    task.busy = true;
    const startedMs = this.env.now();
    const waitMs = await this.#ask(task).catch(faulty);
    task.busy = false;
    if (task.closed) return;
    const again = task.again && waitMs === null;
    task.again = false;
    task.dueMs = again ? 0 : waitMs === null ? startedMs + task.job.everyMs : this.env.now() + waitMs;
    task.timer = this.env.setTimeout(() => this.#start(task), Math.max(0, task.dueMs - this.env.now()));
  }

  // How long to wait after a failure; null after a success.
  /** @param {any} task */
  async #ask(task) {
    try {
      await task.job.load();
    } catch (caught) {
      const error = /** @type {any} */ (caught);
      if (error?.status === undefined) throw error;
      return task.closed ? 0 : this.#failed(task, error);
    }
    this.#failures = 0;
    const back = this.state === 'reconnecting';
    if (!task.closed) this.#set('live');
    if (back) for (const other of this.#jobs) if (other !== task) this.#start(other);
    return null;
  }

  /** @param {any} task @param {any} error */
  #failed(task, error) {
    task.job.failed?.(error);
    const away = AWAY.includes(error.status);
    this.#set(away ? 'reconnecting' : 'live'); // who refuses is there
    if (!away) return REFUSED_MS;
    return Math.max(error.retryAfterMs ?? 0, backoffMs(this.#failures++, this.env.random()));
  }

  /** @param {Polling['state']} state */
  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.change();
  }
}

/** The page's own. */
export const polling = new Polling();

// A fault of ours, or an answer that is none of the server's: said where developers look, and asked again.
/** @param {unknown} fault @returns {number} */
function faulty(fault) {
  globalThis.reportError?.(fault);
  return REFUSED_MS;
}
