// What can be run, the form of it, and what was run last.

import { h, put, span } from '../client/dom.js';
import { Form } from './form.js';
import { polling } from './polling.js';
import { Remembered } from './remembered.js';
import { runPath, startPath } from './router.js';
import { ageOf } from './run-words.js';
import { client, clock, sentence } from './server.js';

const RECENT = 8; // runs listed: a glance
const RECENT_MS = 2000;
const AGAIN_MS = 3000; // the functions of a server that is away

const inputs = new Remembered(`penstock.inputs ${client.base}`, () => localStorage);

/** The page's first view. */
export class StartView {
  title = 'Start';
  shortcuts = [{ keys: 'i', does: 'To the first field', act: () => this.#focus() }];
  /** @type {any[]|null} */ #functions = null;
  /** @type {Map<string, Form>} */ #forms = new Map();
  #chosen = '';
  #from = '';
  #wanted = '';
  /** @type {{close: () => void}|undefined} */ #recent;
  #list;
  #fields;
  #error;
  #starting = false;
  #filling = ''; // the run whose input was asked for last
  #button;
  #clear;
  #runs;

  constructor() {
    this.#list = h(
      'fieldset',
      { id: 'functions' },
      h('legend', {}, 'Functions'),
      h('p', { className: 'help' }, 'Loading…'),
    );
    this.#fields = h('div', { id: 'fields' });
    this.#error = h('p', { id: 'form-error', className: 'error', role: 'alert' });
    this.#button = h('button', { id: 'run-button', className: 'main', disabled: true }, 'Run');
    this.#clear = h(
      'button',
      { type: 'button', className: 'plain', hidden: true, onclick: () => this.#forget() },
      'Clear the last input',
    );
    this.#runs = h('ol', { id: 'recent' });
    this.form = h(
      'form',
      { id: 'run-form', noValidate: true },
      this.#list,
      h('div', { className: 'input' }, this.#fields, this.#error, this.#button, this.#clear),
    );
    const aside = h('nav', { ariaLabel: 'Recent runs' }, h('h2', {}, 'Recent runs'), this.#runs);
    this.element = h('div', { id: 'start' }, h('h1', { className: 'sr' }, 'Start a run'), this.form, aside);
    this.#listen();
  }

  /** @param {any} params */
  show(params) {
    this.#wanted = params.function ?? '';
    this.#from = params.from ?? this.#from;
    this.#recent ??= polling.add({ everyMs: RECENT_MS, load: () => this.#loadRecent() });
    if (this.#functions) this.#choose(this.#wanted || this.#chosen);
    else this.#loadFunctions();
    this.#fillFrom();
  }

  hide() {
    this.#recent?.close();
    this.#recent = undefined;
  }

  #listen() {
    this.form.addEventListener('submit', (event) => this.#start(event));
    this.form.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
  }

  async #loadFunctions() {
    try {
      this.#functions = (await client.call('api/functions')).functions;
    } catch (caught) {
      const error = /** @type {any} */ (caught);
      this.#list.lastElementChild?.replaceWith(h('p', { className: 'error' }, sentence(error)));
      if (error.status === 0 || error.status >= 500) setTimeout(() => this.#loadFunctions(), AGAIN_MS);
      return;
    }
    const functions = /** @type {any[]} */ (this.#functions);
    /** @type {HTMLElement[]} */
    const rows = functions.map((one) => this.#row(one));
    if (!rows.length) rows.push(h('p', { className: 'help' }, 'None is registered.'));
    this.#list.replaceChildren(h('legend', {}, 'Functions'), ...rows);
    this.#choose(this.#wanted || functions[0]?.name);
    this.#fillFrom();
  }

  /** @param {any} given */
  #row({ name, description }) {
    const input = h('input', { type: 'radio', name: 'function', value: name });
    input.addEventListener('change', () => {
      history.replaceState(null, '', startPath(name));
      this.#choose(name);
    });
    return h('label', {}, input, span('name', name), span('help', (description ?? '').split('\n\n')[0]));
  }

  // Each function keeps what was typed while the page is open.
  /** @param {string} name */
  #choose(name) {
    const found = this.#functions?.find((one) => one.name === name);
    if (!found || this.#chosen === name) return;
    this.#chosen = name;
    for (const radio of this.#list.querySelectorAll('input')) {
      radio.checked = radio.value === name;
      if (radio.checked) reveal(this.#list, radio.parentElement);
    }
    if (!this.#forms.has(name)) this.#forms.set(name, this.#remembered(name, new Form(found.input_schema)));
    this.#fields.replaceChildren(...(this.#form?.elements ?? []));
    put(this.#error, '');
    this.#button.disabled = this.#starting;
    this.#clear.hidden = !inputs.get(name);
  }

  get #form() {
    return this.#forms.get(this.#chosen);
  }

  /** @param {string} name @param {any} form */
  #remembered(name, form) {
    const input = inputs.get(name);
    if (input) form.fill(input);
    return form;
  }

  #focus() {
    /** @type {HTMLElement|null} */ (this.#fields.querySelector('input, textarea, select'))?.focus();
  }

  #forget() {
    inputs.forget(this.#chosen);
    this.#form?.fill({});
    this.#clear.hidden = true;
    this.#focus();
  }

  // A run's input, to be changed and run again.
  async #fillFrom() {
    const from = this.#from;
    if (!from || !this.#functions) return;
    this.#from = '';
    this.#filling = from;
    const record = await client.call(`api/runs/${encodeURIComponent(from)}`).catch((error) => ({ error }));
    if (this.#filling !== from) return; // another was asked for since
    if (!record.input)
      return put(this.#error, `The input of ${from} could not be read. ${sentence(record.error ?? {})}`);
    this.#choose(record.function);
    if (this.#chosen === record.function) this.#form?.fill(record.input);
  }

  /** @param {any} event */
  async #start(event) {
    event.preventDefault();
    if (!this.#form || this.#button.disabled) return;
    this.#starting = this.#button.disabled = true;
    put(this.#error, '');
    const [name, form] = [this.#chosen, this.#form];
    try {
      // Another file may be chosen while the first goes up.
      while (form.uploading) {
        put(this.#button, 'Uploading…');
        await form.settled();
      }
      const input = form.read();
      if (input) await this.#submit(name, input);
    } catch (caught) {
      const error = /** @type {any} */ (caught);
      if (error.status === undefined) throw error;
      const shown = error.field && form.showError(error.field, error.message.replace(`${error.field}: `, ''));
      if (!shown) put(this.#error, sentence(error));
    } finally {
      put(this.#button, 'Run');
      this.#starting = this.#button.disabled = false;
    }
  }

  /** @param {string} name @param {any} input */
  async #submit(name, input) {
    const { run_id: id } = await client.submit(name, input);
    inputs.put(name, input);
    this.#clear.hidden = false;
    if (this.element.isConnected) location.hash = runPath(id); // who has gone elsewhere meanwhile stays there
  }

  async #loadRecent() {
    const { runs } = await client.call(`api/runs?limit=${RECENT}`);
    const rows = runs.map(recentRow);
    this.#runs.replaceChildren(...(rows.length ? rows : [h('li', { className: 'help' }, 'None yet.')]));
  }
}

// In the list alone: the page itself stays where it is.
/** @param {any} list @param {any} row */
function reveal(list, row) {
  const below = row.offsetTop - list.offsetTop;
  if (below < list.scrollTop || below + row.offsetHeight > list.scrollTop + list.clientHeight)
    list.scrollTop = below - row.offsetHeight;
}

/** @param {any} given */
function recentRow({ run_id: id, function: name, state, created_at_ms: createdMs }) {
  const age = span('time', ageOf(clock.now() - createdMs));
  const standing = h('span', { className: 'state', data: { state } }, state);
  return h('li', {}, h('a', { href: runPath(id) }, span('name', name), standing, age));
}
