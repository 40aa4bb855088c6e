// Runs before Gradio's own page and makes its connection hold. Two layers: the one below reconnects, and needs nothing of
// Gradio but its protocol; the one above has a page that is loaded again begin where it stood, and stays away where the page
// is of no kind that it knows.

import { Client } from '../client/index.js';
import { BROWSER } from '../client/env.js';
import { shelfOf } from '../client/memory.js';
import { watchPage } from '../client/page.js';
import { Badge } from './badge.js';
import { Claims, randomName } from './identity.js';
import { hearInputs } from './inputs.js';
import { Memory } from './memory.js';
import { jsonResponse, Routes } from './routes.js';
import { Tab } from './tab.js';
import { Wrap } from './wrap.js';

/** What is typed is written to the tab's storage this often at most, and when the page is left. */
const WRITE_MS = 500;

const BASE = new URL('../../', import.meta.url).href;

/** @returns {{mode?: string}} what the server has put into the page */
function settings() {
  try {
    return JSON.parse(document.getElementById('penstock-gradio')?.textContent ?? '{}');
  } catch {
    return {};
  }
}

/** @type {Set<() => void>} */ const waiting = new Set();
const wake = () => waiting.forEach((end) => end());

/** @type {import('./again.js').Clock} */
const clock = {
  now: BROWSER.now,
  random: BROWSER.random,
  pause: (ms) =>
    new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        waiting.delete(end);
        resolve(undefined);
      };
      const timer = setTimeout(end, ms);
      waiting.add(end);
    }),
};

/** @param {() => void} act */
function whenLoaded(act) {
  if (document.readyState === 'complete') act();
  else addEventListener('load', act, { once: true });
}

/** @param {() => void} write */
const soon = (write) => setTimeout(write, WRITE_MS);

/** Pages of one app are loaded one by one: each has a memory of its own. So has each user who logs in: sessions are his. */
function pageName() {
  const link = new URLSearchParams(location.search).get('deep_link') ?? '';
  const user = /** @type {any} */ (window).gradio_config?.username ?? '';
  return `penstock-gradio:${BASE}:${location.pathname}:${link}${user && `:${user}`}`;
}

function makeTab() {
  const shelf = /** @type {Storage|null} */ (shelfOf('sessionStorage'));
  // Where the browser does not tell, it may have been.
  const isTouched = () => /** @type {any} */ (navigator).userActivation?.hasBeenActive ?? true;
  return shelf && new Tab(new Memory(shelf, pageName(), soon), new Claims(), randomName, isTouched);
}

/** The page as it stands: all parts, and how they meet. */
class Page {
  badge = new Badge();
  /** @type {Tab|null} */ tab = null;
  #leaving = false;

  /** @param {boolean} full */
  constructor(full) {
    const { penstockGradio: early } = /** @type {any} */ (window); // there where Gradio's page is made on the server
    const plain = early?.plain ?? window.fetch.bind(window);
    if (full) this.tab = this.#restoring();
    const around = {
      client: new Client({ base: BASE }),
      fetch: plain,
      api: new URL('../', BASE).href,
      clock,
      env: BROWSER,
      leaving: () => this.#leaving,
      makeKey: () => randomName() + randomName(),
      changed: () => this.#look(),
    };
    this.wrap = new Wrap(new Routes(BASE), around, this.tab, (response) => this.#configured(response));
    window.fetch = (input, init) => this.wrap.fetch(input, init);
    early?.open(window.fetch);
    watchPage({ wake: () => this.#wake(), suspend: () => this.#suspend(), resume: () => this.#resume() });
    addEventListener('beforeunload', () => this.#asked());
    addEventListener('pagehide', ({ persisted }) => persisted || this.#left());
    addEventListener('offline', () => this.badge.look());
  }

  #restoring() {
    const tab = makeTab();
    const { gradio_config: config } = /** @type {any} */ (window);
    if (!tab || !config || config.auth_required) return tab;
    if (!config.dev_mode && !this.#edit(tab, config)) return null;
    return tab;
  }

  /** @param {Tab} tab @param {any} config */
  #edit(tab, config) {
    try {
      if (!tab.edit(config)) return this.#without('its description is of an unknown kind');
    } catch (error) {
      return this.#without(error);
    }
    hearInputs(tab, document);
    if (tab.restored || tab.doubles?.size) whenLoaded(() => this.badge.restored());
    return true;
  }

  /** @param {unknown} why */
  #without(why) {
    console.info('Penstock reconnects this page, but does not restore it when it is loaded again:', why);
    return false;
  }

  // In Gradio's reload mode, and where its page is made on the server, the description is fetched.
  /** @param {Response} response */
  async #configured(response) {
    if (!this.tab || this.tab.config || !response.ok) return response;
    const config = await response.clone().json();
    if (!this.#edit(this.tab, config)) return response;
    return jsonResponse(config);
  }

  // Our listener is the first: Gradio's page ends its stream in its own.
  #asked() {
    this.#leaving = true;
    setTimeout(() => (this.#leaving = false), 0);
  }

  #look() {
    const visits = [...this.wrap.visits.values()];
    this.badge.trouble(visits.some(({ connection }) => connection === 'reconnecting'));
  }

  #wake() {
    wake();
    for (const { presence } of this.wrap.visits.values()) presence.wake();
    this.badge.look();
  }

  #suspend() {
    this.tab?.memory.write();
    this.tab?.claims.release();
    for (const { presence } of this.wrap.visits.values()) presence.suspend();
  }

  #resume() {
    if ([...this.wrap.visits.values()].some(({ unheard }) => unheard)) return location.reload();
    for (const { presence } of this.wrap.visits.values()) presence.resume();
    const { session } = this.tab?.memory ?? {};
    if (session) this.tab?.claims.take(session);
  }

  #left() {
    for (const { hash } of this.wrap.visits.values()) if (hash) navigator.sendBeacon(`${BASE}session/${hash}/left`);
  }
}

const { mode } = settings();
if (mode !== 'aside') new Page(mode === 'full');
else /** @type {any} */ (window).penstockGradio?.open(/** @type {any} */ (window).penstockGradio.plain);
