// One run: its stream to a fold, its fold to the page.

import { h } from '../../client/dom.js';
import { Fold, isLast } from '../../client/fold.js';
import { RunStream } from '../../client/stream.js';
import { client, clock, sentence } from '../server.js';
import { RunView, isLive, stateOf } from './view.js';

const TICK_MS = 500; // of the running clocks
const HIDDEN_RATE = 1; // updates a second for a page that nobody sees
const HIDDEN_AFTER_MS = 3000; // who looks into another tab for a moment costs no new connection
const SLEPT_MS = 10_000; // a timer that comes late by this is a machine that slept

const RECEIPTS = {
  requested: 'Stop requested: the worker has not seen it yet.',
  acknowledged: 'Stop acknowledged: the function is being stopped.',
  stopped: 'Stopped.',
};

/** The view of one run. */
export class RunPage {
  #run = null;
  #view = null;
  #due = false;
  #tickMs = Date.now();

  constructor() {
    this.element = body();
    this.element.querySelector('#stop-button').addEventListener('click', () => this.#stop());
    for (const name of ['online', 'pageshow']) addEventListener(name, () => this.#wake());
    for (const name of ['visibilitychange', 'resume']) document.addEventListener(name, () => this.#wake());
  }

  get title() {
    return this.#run?.record ? `${stateOf(this.#run)}: ${this.#run.record.function}` : '';
  }

  get connection() {
    const { state, draining } = this.#run?.stream ?? { state: 'idle', draining: false };
    return { state, text: draining ? 'server restarting' : state };
  }

  show({ id }) {
    if (id === this.#run?.id) return;
    this.hide();
    this.#run = this.#open(id);
    this.#view = new RunView();
    this.#draw();
    if (document.hidden) this.#wake(); // opened in the background
  }

  hide() {
    this.#run?.stream.close();
    this.#run = null;
  }

  tick() {
    const sleptMs = Date.now() - this.#tickMs - TICK_MS;
    this.#tickMs = Date.now();
    if (sleptMs > SLEPT_MS) this.#wake();
    if (!this.#run || !isLive(stateOf(this.#run))) return;
    // A connection can die without a word, and heartbeats are comments, which EventSource does not show.
    this.#run.stream.wake();
    this.#draw();
  }

  #open(id) {
    const run = { id, record: null, status: {}, fold: new Fold(), notices: [], receipt: '' };
    run.stream = new RunStream(`${client.base}api/runs/${encodeURIComponent(id)}/events`, {
      take: (event) => this.#take(run, event),
      status: (status) => this.#status(run, status),
      restart: () => restart(run),
      gone: () => this.#load(run),
      change: () => this.#draw(),
    });
    this.#load(run);
    return run;
  }

  #status(run, status) {
    if (status.state === 'running' && run.status.state === 'queued') this.#load(run);
    run.status = status;
    run.receipt = RECEIPTS[status.cancel] ?? run.receipt; // somebody may have stopped it elsewhere
    this.#draw();
  }

  #take(run, event) {
    const verdict = run.fold.apply(event);
    if (isLast(event)) this.#load(run);
    else if (run.status.state === 'queued' && event.type !== 'reset' && event.seq) {
      run.status = { state: 'running' };
      this.#load(run);
    }
    this.#draw();
    return verdict;
  }

  // Whether the server will never serve this run: then the stream need not ask again.
  async #load(run) {
    try {
      run.record = await client.call(`api/runs/${encodeURIComponent(run.id)}`);
      if (isLive(run.record.state)) run.status = run.record;
    } catch (error) {
      if (![401, 403, 404].includes(error.status)) return false;
      run.notices = [sentence(error)];
      run.stream.close();
      return true;
    } finally {
      this.#draw();
    }
    return false;
  }

  async #stop() {
    const run = this.#run;
    const button = this.element.querySelector('#stop-button');
    button.disabled = true;
    try {
      const { cancel } = await client.cancel(run.id);
      run.receipt = RECEIPTS[cancel] ?? cancel ?? '';
    } catch (error) {
      run.receipt = `Not stopped: ${sentence(error)}`;
    }
    button.disabled = false;
    this.#draw();
  }

  // At most once a frame; a hidden tab has no frames, but its title is still read.
  #draw() {
    if (this.#due) return;
    this.#due = true;
    if (document.hidden) setTimeout(() => this.#drawNow(), TICK_MS);
    else requestAnimationFrame(() => this.#drawNow());
  }

  #drawNow() {
    this.#due = false;
    if (!this.#run || !this.element.isConnected) return;
    this.element.dispatchEvent(new Event('viewchange', { bubbles: true }));
    const following = isLive(stateOf(this.#run)) && isAtBottom();
    this.#view.update(this.#run, clock.now());
    if (following) scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
  }

  #wake() {
    if (document.hidden) {
      setTimeout(() => document.hidden && this.#run?.stream.pace(HIDDEN_RATE), HIDDEN_AFTER_MS);
      return;
    }
    this.#run?.stream.pace(0);
    this.#run?.stream.wake();
  }
}

function restart(run) {
  run.notices = [`Events after ${run.fold.position} are missing. Reading this run again from its start.`];
  run.fold = Object.assign(new Fold(), { generation: run.fold.generation + 1 });
}

const isAtBottom = () => {
  const { scrollHeight, clientHeight, scrollTop } = document.documentElement;
  return scrollTop > 0 && scrollHeight - clientHeight - scrollTop < 60;
};

function body() {
  const title = h('h2', {}, h('span', { id: 'run-function' }), ' ', h('a', { id: 'run-link', title: 'Link to this run' }));
  const stop = h('button', { id: 'stop-button', type: 'button' }, 'Stop');
  const facts = h('p', { className: 'facts' }, h('strong', { id: 'run-state', role: 'status' }), ' ', h('span', { id: 'run-clock' }));
  const progress = h('div', { id: 'progress', hidden: true }, h('progress', { ariaLabel: 'Progress' }), h('span'));
  return h(
    'section', { id: 'run', ariaLabel: 'Run' },
    h('div', { className: 'run-head' }, title, stop), facts, h('p', { id: 'receipt', role: 'status' }),
    h('ul', { id: 'notices' }), progress, h('ol', { id: 'steps', className: 'steps', ariaLabel: 'Steps' }),
    h('div', { id: 'answer', className: 'text' }), h('ol', { id: 'values', ariaLabel: 'Values' }), h('div', { id: 'latest' }),
    h('p', { id: 'bytes', className: 'help' }), h('div', { id: 'outcome' }),
    h('details', { id: 'logs', hidden: true }, h('summary'), h('ol')), h('p', { id: 'proof' }),
  );
}
