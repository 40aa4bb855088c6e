// The runs, newest first: live, filtered, as long as one likes to scroll.

import { h, put } from '../client/dom.js';
import { polling } from './polling.js';
import { comparePath, runPath, withQuery } from './router.js';
import { Rows } from './rows.js';
import { runAgain, stop } from './run-acts.js';
import { RunFilters } from './run-filters.js';
import { RunList, isLive, matches } from './run-list.js';
import { RunRow, rowHeads } from './run-row.js';
import { client, clock, sentence } from './server.js';

const NEWEST = 50; // runs in the page that is asked for again and again: two screens
const OLDER = 200; // in one that is scrolled to
const CATCH_UP = 500, CATCH_UPS = 4; // pages between two looks, after a sleep perhaps; then the list begins anew
const FOLLOWED = 100; // ids in one question
const EVERY_MS = 1000;
const SEARCH_EVERY_MS = 3000; // a search looks through many runs
const SURE_MS = 3000; // within which a key that stops a run is pressed again
const NEAR = 30; // rows above the end at which more are asked for

/** The view. */
export class RunsView {
  title = 'Runs';
  #list = new RunList();
  #filters = { function: '', state: '', q: '' };
  #shown = false;
  #polled = null;
  #older = false;
  #fresh = 0;
  /** @type {string[]} ids, at most two */ #selected = [];
  #active = '';
  #sure = { id: '', untilMs: 0 };

