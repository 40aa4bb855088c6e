// <penstock-run>: shows a run anywhere, with one line of HTML. docs/browser.md has its attributes and events.

import { clock } from './api.js';
import { RunView } from './element/view.js';
import { styleSheet } from './element/style.js';
import { isLive, lastTold, stateOf } from './element/words.js';
import { PenstockError } from './errors.js';
import { Client } from './index.js';

/** @typedef {import('./subscription.js').Subscription} Subscription */

const TICK_MS = 500; // of the running clocks

const PROPERTIES = ['run', 'base', 'function', 'input', 'rate', 'autostart', 'noStop', 'client'];

// Imported where there is no page, by a server that renders, it defines nothing and breaks nothing.
const Element = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

/** Shows the run that its attribute `run` names; starts one of `function` by `start()`, or by `autostart`. */
export class PenstockRun extends Element {
  static observedAttributes = ['run', 'base', 'function', 'input', 'autostart', 'no-stop', 'rate'];

  /** @type {Client | null} given by the page */ #given = null;
  /** @type {object | null} */ #input = null;
  /** @type {Subscription | null} */ #subscription = null;
  /** @type {RunView | null} */ #view = null;
  /** @type {any} */ #record = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #timer;
  #shown = '';
  #told = '';
  #stopping = false;
  #started = false;
  #due = false;
  #drawn = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [styleSheet()];
    root.append(document.createElement('slot'));
  }

  /** The run's id; '' where there is none. */
  get run() {
    return this.getAttribute('run') ?? '';
  }

  set run(id) {
    this.#reflect('run', id);
  }

  /** Where the server is; '' for where this module came from. */
  get base() {
    return this.getAttribute('base') ?? '';
  }

  set base(url) {
    this.#reflect('base', url);
  }

  /** The function that `start()` starts. */
  get function() {
    return this.getAttribute('function') ?? '';
  }

  set function(name) {
    this.#reflect('function', name);
  }

  /** @returns {object} its input: what was set, or else the attribute's JSON */
  get input() {
    return this.#input ?? parseInput(this.getAttribute('input'));
  }

  set input(value) {
    this.#input = value ?? null;
  }

  /** Updates a second at most; 0 for the client's own choice. */
  get rate() {
    return Number(this.getAttribute('rate') ?? 0);
  }

  set rate(value) {
    this.#reflect('rate', value ? String(value) : null);
  }

  get autostart() {
    return this.hasAttribute('autostart');
  }

  set autostart(on) {
    this.toggleAttribute('autostart', Boolean(on));
  }

  get noStop() {
    return this.hasAttribute('no-stop');
  }

  set noStop(on) {
    this.toggleAttribute('no-stop', Boolean(on));
  }

  /** What it speaks to the server with. Set one of your own for a token, say. */
  get client() {
    return this.#given ?? clientOf(this.base && new URL(this.base, document.baseURI).href);
  }

  set client(client) {
    this.#given = client;
    this.#shown = '';
    this.#later();
  }

  /** The reader behind it, null while there is no run. For reading. */
  get subscription() {
    return this.#subscription;
  }

  /** @returns {string} the run's state; '' while it is unknown */
  get state() {
    const { fold, status } = this.#subscription ?? {};
    return fold && status ? stateOf(fold, status, this.#record) : '';
  }

  /**
   * Start a run of `function`, and show it.
   * @param {object} [input] in place of its own
   * @returns {Promise<string>} its id, which is the attribute `run` from then on
   * @throws {PenstockError} as the server refused it; it is shown, and `penstock-error` tells it as well
   */
  async start(input) {
    this.#started = true;
    try {
      const { run_id: id } = await this.client.submit(this.function, input ?? this.input);
      this.run = id;
      return id;
    } catch (caught) {
      this.#fail(/** @type {PenstockError} */ (caught));
      throw caught;
    }
  }

  /**
   * Stop the run.
   * @returns {Promise<import('./events.js').Cancelled | null>} the receipt; null where that failed
   */
  async stop() {
    this.#stopping = true;
    this.#draw();
    try {
      return await this.client.cancel(this.run);
    } catch (caught) {
      this.#fail(/** @type {PenstockError} */ (caught));
      return null;
    } finally {
      this.#stopping = false;
      this.#draw();
    }
  }

  connectedCallback() {
    // A framework may have set these before the element was defined: then they hide the accessors.
    for (const name of PROPERTIES) this.#upgrade(name);
    this.#later();
  }

  disconnectedCallback() {
    this.#later(); // it may be on its way to another place
  }

  /** @param {string} name @param {string|null} before @param {string|null} now */
  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === 'input') this.#input = null;
    if (name === 'function') this.#started = false;
    if (name === 'rate') this.#subscription?.pace(this.rate || undefined);
    this.#later();
  }

  // Several attributes set in a row are one change.
  #later() {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.#settle();
    });
  }

  #settle() {
    const wanted = this.isConnected && this.run ? `${this.base} ${this.run}` : '';
    if (wanted !== this.#shown) {
      this.#close();
      this.#shown = wanted;
      if (wanted) this.#open();
    }
    this.#draw();
    const starts = this.isConnected && this.autostart && this.function && !this.run && !this.#started;
    if (starts) this.start().catch(() => {}); // it has been told
  }

  #open() {
    this.#show(new RunView(() => this.stop()));
    this.#subscription = this.client.subscribe(this.run, {
      ...(this.rate ? { rate: this.rate } : {}),
      onState: (fold, changed) => {
        this.#view?.draw(fold, changed);
        this.#tell();
        this.#draw();
      },
      onStatus: () => {
        this.#tell();
        this.#draw();
      },
      onConnection: ({ error }) => {
        if (error) this.#fail(error);
        this.#draw();
      },
    });
    this.#load(this.#subscription);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #close() {
    clearInterval(this.#timer);
    this.#subscription?.close();
    this.#subscription = this.#view = this.#record = null;
    this.#told = '';
    this.#stopping = false;
    this.shadowRoot?.replaceChildren(document.createElement('slot')); // what the page says while there is no run
  }

  /** @param {RunView} view */
  #show(view) {
    this.#view = view;
    this.shadowRoot?.replaceChildren(view.element);
  }

  /**
   * Name and times, which no event has; and soon whether there is such a run at all.
   * @param {Subscription} subscription
   */
  async #load(subscription) {
    const path = `api/runs/${encodeURIComponent(subscription.run)}`;
    const found = await this.client.call(path).catch((/** @type {PenstockError} */ error) => error);
    if (subscription !== this.#subscription) return;
    if (!(found instanceof PenstockError)) this.#record = found;
    else if (found.status === 403 || found.status === 404) this.#fail(found);
    this.#tell();
    this.#draw();
  }

  // Tells the page what the run's state is, whenever it is another.
  #tell() {
    const subscription = this.#subscription;
    if (!subscription) return;
    const { state, run } = this;
    const { position = null, eta_s: etaS = null } = lastTold(subscription.status, this.#record);
    const news = `${state} ${position}`;
    if (!state || news === this.#told) return;
    const other = !this.#told.startsWith(`${state} `);
    this.#told = news;
    if (other && state !== 'queued' && !this.#record?.[isLive(state) ? 'started_at_ms' : 'ended_at_ms']) {
      this.#load(subscription);
    }
    this.#emit('penstock-state', { run, state, position, etaS });
    const { end } = subscription.fold;
    if (end && other) this.#emit('penstock-end', { run, state, result: end.result, error: end.error });
    this.#draw();
  }

  /** @param {Error & {code?: string, hint?: string}} error */
  #fail(error) {
    if (!this.#view) this.#show(new RunView(() => this.stop()));
    const isNews = this.#view?.fail(error);
    if (isNews) this.#emit('penstock-error', { run: this.run, error });
    this.#draw();
  }

  #tick() {
    if (!document.hidden && isLive(this.state)) this.#draw();
  }

  #draw() {
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      const subscription = this.#subscription;
      const model = { record: this.#record, stopping: this.#stopping, mayStop: !this.noStop };
      if (subscription) this.#view?.tick({ subscription, ...model }, clock.now());
    });
  }

  /** @param {string} type @param {object} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }

  /** @param {string} name @param {string|null|undefined} value */
  #reflect(name, value) {
    if (value) this.setAttribute(name, value);
    else this.removeAttribute(name);
  }

  /** @param {string} name */
  #upgrade(name) {
    if (!Object.hasOwn(this, name)) return;
    const self = /** @type {any} */ (this);
    const value = self[name];
    delete self[name];
    self[name] = value;
  }
}

/** @type {Map<string, Client>} */ const clients = new Map();

/** @param {string} base @returns {Client} one for all elements of a server: they share what they read over */
function clientOf(base) {
  const client = clients.get(base) ?? new Client(base ? { base } : {});
  clients.set(base, client);
  return client;
}

/** @param {string|null} text @returns {object} */
function parseInput(text) {
  try {
    return JSON.parse(text || '{}');
  } catch {
    const hint = 'Its value is a JSON object with one member for each parameter.';
    throw new PenstockError(0, { code: 'invalid_input', message: 'The attribute `input` is not JSON.', hint });
  }
}

globalThis.customElements?.get('penstock-run') ?? globalThis.customElements?.define('penstock-run', PenstockRun);
