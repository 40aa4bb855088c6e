// How the service is: figures of the last two minutes, and in words what is wrong.

import { h, put } from '../client/dom.js';
import { PenstockError } from '../client/errors.js';
import { ChartView } from './chart.js';
import { CHARTS, KEPT, figuresOf, speakerOf, troublesOf } from './health-figures.js';
import { Metrics } from './metrics.js';
import { polling } from './polling.js';
import { client } from './server.js';

const EVERY_MS = 1000;
const TIME = { spanMs: KEPT * EVERY_MS, gapMs: 3.5 * EVERY_MS };

/** The view. */
export class HealthView {
  title = 'Health';
  /** @type {import('./health-figures.js').Figures[]} */ #history = [];
  /** @type {{metrics: Metrics, atMs: number}[]} as many as `#history` */ #looks = [];
  /** @type {{status: number, code?: string, message?: string, hint?: string, memory?: string}} */
  #ready = { status: 200 };
  /** @type {{close: () => void}|null} */ #polled = null;

  constructor() {
    this.charts = CHARTS.map((chart) => new ChartView(chart, TIME));
    this.troubles = h('ul', { className: 'troubles', role: 'status' });
    this.speaker = h('p', { className: 'help whose' });
    const charts = h('div', { className: 'charts' }, ...this.charts.map(({ element }) => element));
    this.element = h(
      'div',
      { id: 'health' },
      h('h1', { className: 'sr' }, 'Health'),
      this.troubles,
      charts,
      this.speaker,
    );
  }

  show() {
    this.#polled ??= polling.add({
      everyMs: EVERY_MS,
      load: () => this.#load(),
      failed: (error) => this.#failed(error),
    });
  }

  hide() {
    this.#polled?.close();
    this.#polled = null;
  }

  async #load() {
    const [text, ready] = await Promise.all([askMetrics(), askReady()]);
    const metrics = new Metrics(text);
    const atMs = performance.now();
    this.#ready = ready;
    const last = this.#looks.at(-1);
    this.#history.push(figuresOf(metrics, atMs, last && atMs - last.atMs < TIME.gapMs ? last : null));
    this.#looks.push({ metrics, atMs });
    while (atMs - this.#looks[0].atMs > TIME.spanMs || this.#looks.length > KEPT) {
      this.#looks.shift();
      this.#history.shift();
    }
    this.#draw();
  }

  /** @param {any} error */
  #failed(error) {
    this.#ready = { status: error.status ?? 0, code: error.code, message: error.message, hint: error.hint };
    this.#draw();
  }

  #draw() {
    const last = this.#looks.at(-1);
    const known = { metrics: last?.metrics ?? null, first: this.#looks[0]?.metrics ?? null };
    const troubles = troublesOf({ ...known, ready: this.#ready, figures: this.#history.at(-1) });
    const lines = troubles.length ? troubles : ['Nothing is wrong.'];
    this.troubles.classList.toggle('bad', troubles.length > 0);
    if ([...this.troubles.children].map((one) => one.textContent).join() !== lines.join()) {
      this.troubles.replaceChildren(...lines.map((line) => h('li', {}, line)));
    }
    for (const chart of this.charts) chart.show(this.#history, performance.now());
    if (last) put(this.speaker, speakerOf(last.metrics));
  }
}

/** @param {string} path */
async function ask(path) {
  return fetch(client.base + path).catch(() => {
    throw new PenstockError(0, { message: 'The server does not answer.' });
  });
}

async function askMetrics() {
  const answer = await ask('metrics');
  if (!answer.ok) throw new PenstockError(answer.status, (await answer.json().catch(() => ({}))).error);
  return answer.text();
}

async function askReady() {
  const answer = await ask('readyz');
  const { error = {}, memory } = await answer.json().catch(() => ({}));
  return { status: answer.status, memory, ...error };
}
