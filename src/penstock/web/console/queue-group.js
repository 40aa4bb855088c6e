// One group of the queue: a line of figures, and when it is opened, who runs, waits and has failed in it.

import { h, put, span } from '../client/dom.js';
import { etaOf, fullness, inTurn, runningOf, takesOf, waitingOf } from './queue-words.js';
import { runPath, withQuery } from './router.js';
import { isLive } from './run-list.js';
import { ageOf, detailOf, timeOf } from './run-words.js';

/** Runs of a list that are shown; the rest is in Runs. */
const SHOWN = 100;

/**
 * @typedef {object} Deeds what can be done
 * @property {(run: any) => void} stop
 * @property {(run: any) => void} again
 * @property {(run: any, priority: number) => void} prefer
 * @property {(name: string, open: boolean) => void} opened
 * @property {() => number} now
 */

/** A group on the page. */
export class GroupView {
  #functions = '';

  /** @param {string} name @param {Deeds} deeds */
  constructor(name, deeds) {
    this.deeds = deeds;
    this.name = name;
    this.toggle = h('button', { type: 'button', className: 'toggle', ariaExpanded: 'false', onclick: () => this.#toggle() }, span('name', name));
    this.cells = Object.fromEntries(['running', 'waiting', 'eta', 'takes', 'rate', 'held'].map((key) => [key, h('td', { className: key })]));
    this.bar = span('bar', '');
    this.lists = h('div', { className: 'lists' });
    this.below = h('tr', { className: 'below', hidden: true }, h('td', { colSpan: 7 }, this.lists));
    const line = h('tr', {}, h('th', { scope: 'row' }, this.toggle), ...Object.values(this.cells));
    this.element = h('tbody', {}, line, this.below);
  }

  /** @param {any} group as the server tells of it */
  show(group) {
    const { running, waiting, eta, takes, rate, held } = this.cells;
    const { functions, durations, rate_limits: rates } = group;
    put(running, runningOf(group));
    this.bar.style.setProperty('--full', String(fullness(group)));
    if (group.concurrency_limit !== null) running.append(this.bar);
    put(waiting, waitingOf(group));
    put(eta, etaOf(group));
    put(takes, functions.length === 1 ? takesOf(durations[functions[0]]) : '');
    put(rate, functions.length === 1 ? rates[functions[0]] ?? '' : '');
    put(held, group.held ? `${group.held} held` : '');
    this.element.classList.toggle('quiet', group.running + group.waiting + group.held === 0);
    this.#functions = functions.map((/** @type {string} */ name) => functionLine(name, group)).join('\n');
  }

  /** @param {{running: any[], waiting: any[], failed: any[], more: number}} runs */
  showRuns({ running, waiting, failed, more }) {
    const lists = [
      this.#list('Running', running, { state: 'running' }),
      this.#list('Waiting', inTurn(waiting), { state: 'queued' }, more),
      this.#list('Failed lately', failed, { state: 'failed,interrupted' }),
    ].flatMap((list) => (list ? [list] : []));
    const text = this.#functions.includes('\n') ? [h('p', { className: 'members help' }, this.#functions)] : [];
    const held = document.activeElement?.getAttribute('data-deed');
    this.lists.replaceChildren(...text, ...(lists.length ? lists : [h('p', { className: 'help' }, 'Nothing runs, waits or has failed.')]));
    if (held) /** @type {any} */ (this.lists.querySelector(`[data-deed="${CSS.escape(held)}"]`))?.focus();
  }

  #toggle() {
    const open = this.below.hidden;
    this.below.hidden = !open;
    this.toggle.ariaExpanded = String(open);
    if (open) this.lists.replaceChildren(h('p', { className: 'help' }, 'Loading…'));
    this.deeds.opened(this.name, open);
  }

  /** @param {any} title @param {any} runs @param {any} filters @param {any} [more] */
  #list(title, runs, filters, more = 0) {
    if (!runs.length) return null;
    const rows = runs.slice(0, SHOWN).map((/** @type {any} */ run) => this.#row(run));
    const rest = runs.length - rows.length + more;
    const end = rest ? [h('p', { className: 'help' }, `${rest} more in `, h('a', { href: withQuery('#/runs', filters) }, 'Runs'))] : [];
    return h('section', { className: 'line' }, h('h2', {}, title), h('ol', {}, ...rows), ...end);
  }

  /** @param {any} run */
  #row(run) {
    const { run_id: id, function: name, state, session } = run;
    const place = span('place number', state === 'queued' ? String(run.position ?? '') : '');
    const link = h('a', { href: runPath(id), title: id }, span('name', name));
    const time = span('time', timeOf(run, this.deeds.now()) || ageOf(this.deeds.now() - run.created_at_ms));
    const words = state === 'queued' ? { ...run, position: null } : run;
    return h('li', { data: { state } }, place, link, span('session', session ?? ''), span('detail', detailOf(words)), time, this.#deeds(run));
  }

  /** @param {any} run */
  #deeds(run) {
    /** @param {string} name @param {any} words @param {any} act */
    const button = (name, words, act) => h('button', { type: 'button', className: 'plain', title: words, data: { deed: `${name} ${run.run_id}` }, onclick: act }, name);
    const { deeds } = this;
    const given = run.priority ?? 0;
    const buttons = !isLive(run.state) ? [button('Run again', 'Submit it again with the same input', () => deeds.again(run))] : [];
    if (run.state === 'queued') buttons.push(button('Sooner', 'Ten minutes of head start more', () => deeds.prefer(run, given + STEP)));
    if (run.state === 'queued') buttons.push(button('Later', 'Ten minutes of head start less', () => deeds.prefer(run, given - STEP)));
    if (isLive(run.state) && !run.cancel) buttons.push(button('Stop', 'Stop it', () => deeds.stop(run)));
    return h('span', { className: 'deeds' }, ...buttons);
  }
}

/** Minutes of head start that a press gives: what docs/queue.md takes for its example. */
const STEP = 10;

/** @param {string} name @param {any} given */
function functionLine(name, { durations, rate_limits: rates }) {
  const takes = takesOf(durations[name]);
  return [name, takes && `takes ${takes}`, rates[name] && `at most ${rates[name]}`].filter(Boolean).join(', ');
}
