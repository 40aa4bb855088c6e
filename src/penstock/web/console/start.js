// What can be run, the form of it, and what was run last.

import { duration, h, put, span } from '../client/dom.js';
import { Form } from './form.js';
import { polling } from './polling.js';
import { runPath, startPath } from './router.js';
import { client, clock, sentence } from './server.js';

const RECENT = 8; // runs listed: a glance
const RECENT_MS = 2000;
const AGAIN_MS = 3000; // the functions of a server that is away

/** The page's first view. */
export class StartView {
  title = 'Start';
  shortcuts = [
    { keys: 'i', does: 'To the first field', act: () => this.#fields.querySelector('input, textarea, select')?.focus() },
  ];
  #functions = null;
  #form = null;
  #chosen = '';
  #touched = false;
  #from = '';
  #wanted = '';
  #recent;
  #list;
  #fields;
  #error;
  #button;
  #runs;

  constructor() {
    this.#list = h('fieldset', { id: 'functions' }, h('legend', {}, 'Functions'), h('p', { className: 'help' }, 'Loading…'));
    this.#fields = h('div', { id: 'fields' });
    this.#error = h('p', { id: 'form-error', className: 'error', role: 'alert' });
    this.#button = h('button', { id: 'run-button', className: 'main', disabled: true }, 'Run');
    this.#runs = h('ol', { id: 'recent' });
    this.form = h('form', { id: 'run-form', noValidate: true }, this.#list, h('div', { className: 'input' }, this.#fields, this.#error, this.#button));
    const aside = h('nav', { ariaLabel: 'Recent runs' }, h('h2', {}, 'Recent runs'), this.#runs);
    this.element = h('div', { id: 'start' }, h('h1', { className: 'sr' }, 'Start a run'), this.form, aside);
    this.#listen();
  }

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
    this.form.addEventListener('input', () => (this.#touched = true));
    this.form.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
  }

  async #loadFunctions() {
    try {
      this.#functions = (await client.call('api/functions')).functions;
    } catch (error) {
      this.#list.lastElementChild.replaceWith(h('p', { className: 'error' }, sentence(error)));
      if (error.status === 0 || error.status >= 500) setTimeout(() => this.#loadFunctions(), AGAIN_MS);
      return;
    }
    const rows = this.#functions.map((one) => this.#row(one));
    if (!rows.length) rows.push(h('p', { className: 'help' }, 'None is registered.'));
    this.#list.replaceChildren(h('legend', {}, 'Functions'), ...rows);
    this.#choose(this.#wanted || this.#functions[0]?.name);
    this.#fillFrom();
  }

  #row({ name, description }) {
    const input = h('input', { type: 'radio', name: 'function', value: name });
    input.addEventListener('change', () => {
      history.replaceState(null, '', startPath(name));
      this.#choose(name);
    });
    return h('label', {}, input, span('name', name), span('help', (description ?? '').split('\n\n')[0]));
  }

  #choose(name) {
    const found = this.#functions.find((one) => one.name === name);
    if (!found || this.#chosen === name) return;
    this.#chosen = name;
    for (const radio of this.#list.querySelectorAll('input')) radio.checked = radio.value === name;
    this.#form = new Form(this.#fields, found.input_schema);
    put(this.#error, '');
    this.#button.disabled = false;
  }

  // A run's input, to be changed and run again.
  async #fillFrom() {
    const from = this.#from;
    if (!from || !this.#functions) return;
    this.#from = '';
    const record = await client.call(`api/runs/${encodeURIComponent(from)}`).catch(() => null);
    if (!record?.input) return;
    this.#choose(record.function);
    if (this.#chosen === record.function) this.#form.fill(record.input);
  }

  async #start(event) {
    event.preventDefault();
    const input = this.#form?.read();
    if (!input || this.#button.disabled) return;
    this.#button.disabled = true;
    put(this.#error, '');
    try {
      const { run_id: id } = await client.submit(this.#chosen, input);
      location.hash = runPath(id);
    } catch (error) {
      const shown = error.field && this.#form.showError(error.field, sentence(error));
      if (!shown) put(this.#error, sentence(error));
    } finally {
      this.#button.disabled = false;
    }
  }

  async #loadRecent() {
    const { runs } = await client.call(`api/runs?limit=${RECENT}`);
    const rows = runs.map(recentRow);
    this.#runs.replaceChildren(...(rows.length ? rows : [h('li', { className: 'help' }, 'None yet.')]));
  }
}

const ago = (ms) => (ms < 60_000 ? 'now' : `${duration(ms).replace(/ \d+ (s|min)$/, '')} ago`);

function recentRow({ run_id: id, function: name, state, created_at_ms: createdMs }) {
  const age = span('time', ago(clock.now() - createdMs));
  const standing = h('span', { className: 'state', data: { state } }, state);
  return h('li', {}, h('a', { href: runPath(id) }, span('name', name), standing, age));
}
