// The shell: address to view, keys to deeds, and the state of the connection above all views.

import { put } from '../client/dom.js';
import { HealthView } from './health.js';
import { listen, showHelp } from './keyboard.js';
import { polling } from './polling.js';
import { QueueView } from './queue.js';
import { routeOf } from './router.js';
import { ComparePage } from './run/compare.js';
import { RunPage } from './run/page.js';
import { RunsView } from './runs.js';
import { clock } from './server.js';
import { StartView } from './start.js';

/**
 * A view, one for each kind of address; made when it is first shown, and kept. When what it tells of itself has changed it
 * dispatches `viewchange` on its element.
 * @typedef {object} View
 * @property {HTMLElement} element in the page while it is shown; a heading in it gets the focus when it is opened
 * @property {(params: any) => void} show with other parameters while it is shown, too
 * @property {() => void} hide nothing of it goes on
 * @property {(nowMs: number) => void} [tick] twice a second while it is shown and seen; by the server's clock
 * @property {string} [title] for the tab
 * @property {{state: string, text?: string}} [connection] of its own; that of the lists without it
 * @property {import('./keyboard.js').Shortcut[]} [shortcuts]
 */

const TICK_MS = 500; // of clocks that run
const PLACES = 50; // views whose place is remembered: how far one goes back

const VIEWS = {
  start: StartView,
  runs: RunsView,
  queue: QueueView,
  health: HealthView,
  run: RunPage,
  compare: ComparePage,
};

const main = /** @type {HTMLElement} */ (document.getElementById('view'));
const connection = /** @type {HTMLElement} */ (document.getElementById('connection'));

/** @type {Map<string, View>} */ const views = new Map();
/** @type {Map<string, number>} */ const scrolled = new Map();
let shown = { key: '', name: '', view: /** @type {View|null} */ (null) };

function route() {
  const { view: name, params, moved } = routeOf(location.hash);
  if (moved) history.replaceState(null, '', moved);
  const key = [name, params.id, params.a, params.b].join('/');
  const first = !shown.view;
  const fresh = key !== shown.key;
  if (fresh) leave();
  if (!views.has(name)) views.set(name, new VIEWS[name]());
  const view = /** @type {View} */ (views.get(name));
  shown = { key, name, view };
  if (fresh) main.replaceChildren(view.element);
  view.show(params);
  if (fresh) arrive(first);
  markPlace(name);
  tell();
}

function leave() {
  scrolled.delete(shown.key);
  scrolled.set(shown.key, scrollY);
  if (scrolled.size > PLACES) scrolled.delete([...scrolled.keys()][0]);
  shown.view?.hide();
}

/** @param {boolean} first */
function arrive(first) {
  scrollTo({ top: scrolled.get(shown.key) ?? 0, behavior: /** @type {any} */ ('instant') });
  if (first) return; // the browser's own place is the better one
  const heading = /** @type {HTMLElement} */ (main.querySelector('h1, h2') ?? main);
  if (main.contains(document.activeElement) && document.activeElement !== main) return; // the view knew better
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/** @param {string} name */
function markPlace(name) {
  const place = { run: 'runs', compare: 'runs' }[name] ?? name;
  for (const link of document.querySelectorAll('#places a')) {
    if (link.getAttribute('href') === `#/${place}`) link.ariaCurrent = 'page';
    else link.removeAttribute('aria-current');
  }
}

// What the shown view tells of itself, and how the connection is.
function tell() {
  const { view } = shown;
  /** @type {{state: string, text?: string}} */ const { state, text = state } = view?.connection ?? polling;
  connection.dataset.state = state;
  put(connection, state === 'idle' ? '' : text);
  document.title = [view?.title, 'Penstock'].filter(Boolean).join(' · ');
}

/** @param {string} path */
const go = (path) => () => {
  location.hash = path;
};

/** @type {import('./keyboard.js').Shortcut[]} */
const SHORTCUTS = [
  { keys: 'g s', does: 'Start', act: go('#/start') },
  { keys: 'g r', does: 'Runs', act: go('#/runs') },
  { keys: 'g q', does: 'Queue', act: go('#/queue') },
  { keys: 'g h', does: 'Health', act: go('#/health') },
  { keys: '/', does: 'Search', act: () => /** @type {any} */ (main.querySelector('[type=search]'))?.focus() },
  { keys: '?', does: 'This list', act: help },
];

function help() {
  showHelp([
    ['This view', shown.view?.shortcuts ?? []],
    ['Everywhere', SHORTCUTS],
  ]);
}

function wake() {
  if (!document.hidden) polling.wake();
}

polling.change = tell;
main.addEventListener('viewchange', tell);
listen(() => [...(shown.view?.shortcuts ?? []), ...SHORTCUTS]);
document.getElementById('help-button')?.addEventListener('click', help);
document.getElementById('skip')?.addEventListener('click', (event) => {
  event.preventDefault(); // the address is the view's
  main.focus();
});
addEventListener('hashchange', route);
for (const name of ['online', 'pageshow']) addEventListener(name, wake);
for (const name of ['visibilitychange', 'resume']) document.addEventListener(name, wake);
setInterval(() => document.hidden || shown.view?.tick?.(clock.now()), TICK_MS);

// The server has set its cookie by now; the secret need not stay in the address bar and in shared links.
if (new URLSearchParams(location.search).has('token')) {
  history.replaceState(null, '', location.pathname + location.hash);
}
route();