  constructor() {
    this.bar = new RunFilters((filters) => this.#filter(filters));
    this.said = h('p', { className: 'said', role: 'status' });
    this.fresh = h('button', { type: 'button', className: 'fresh', hidden: true, onclick: () => this.#toTop() });
    this.compare = h('button', { type: 'button', className: 'plain', hidden: true, onclick: () => this.#compare() });
    this.sheet = h('div', { className: 'sheet', role: 'rowgroup' });
    this.end = h('div', { className: 'end' });
    this.grid = h('div', { className: 'grid', role: 'grid', ariaLabel: 'Runs', tabIndex: 0 }, rowHeads(), this.sheet, this.end);
    const top = h('div', { className: 'view-top' }, h('h1', { className: 'sr' }, 'Runs'), this.bar.element, this.said, this.compare);
    this.element = h('div', { id: 'runs', className: 'fill' }, top, h('div', { className: 'grid-box' }, this.fresh, this.grid));
    this.rows = new Rows(this.grid, this.sheet, () => new RunRow(this.#hands), (run) => run.run_id);
    this.rows.drawn = () => this.#drawn();
    this.grid.addEventListener('keydown', (event) => this.#key(event));
    this.sheet.addEventListener('pointerdown', (event) => this.#point(event));
  }

  #hands = {
    select: (run) => this.#select(run),
    stop: (run) => this.#stop(run),
    again: (run) => this.#again(run),
    isSelected: (run) => this.#selected.includes(run.run_id),
    now: () => clock.now(),
  };

  get shortcuts() {
    const on = (act) => () => this.#list.get(this.#active) && act(this.#list.get(this.#active));
    return [
      { keys: 'j', does: 'Next run', act: () => this.#move(1) },
      { keys: 'k', does: 'Run before', act: () => this.#move(-1) },
      { keys: 'Enter', does: 'Open', act: on((run) => { location.hash = runPath(run.run_id); }) },
      { keys: 'x', does: 'Select, to compare two', act: on((run) => this.#select(run)) },
      { keys: '=', does: 'Compare the two selected', act: () => this.#compare() },
      { keys: 'c', does: 'Stop it (press twice)', act: on((run) => this.#stopIfSure(run)) },
      { keys: 'r', does: 'Run it again', act: on((run) => this.#again(run)) },
      { keys: 'n', does: 'To the newest', act: () => this.#toTop() },
    ];
  }

  show(params) {
    const { function: name = '', state = '', q = '' } = params;
    const changed = JSON.stringify(this.#filters) !== JSON.stringify({ function: name, state, q });
    this.#filters = { function: name, state, q };
    this.bar.set(this.#filters);
    if (changed) this.#begin();
    this.#shown = true;
    if (this.#polled && !changed) return;
    this.#polled?.close();
    const filters = this.#filters;
    this.#polled = polling.add({
      everyMs: q ? SEARCH_EVERY_MS : EVERY_MS, load: () => this.#load(filters), failed: (error) => this.#failed(error),
    });
    this.rows.draw();
  }

  hide() {
    this.#shown = false;
    this.#polled?.close();
    this.#polled = null;
  }

  tick(nowMs) {
    for (const row of this.rows.views()) row.tick(nowMs);
  }

  // ---- what is asked for

  #begin() {
    this.#list.clear();
    this.#fresh = 0;
    this.#older = false;
    this.grid.scrollTop = 0;
    this.#say('');
    this.rows.set([]);
  }

  #filter(filters) {
    history.replaceState(null, '', withQuery('#/runs', filters));
    this.show(filters);
  }

  async #page(filters, more) {
    return client.call(withQuery('api/runs', { ...filters, ...more }));
  }

  async #load(filters) {
    const page = await this.#page(filters, { limit: String(NEWEST) });
    for (let count = 0; count < CATCH_UPS && this.#list.misses(page); count += 1) {
      const { runs, next } = await this.#page(filters, { limit: String(CATCH_UP), before: page.next });
      Object.assign(page, { runs: [...page.runs, ...runs], next });
    }
    const ids = this.#followed(page).join(',');
    const followed = ids ? await this.#page({}, { ids, limit: String(FOLLOWED) }) : { runs: [] };
    if (filters === this.#filters) this.#take(page, followed.runs, filters);
  }

  // The live rows in sight that the newest page says nothing of.
  #followed({ runs }) {
    const told = new Set(runs.map(({ run_id: id }) => id));
    const seen = this.#list.runs.slice(this.rows.first, this.rows.last);
    return seen.filter((run) => isLive(run.state) && !told.has(run.run_id)).slice(0, FOLLOWED).map((run) => run.run_id);
  }

  // What a person reads stays where it is, whatever comes above it.
  #take(page, followed, filters) {
    const anchor = this.#isScrolled() ? this.#anchor() : null;
    const newest = this.#list.runs[0]?.run_id;
    const { isGap } = this.#list.takeNewest(page);
    this.#list.takeSome(followed);
    this.#list.keep((run) => matches(run, filters));
    if (isGap && anchor) this.#say({ text: 'So many runs came that the list begins anew.' });
    const by = anchor && !isGap ? this.#list.indexOf(anchor.id) - anchor.index : 0;
    this.#fresh = anchor ? this.#fresh + Math.max(0, newest ? this.#list.indexOf(newest) : 0) : 0;
    this.rows.setAround(this.#list.runs, by);
  }

  // The first row in sight that is still there afterwards can't be known before: those that leave are few.
  #anchor() {
    const index = Math.max(0, Math.floor((this.grid.scrollTop - this.sheet.offsetTop) / this.rows.rowHeight) + 1);
    const run = this.#list.runs[index];
    return run ? { id: run.run_id, index } : null;
  }

  #isScrolled() {
    return this.grid.scrollTop > this.rows.rowHeight / 2;
  }

  async #loadOlder() {
    if (this.#older || !this.#list.next || !this.#shown) return;
    this.#older = true;
    const filters = this.#filters;
    try {
      const page = await this.#page(filters, { limit: String(OLDER), before: this.#list.next });
      if (filters !== this.#filters) return;
      this.#list.takeOlder(page);
      this.#older = false;
      this.rows.set(this.#list.runs);
    } catch (error) {
      if (filters === this.#filters) this.#olderFailed(error);
    }
  }

  // The run at the end may have been deleted meanwhile; the server then knows no place to go on from.
  #olderFailed(error) {
    this.#older = false;
    if (error.status === undefined) throw error;
    this.#say({ text: sentence(error), bad: true });
    if (error.status === 400) this.#begin();
  }

  #failed(error) {
    if (error.status >= 400 && error.status < 500) this.#say({ text: sentence(error), bad: true });
  }
}
