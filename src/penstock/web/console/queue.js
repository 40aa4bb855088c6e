// The queue: its groups, and in each of them who runs, who waits for how long, and what has failed.

import { h, put } from '../client/dom.js';
import { polling } from './polling.js';
import { GroupView } from './queue-group.js';
import { workersOf } from './queue-words.js';
import { runPath, withQuery } from './router.js';
import { runAgain, setPriority, stop } from './run-acts.js';
import { client, clock, sentence } from './server.js';

const EVERY_MS = 1000;
const RUNS_EVERY_MS = 2000; // of groups that are open
const PAGE = 500; // runs in one answer: the server's bound
const PAGES = 4; // of those that wait: lists come newest first, and who is next stands at their end
const FAILED = 10; // of each function

const HEADS = ['Group', 'Running', 'Waiting', 'A new run', 'Takes', 'Rate', 'Held'];

/** The view. */
export class QueueView {
  title = 'Queue';
  /** @type {{now: () => void, close: () => void}|null} */ #polled = null;
  /** @type {{now: () => void, close: () => void}|null} */ #runsPolled = null;
  /** @type {Map<string, GroupView>} */ #views = new Map();
  /** @type {Map<string, any>} */ #groups = new Map();
  /** @type {Set<string>} */ #open = new Set();

  constructor() {
    this.workers = h('p', { className: 'help' });
    this.said = h('p', { className: 'said', role: 'status' });
    const heads = h('thead', {}, h('tr', {}, ...HEADS.map((text) => h('th', { scope: 'col' }, text))));
    this.table = h('table', { ariaLabel: 'Groups' }, heads);
    this.element = h(
      'div',
      { id: 'queue' },
      h('h1', { className: 'sr' }, 'Queue'),
      this.said,
      this.table,
      this.workers,
    );
  }

  /** @type {import('./queue-group.js').Deeds} */
  #deeds = {
    stop: (run) => this.#do(stop(run)),
    again: (run) => this.#do(runAgain(run)),
    prefer: (run, priority) => this.#do(setPriority(run, priority)),
    opened: (name, open) => this.#opened(name, open),
    now: () => clock.now(),
  };

  show() {
    if (this.#polled) return;
    this.#polled = polling.add({ everyMs: EVERY_MS, load: () => this.#load(), failed: (error) => this.#failed(error) });
    this.#follow();
  }

  hide() {
    this.#polled?.close();
    this.#runsPolled?.close();
    this.#polled = this.#runsPolled = null;
  }

  async #load() {
    const overview = await client.call('api/queue');
    this.#groups = new Map(overview.groups.map((/** @type {any} */ group) => [group.group, group]));
    for (const [name, view] of this.#views) {
      if (this.#groups.has(name)) continue;
      view.element.remove();
      this.#views.delete(name);
      this.#open.delete(name);
    }
    for (const group of overview.groups) this.#viewOf(group.group).show(group);
    put(this.workers, overview.groups.length ? workersOf(overview) : 'No function is registered.');
  }

  /** @param {string} name */
  #viewOf(name) {
    let view = this.#views.get(name);
    if (!view) {
      view = new GroupView(name, this.#deeds);
      this.#views.set(name, view);
      this.table.append(view.element);
    }
    return view;
  }

  /** @param {string} name @param {boolean} open */
  #opened(name, open) {
    if (open) this.#open.add(name);
    else this.#open.delete(name);
    this.#follow();
  }

  #follow() {
    this.#runsPolled?.close();
    this.#runsPolled = null;
    if (!this.#open.size || !this.#polled) return;
    this.#runsPolled = polling.add({ everyMs: RUNS_EVERY_MS, load: () => this.#loadRuns() });
  }

  async #loadRuns() {
    for (const name of this.#open) {
      /** @type {{functions?: string[], waiting?: number}} */
      const { functions = [], waiting = 0 } = this.#groups.get(name) ?? {};
      const running = await listed(functions, { state: 'running', limit: String(PAGE) });
      const failed = await listed(functions, { state: 'failed,interrupted', limit: String(FAILED) });
      const waits = waiting ? await listed(functions, { state: 'queued', limit: String(PAGE) }, PAGES) : [];
      const more = Math.max(0, waiting - waits.length);
      this.#views.get(name)?.showRuns({ running, waiting: waits, failed, more: waits.length < PAGE ? 0 : more });
    }
  }

  /** @param {any} deed */
  async #do(deed) {
    const { text, run, bad = false } = await deed;
    this.said.classList.toggle('error', bad);
    this.said.replaceChildren(text, ...(run ? [' ', h('a', { href: runPath(run) }, run)] : []));
    this.#polled?.now();
    this.#runsPolled?.now();
  }

  /** @param {any} error */
  #failed(error) {
    if (error.status >= 400 && error.status < 500) put(this.said, sentence(error));
  }
}

/** @param {string[]} functions @param {any} query @param {number} [pages] of each, at most */
async function listed(functions, query, pages = 1) {
  const found = await Promise.all(functions.map((name) => listOf({ ...query, function: name }, pages)));
  return found.flat().sort((a, b) => b.created_at_ms - a.created_at_ms);
}

/** @param {any} query @param {number} pages @returns {Promise<any[]>} */
async function listOf(query, pages) {
  const { runs, next } = await client.call(withQuery('api/runs', query));
  return next && pages > 1 ? [...runs, ...(await listOf({ ...query, before: next }, pages - 1))] : runs;
}
