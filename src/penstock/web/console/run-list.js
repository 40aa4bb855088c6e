// The runs that a list holds, newest first, put together from pages. Pure.

/** Runs kept: a person who scrolls further than this searches. Each has about 1 KB. */
export const KEPT_RUNS = 20_000;

/**
 * @typedef {Record<string, any> & {run_id: string, function: string, state: string, created_at_ms: number}} Run
 * @typedef {{runs: Run[], next: string|null}} Page
 */

/** What came between two looks. */
export class RunList {
  /** @type {Run[]} newest first */ runs = [];
  /** @type {string|null|undefined} continues the list; null at its end, undefined before the first page */ next =
    undefined;
  /** @type {Map<string, number>} */ #places = new Map();

  /** @param {string} id @returns {number} where it stands; -1 if it does not */
  indexOf(id) {
    return this.#places.get(id) ?? -1;
  }

  /** @param {string} id @returns {Run | undefined} */
  get(id) {
    return this.runs[this.indexOf(id)];
  }

  /** @param {Page} page of the newest @returns {boolean} whether there may be runs between it and what is held */
  misses({ runs, next }) {
    if (next === null || this.runs.length === 0 || runs.length === 0) return false;
    return (
      !runs.some(({ run_id: id }) => this.#places.has(id)) &&
      runs[runs.length - 1].created_at_ms > this.runs[0].created_at_ms
    );
  }

  /**
   * The newest page has come, again perhaps.
   * @param {Page} page
   * @returns {{isGap: boolean}} `isGap`: what is held is older than the whole page, and what lies between is not known
   */
  takeNewest({ runs, next }) {
    const isGap = this.misses({ runs, next });
    const isAll = next === null || isGap || this.next === undefined;
    const rest = isAll ? [] : this.#after(runs);
    if (isAll) this.next = next;
    this.#put([...runs.map((run) => this.#kept(run)), ...rest]);
    return { isGap };
  }

  /**
   * What follows has come.
   * @param {Page} page
   */
  takeOlder({ runs, next }) {
    this.next = next;
    this.#put([...this.runs, ...runs.filter(({ run_id: id }) => !this.#places.has(id))]);
  }

  /**
   * Single runs have come; those that are not held are passed over.
   * @param {Run[]} runs
   */
  takeSome(runs) {
    for (const run of runs) {
      const place = this.indexOf(run.run_id);
      if (place >= 0) this.runs[place] = this.#kept(run);
    }
  }

  /**
   * Runs that are to be shown no more.
   * @param {(run: Run) => boolean} stays
   */
  keep(stays) {
    if (!this.runs.every(stays)) this.#put(this.runs.filter(stays));
  }

  /** As many are held as may be: what is older is not listed. */
  get isFull() {
    return this.runs.length >= KEPT_RUNS;
  }

  /** Begin anew. */
  clear() {
    this.next = undefined;
    this.#put([]);
  }

  // What is held and older than a page. A run of the page's own time that it does not have is no longer listed.
  /** @param {Run[]} runs */
  #after(runs) {
    if (runs.length === 0) return this.runs;
    const last = runs[runs.length - 1];
    const place = this.indexOf(last.run_id);
    if (place >= 0) return this.runs.slice(place + 1);
    const ids = new Set(runs.map((run) => run.run_id));
    return this.runs.filter((run) => run.created_at_ms <= last.created_at_ms && !ids.has(run.run_id));
  }

  // The same object while nothing has changed, so that who draws it can see that.
  /** @param {Run} run @returns {Run} */
  #kept(run) {
    const before = this.get(run.run_id);
    return before && JSON.stringify(before) === JSON.stringify(run) ? before : run;
  }

  /** @param {Run[]} runs */
  #put(runs) {
    this.runs = runs.slice(0, KEPT_RUNS);
    if (this.isFull) this.next = null;
    this.#places = new Map(this.runs.map(({ run_id: id }, place) => [id, place]));
  }
}

/** @param {string} state @returns {boolean} whether something may still come */
export const isLive = (state) => state === 'queued' || state === 'running';

/**
 * Whether a run belongs to a list. A text is the server's business.
 * @param {Run} run @param {{function?: string, state?: string}} filters
 */
export function matches(run, filters) {
  if (filters.function && run.function !== filters.function) return false;
  return !filters.state || filters.state.split(',').includes(run.state);
}
