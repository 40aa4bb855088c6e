// Where a list of runs comes from: the newest page again and again, what is live and in sight, and older pages when
// somebody scrolls there.

import { RunList, isLive, matches } from './run-list.js';
import { withQuery } from './router.js';

const NEWEST = 50; // runs in the page that is asked for again and again: two screens
const OLDER = 200; // in one that is scrolled to
const CATCH_UP = 500,
  CATCH_UPS = 4; // pages between two looks, after a sleep perhaps; then the list begins anew
const FOLLOWED = 100; // ids in one question: the server's bound

/**
 * @typedef {object} Reader
 * @property {() => any[]} inSight runs
 * @property {() => void} before the list changes
 * @property {(isGap: boolean, newest: string|undefined) => void} after `newest`: the first run of before
 */

/** A list and its filters. */
export class RunFeed {
  list = new RunList();
  filters = { function: '', state: '', q: '' };
  loadingOlder = false;

  /** @param {(path: string) => Promise<any>} call @param {Reader} reader */
  constructor(call, reader) {
    this.call = call;
    this.reader = reader;
  }

  /**
   * Begin anew, with other filters.
   * @param {{function: string, state: string, q: string}} filters
   */
  begin(filters) {
    this.filters = filters;
    this.list.clear();
    this.loadingOlder = false;
  }

  /** Look at what is new. Rejects with what the server said. */
  async load() {
    const { filters } = this;
    const page = await this.#page(filters, { limit: String(NEWEST) });
    for (let count = 0; count < CATCH_UPS && this.list.misses(page); count += 1) {
      const { runs, next } = await this.#page(filters, { limit: String(CATCH_UP), before: page.next });
      Object.assign(page, { runs: [...page.runs, ...runs], next });
    }
    const ids = this.#followed(page).join(',');
    const followed = ids ? await this.#page({}, { ids, limit: String(FOLLOWED) }) : { runs: [] };
    if (filters === this.filters) this.#take(page, followed.runs);
  }

  /**
   * Look at what is older than all that is held.
   * @returns {Promise<boolean>} whether there was anything to ask for
   */
  async older() {
    const { filters, list } = this;
    if (this.loadingOlder || !list.next) return false;
    this.loadingOlder = true;
    try {
      const page = await this.#page(filters, { limit: String(OLDER), before: list.next });
      if (filters === this.filters) list.takeOlder(page);
    } finally {
      if (filters === this.filters) this.loadingOlder = false;
    }
    return true;
  }

  /** @param {any} filters @param {any} more */
  #page(filters, more) {
    return this.call(withQuery('api/runs', { ...filters, ...more }));
  }

  // The live runs in sight that the newest page says nothing of.
  /** @param {any} given */
  #followed({ runs }) {
    const told = new Set(runs.map((/** @type {any} */ run) => run.run_id));
    const seen = this.reader.inSight().filter((run) => isLive(run.state) && !told.has(run.run_id));
    return seen.slice(0, FOLLOWED).map((run) => run.run_id);
  }

  /** @param {any} page @param {any} followed */
  #take(page, followed) {
    const newest = this.list.runs[0]?.run_id;
    this.reader.before();
    const { isGap } = this.list.takeNewest(page);
    this.list.takeSome(followed);
    this.list.keep((run) => matches(run, this.filters));
    this.reader.after(isGap, newest);
  }
}
