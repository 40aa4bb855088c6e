// The runs, newest first: live, filtered, as long as one likes to scroll.

import { h, put } from '../client/dom.js';
import { polling } from './polling.js';
import { comparePath, runPath, withQuery } from './router.js';
import { Rows } from './rows.js';
import { runAgain, stop } from './run-acts.js';
import { RunFeed } from './run-feed.js';
import { RunFilters } from './run-filters.js';
import { isLive } from './run-list.js';
import { RunRow, rowHeads } from './run-row.js';
import { client, clock, sentence } from './server.js';

const EVERY_MS = 1000;
const SEARCH_EVERY_MS = 3000; // a search looks through many runs
const SURE_MS = 3000; // within which a key that stops a run is pressed again
const NEAR = 30; // rows above the end at which more are asked for

/** The view. */
export class RunsView {
  title = 'Runs';
  /** @type {{now: () => void, close: () => void}|null} */ #polled = null;
  #fresh = 0;
  #top = 0;
  /** @type {any[]} */ #anchors = [];
  /** @type {string[]} ids, at most two */ #selected = [];
  #active = '';
  #sure = { id: '', untilMs: 0 };
  /** @type {RunFeed} */ #feed = new RunFeed((path) => client.call(path), {
    inSight: () => this.#inSight(),
    before: () => {
      this.#anchors = this.#isScrolled() ? this.#inSight() : [];
    },
    after: (isGap, newest) => this.#taken(isGap, newest),
  });

  constructor() {
    this.bar = new RunFilters((filters) => this.#filter(filters));
    this.said = h('p', { className: 'said', role: 'status' });
    this.fresh = h('button', { type: 'button', className: 'fresh', hidden: true, onclick: () => this.#toTop() });
    this.compare = h('button', { type: 'button', className: 'plain', onclick: () => this.#compare() });
    this.sheet = h('div', { className: 'sheet', role: 'rowgroup' });
    this.end = h('div', { className: 'end' });
    this.grid = h(
      'div',
      { className: 'grid', role: 'grid', ariaLabel: 'Runs', tabIndex: 0 },
      rowHeads(),
      this.sheet,
      this.end,
    );
    const notes = h('div', { className: 'notes' }, this.said, this.compare);
    const top = h('div', { className: 'view-top' }, h('h1', { className: 'sr' }, 'Runs'), this.bar.element, notes);
    this.element = h(
      'div',
      { id: 'runs', className: 'fill' },
      top,
      h('div', { className: 'grid-box' }, this.fresh, this.grid),
    );
    /** @type {import('./run-row.js').Hands} */
    const hands = {
      select: (run) => this.#select(run),
      stop: (run) => this.#stop(run),
      again: (run) => this.#again(run),
      isSelected: (run) => this.#selected.includes(run.run_id),
      now: () => clock.now(),
    };
    this.rows = new Rows(
      this.grid,
      this.sheet,
      () => new RunRow(hands),
      (run) => run.run_id,
    );
    this.#listen();
  }

  #listen() {
    this.rows.drawn = () => this.#drawn();
    this.grid.addEventListener('keydown', (event) => this.#key(event));
    this.grid.addEventListener('focus', () => this.#active || this.#activate(this.#inSight()[0]?.run_id ?? ''));
    this.sheet.addEventListener('pointerdown', (event) => {
      const row = /** @type {HTMLElement} */ (event.target).closest('.row');
      if (row) this.#activate(row.id.replace('row-', ''));
    });
  }

  get shortcuts() {
    /** @param {(run: any) => void} act */
    const on = (act) => (/** @type {KeyboardEvent|undefined} */ event) => {
      if (event?.repeat) return; // a key that is held is not pressed twice
      const run = this.#feed.list.get(this.#active);
      if (run) act(run);
    };
    return [
      { keys: 'j', does: 'Next run', act: () => this.#move(1) },
      { keys: 'k', does: 'Run before', act: () => this.#move(-1) },
      { keys: 'o', does: 'Open (Enter in the list)', act: on((run) => this.#open(run)) },
      { keys: 'x', does: 'Select, to compare two', act: on((run) => this.#select(run)) },
      { keys: '=', does: 'Compare the two selected', act: () => this.#compare() },
      { keys: 'c', does: 'Stop it: press twice', act: on((run) => this.#stopIfSure(run)) },
      { keys: 'r', does: 'Run it again', act: on((run) => this.#again(run)) },
      { keys: 'n', does: 'To the newest', act: () => this.#toTop() },
    ];
  }

  show({ function: name = '', state = '', q = '' }) {
    const filters = { function: name, state, q };
    const same = JSON.stringify(filters) === JSON.stringify(this.#feed.filters);
    if (!same) this.#begin(filters);
    this.bar.set(filters);
    if (this.#polled && same) return;
    this.#polled?.close();
    const everyMs = q ? SEARCH_EVERY_MS : EVERY_MS;
    this.#polled = polling.add({ everyMs, load: () => this.#feed.load(), failed: (error) => this.#failed(error) });
    this.rows.setAround(this.#feed.list.runs, 0);
    this.grid.scrollTop = this.#top; // what is out of the page forgets it
  }

  hide() {
    this.#top = this.grid.scrollTop;
    this.#polled?.close();
    this.#polled = null;
  }

  /** @param {number} nowMs */
  tick(nowMs) {
    for (const row of this.rows.views()) /** @type {RunRow} */ (row).tick(nowMs);
  }

  // ---- what is listed

  /** @param {any} filters */
  #begin(filters) {
    this.#feed.begin(filters);
    this.#fresh = this.#top = 0;
    this.grid.scrollTop = 0;
    this.#say({ text: '' });
    this.rows.set([]);
  }

  /** @param {any} filters */
  #filter(filters) {
    if (!this.element.isConnected) return; // left while the last key waited
    history.replaceState(null, '', withQuery('#/runs', filters));
    this.show(filters);
  }

  /** @returns {any[]} */
  #inSight() {
    const first = Math.max(0, Math.ceil((this.grid.scrollTop - this.sheet.offsetTop) / this.rows.rowHeight));
    return this.#feed.list.runs.slice(first, this.rows.last);
  }

  #isScrolled() {
    return this.grid.scrollTop > this.rows.rowHeight / 2;
  }

  // What a person reads stays where it is, whatever comes above it.
  /** @param {any} isGap @param {any} newest */
  #taken(isGap, newest) {
    const { list } = this.#feed;
    const place = this.#anchors.findIndex((run) => list.indexOf(run.run_id) >= 0);
    const before = this.rows.items.indexOf(this.#anchors[place]);
    const by = place < 0 ? 0 : list.indexOf(this.#anchors[place].run_id) - before;
    if (isGap && this.#anchors.length) this.#say({ text: 'So many runs have come that the list begins anew.' });
    this.#fresh = this.#anchors.length && !isGap ? this.#fresh + Math.max(0, list.indexOf(newest)) : 0;
    this.rows.setAround(list.runs, by);
  }

  #drawn() {
    const { list, loadingOlder } = this.#feed;
    if (!this.#isScrolled()) this.#fresh = 0;
    this.#mark(); // rows are other runs' now
    this.fresh.hidden = this.#fresh === 0;
    put(this.fresh, `${this.#fresh} new`);
    this.grid.ariaRowCount = String(list.next === null ? list.runs.length + 1 : -1);
    this.#drawEnd();
    if (list.next && !loadingOlder && this.rows.last > list.runs.length - NEAR) this.#older();
  }

  #drawEnd() {
    const { list, filters } = this.#feed;
    const any = filters.function || filters.state || filters.q;
    if (list.next === undefined) put(this.end, 'Loading…');
    else if (list.next) put(this.end, filters.q ? 'Searching older runs…' : 'Loading older runs…');
    else if (list.isFull) put(this.end, 'More are not listed: filter, or search.');
    else put(this.end, list.runs.length ? '' : any ? 'No run is like this.' : 'No runs yet.');
  }

  async #older() {
    try {
      if (await this.#feed.older()) this.rows.set(this.#feed.list.runs);
    } catch (caught) {
      const error = /** @type {any} */ (caught);
      if (error.status === undefined) throw error;
      this.#say({ text: sentence(error), bad: true });
      // The run at the end may have been deleted: the server then knows no place to go on from.
      if (error.status === 400) this.#feed.begin({ ...this.#feed.filters });
    }
  }

  /** @param {any} error */
  #failed(error) {
    if (error.status >= 400 && error.status < 500) this.#say({ text: sentence(error), bad: true });
  }

  #toTop() {
    this.grid.scrollTop = 0;
    this.rows.draw();
  }

  // ---- the row that keys act on

  /** @param {any} by */
  #move(by) {
    const { runs } = this.#feed.list;
    const at = this.#feed.list.indexOf(this.#active);
    const start = at < 0 ? this.#feed.list.indexOf(this.#inSight()[0]?.run_id) - (by > 0 ? 1 : 0) : at;
    const index = Math.min(runs.length - 1, Math.max(0, start + by));
    if (!runs[index]) return;
    this.rows.reveal(index);
    this.rows.drawNow();
    this.#activate(runs[index].run_id);
    this.grid.focus({ preventScroll: true });
  }

  /** @param {string} id */
  #activate(id) {
    this.#active = id;
    this.grid.setAttribute('aria-activedescendant', `row-${id}`);
    this.#mark();
  }

  #mark() {
    for (const { element } of this.rows.views())
      element.classList.toggle('active', element.id === `row-${this.#active}`);
  }

  /** @param {any} event */
  #key(event) {
    const page = Math.max(1, Math.floor(this.grid.clientHeight / this.rows.rowHeight) - 2);
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.target !== this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) this.#move(steps[event.key]);
    else if (event.key === 'Enter') this.#open(this.#feed.list.get(this.#active));
    else if (event.key === ' ') this.#select(this.#feed.list.get(this.#active));
    else return;
    event.preventDefault();
  }

  // ---- what is done

  /** @param {any} run */
  #open(run) {
    if (run) location.hash = runPath(run.run_id);
  }

  /** @param {any} run */
  #select(run) {
    if (!run) return;
    const { run_id: id } = run;
    const isOn = this.#selected.includes(id);
    this.#selected = isOn ? this.#selected.filter((one) => one !== id) : [...this.#selected, id].slice(-2);
    put(
      this.compare,
      this.#selected.length === 2 ? 'Compare the two' : this.#selected.length ? 'Select one more to compare' : '',
    );
    this.compare.disabled = this.#selected.length < 2;
    this.rows.draw();
  }

  #compare() {
    if (this.#selected.length === 2) location.hash = comparePath(this.#selected[0], this.#selected[1]);
  }

  /** @param {any} run */
  #stopIfSure(run) {
    if (!isLive(run.state)) return;
    const sure = this.#sure.id === run.run_id && performance.now() < this.#sure.untilMs;
    this.#sure = { id: run.run_id, untilMs: performance.now() + SURE_MS };
    if (sure) this.#stop(run);
    else this.#say({ text: 'Press c once more to stop', run: run.run_id });
  }

  /** @param {any} run */
  async #stop(run) {
    this.#say(await stop(run));
    this.#polled?.now();
  }

  /** @param {any} run */
  async #again(run) {
    this.#say(await runAgain(run));
    this.#polled?.now();
  }

  /** @param {import('./run-acts.js').Told} told */
  #say({ text, run, bad = false }) {
    this.said.classList.toggle('error', bad);
    this.said.replaceChildren(text, ...(run ? [' ', h('a', { href: runPath(run) }, run)] : []));
  }
}
