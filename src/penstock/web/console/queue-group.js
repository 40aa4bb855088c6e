// One group of the queue: a line of figures, and when it is opened, who runs, waits and has failed in it.

import { h, number, put, span } from '../client/dom.js';
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

/** @typedef {{json: string, element: HTMLElement, time: HTMLElement}} Row of the run as it was drawn */

// Children put in place only where they are others: what is moved loses its focus, and a press that has begun.
/** @param {Element} element @param {Element[]} children */
function hold(element, children) {
  const same =
    element.childElementCount === children.length &&
    children.every((child, place) => element.children[place] === child);
  if (same) return;
  const deed = document.activeElement?.getAttribute('data-deed');
  element.replaceChildren(...children);
  const held =
    deed && document.activeElement === document.body && element.querySelector(`[data-deed="${CSS.escape(deed)}"]`);
  if (held) /** @type {HTMLElement} */ (held).focus();
}

/** A group on the page. */
export class GroupView {
  #functions = '';
  /** @type {Map<string, Row>} */ #rows = new Map();
  /** @type {Map<string, HTMLElement>} */ #lists = new Map();

  /** @param {string} name @param {Deeds} deeds */
  constructor(name, deeds) {
    this.deeds = deeds;
    this.name = name;
    this.toggle = h(
      'button',
      { type: 'button', className: 'toggle', ariaExpanded: 'false', onclick: () => this.#toggle() },
      span('name', name),
    );
    this.cells = Object.fromEntries(
      ['running', 'waiting', 'eta', 'takes', 'rate', 'held'].map((key) => [key, h('td', { className: key })]),
    );
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
    put(rate, functions.length === 1 ? (rates[functions[0]] ?? '') : '');
    put(held, group.held ? `${group.held} held` : '');
    this.element.classList.toggle('quiet', group.running + group.waiting + group.held === 0);
    this.#functions = functions.map((/** @type {string} */ name) => functionLine(name, group)).join('\n');
  }

  /** @param {{running: any[], waiting: any[], failed: any[], more: number}} runs `more` wait that are not among them */
  showRuns({ running, waiting, failed, more }) {
    const before = this.#rows;
    this.#rows = new Map();
    const lists = [
      this.#list('Running', running, { state: 'running' }, before),
      this.#list('Waiting', inTurn(waiting), { state: 'queued' }, before),
      this.#list('Failed lately', failed, { state: 'failed,interrupted' }, before),
    ].flatMap((list) => (list ? [list] : []));
    const members = this.#functions.includes('\n') ? [h('p', { className: 'members help' }, this.#functions)] : [];
    const ahead = more ? [h('p', { className: 'help' }, `${number(more)} more wait, longer than these.`)] : [];
    const none = lists.length ? [] : [h('p', { className: 'help' }, 'Nothing runs, waits or has failed.')];
    hold(this.lists, [...members, ...lists, ...ahead, ...none]);
  }

  #toggle() {
    const open = this.below.hidden;
    this.below.hidden = !open;
    this.toggle.ariaExpanded = String(open);
    if (open) this.lists.replaceChildren(h('p', { className: 'help' }, 'Loading…'));
    this.deeds.opened(this.name, open);
  }

  /** @param {string} title @param {any[]} runs @param {Record<string, string>} filters @param {Map<string, Row>} before */
  #list(title, runs, filters, before) {
    if (!runs.length) return null;
    const list =
      this.#lists.get(title) ??
      h('section', { className: 'line' }, h('h2', {}, title), h('ol', {}), h('p', { className: 'help' }));
    this.#lists.set(title, list);
    const rows = runs.slice(0, SHOWN).map((run) => this.#rowOf(run, before));
    const rest = runs.length - rows.length;
    hold(list.children[1], rows);
    hold(
      list.children[2],
      rest ? [h('a', { href: withQuery('#/runs', filters) }, `${number(rest)} more in Runs`)] : [],
    );
    return list;
  }

  // A row stays the same element while its run does not change: it may be under somebody's finger.
  /** @param {any} run @param {Map<string, Row>} before */
  #rowOf(run, before) {
    const json = JSON.stringify(run);
    const same = before.get(run.run_id);
    const row = same?.json === json ? same : { json, ...this.#row(run) };
    this.#rows.set(run.run_id, row);
    put(row.time, this.#timeOf(run));
    return row.element;
  }

  /** @param {any} run */
  #timeOf(run) {
    return timeOf(run, this.deeds.now()) || ageOf(this.deeds.now() - run.created_at_ms);
  }

  /** @param {any} run */
  #row(run) {
    const { run_id: id, function: name, state, session } = run;
    const place = span('place number', state === 'queued' ? String(run.position ?? '') : '');
    const link = h('a', { href: runPath(id), title: id }, span('name', name));
    const time = span('time', '');
    const words = state === 'queued' ? { ...run, position: null } : run;
    const element = h(
      'li',
      { data: { state } },
      place,
      link,
      span('session', session ?? ''),
      span('detail', detailOf(words)),
      time,
      this.#deeds(run),
    );
    return { element, time };
  }

  /** @param {any} run */
  #deeds(run) {
    /** @param {string} name @param {any} words @param {any} act */
    const button = (name, words, act) =>
      h(
        'button',
        { type: 'button', className: 'plain', title: words, data: { deed: `${name} ${run.run_id}` }, onclick: act },
        name,
      );
    const { deeds } = this;
    const given = run.priority ?? 0;
    const buttons = !isLive(run.state)
      ? [button('Run again', 'Submit it again with the same input', () => deeds.again(run))]
      : [];
    if (run.state === 'queued')
      buttons.push(button('Sooner', 'Ten minutes of head start more', () => deeds.prefer(run, given + STEP)));
    if (run.state === 'queued')
      buttons.push(button('Later', 'Ten minutes of head start less', () => deeds.prefer(run, given - STEP)));
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
