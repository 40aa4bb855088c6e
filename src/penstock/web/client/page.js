// The page's life: shown, hidden, frozen, put into the back/forward cache, woken with dead sockets.

/** Who looks into another tab for a moment costs no new connection. */
const HIDDEN_AFTER_MS = 3_000;

/** A timer that comes late by this is a machine that slept: nothing else says so. */
const SLEPT_MS = 10_000;

const TICK_MS = 2_000;

/**
 * @typedef {object} Watcher
 * @property {(signal: 'wake'|'online') => void} [wake] look whether what was open is alive
 * @property {(hidden: boolean) => void} [hidden] for longer than a moment, or not any more
 * @property {() => void} [suspend] into the back/forward cache, or gone for good
 * @property {() => void} [resume] back from there
 */

/** @type {Set<Watcher>} */ const watchers = new Set();
/** @type {any} */ let hiding;
let tickMs = 0;
let listening = false;

/** @param {Watcher} watcher @returns {() => void} ends it */
export function watchPage(watcher) {
  watchers.add(watcher);
  if (!listening && globalThis.document) listen();
  return () => watchers.delete(watcher);
}

function listen() {
  listening = true;
  document.addEventListener('visibilitychange', seen);
  document.addEventListener('resume', () => tell('wake', 'wake'));
  addEventListener('online', () => tell('wake', 'online'));
  addEventListener('pagehide', () => tell('suspend'));
  addEventListener('pageshow', ({ persisted }) => persisted && (tell('resume'), seen()));
  tickMs = Date.now();
  setInterval(tick, TICK_MS);
  if (document.hidden) seen();
}

function seen() {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => tell('hidden', true), HIDDEN_AFTER_MS);
  else {
    tell('hidden', false);
    tell('wake', 'wake');
  }
}

function tick() {
  const lateMs = Date.now() - tickMs - TICK_MS;
  tickMs = Date.now();
  if (lateMs > SLEPT_MS && !document.hidden) tell('wake', 'wake');
}

/** @param {keyof Watcher} name @param {any} [what] */
function tell(name, what) {
  for (const watcher of [...watchers]) /** @type {((what: any) => void)|undefined} */ (watcher[name])?.(what);
}
