// Above the zooms: which run it is, how it stands, and what can be done with it.

import { duration, h, number, put } from '../../client/dom.js';
import { clockTime, costOf, isLive, time, tokensOf } from './words.js';

const RECEIPTS = {
  requested: 'Stop requested: the worker has not seen it yet.',
  acknowledged: 'Stop acknowledged: the function is being stopped.',
  stopped: 'Stopped.',
};
const LATE_RECEIPTS = {
  cancelled: 'Stop requested; the run has stopped.',
  other: 'Stop requested; the run ended by itself.',
};

/** @typedef {import('./model.js').RunModel} RunModel */

/** The head of the page. */
export class Head {
  #notices = '';

  /** @param {{stop: () => void, again: () => void, download: () => void, compare: (event: Event) => void}} acts */
  constructor(acts) {
    const button = (
      /** @type {string} */ id,
      /** @type {string} */ words,
      /** @type {(event: Event) => void} */ onclick,
    ) => h('button', { type: 'button', id, onclick }, words);
    this.name = h('span', { id: 'run-function' });
    this.link = /** @type {HTMLAnchorElement} */ (h('a', { id: 'run-link', title: 'Link to this run' }));
    this.state = h('strong', { id: 'run-state', role: 'status' });
    this.clock = h('span', { id: 'run-clock', className: 'time' });
    this.facts = h('span', { id: 'run-facts' });
    this.stop = button('stop-button', 'Stop', acts.stop);
    this.again = button('again-button', 'Run again', acts.again);
    this.compare = button('compare-button', 'Compare', acts.compare);
    this.download = button('download-button', 'Download', acts.download);
    this.receipt = h('p', { id: 'receipt', role: 'status' });
    this.notices = h('ul', { id: 'notices', role: 'status' });
    this.bar = /** @type {HTMLProgressElement} */ (h('progress', { ariaLabel: 'Progress' }));
    this.done = h('span', {});
    this.progress = h('div', { id: 'progress', hidden: true }, this.bar, this.done);
    const actions = h('div', { className: 'actions' }, this.stop, this.again, this.compare, this.download);
    const title = h('h2', {}, this.name, ' ', this.link);
    const standing = h('p', { className: 'standing' }, this.state, ' ', this.clock, ' ', this.facts);
    this.element = h(
      'div',
      { className: 'run-head' },
      title,
      standing,
      actions,
      this.receipt,
      this.notices,
      this.progress,
    );
  }

  /** @param {RunModel} model @param {number} nowMs */
  draw(model, nowMs) {
    const { record, fold } = model;
    const { state } = model;
    put(this.name, record?.function ?? '');
    put(this.link, model.id);
    this.link.href = `#/runs/${encodeURIComponent(model.id)}`;
    put(this.state, describe(state, model.status));
    this.state.dataset.state = state;
    this.tick(model, nowMs);
    this.stop.hidden = !isLive(state);
    this.again.hidden = !record?.function;
    put(this.facts, factsOf(model));
    put(
      this.receipt,
      model.receipt && fold.end ? LATE_RECEIPTS[state === 'cancelled' ? 'cancelled' : 'other'] : model.receipt,
    );
    this.#showNotices([...model.notices, ...model.resets.slice(-2).map(({ message }) => message), ...letGo(model)]);
    this.#progress(fold);
  }

  /**
   * The clock alone.
   * @param {RunModel} model @param {number} nowMs
   */
  tick(model, nowMs) {
    const { startMs, state } = model;
    const lasted = model.endMs(nowMs) - startMs;
    put(this.clock, startMs && state && state !== 'queued' ? (isLive(state) ? clockTime(lasted) : time(lasted)) : '');
  }

  /** @param {string[]} notices */
  #showNotices(notices) {
    const text = notices.join('\n');
    if (text === this.#notices) return;
    this.#notices = text;
    this.notices.replaceChildren(...notices.map((notice) => h('li', {}, notice)));
  }

  /** @param {import('../../client/fold.js').Fold} fold */
  #progress({ progress, end }) {
    this.progress.hidden = !progress || (end?.state === 'succeeded' && progress.done === progress.total);
    if (!progress) return;
    const { done, total, unit = '' } = progress;
    if (total) Object.assign(this.bar, { max: total, value: done });
    else if (!end) this.bar.removeAttribute('value');
    this.bar.hidden = !total && Boolean(end);
    put(this.done, `${total ? `${number(done)} of ${number(total)}` : number(done)} ${unit}`.trim());
  }
}

/** @param {string|undefined} cancel @returns {string|undefined} the receipt of a stop, in words */
export const receiptOf = (cancel) => /** @type {Record<string, string>} */ (RECEIPTS)[cancel ?? ''];

/** @param {string} state @param {{position?: number|null, eta_s?: number|null}} status */
function describe(state, { position, eta_s: etaS }) {
  if (state !== 'queued') return state;
  const place = Number.isInteger(position) ? `, position ${position}` : '';
  return `queued${place}${etaS ? `, about ${duration(etaS * 1000)}` : ''}`;
}

/** @param {RunModel} model */
function factsOf({ attempt, fold, tree }) {
  const { total } = tree;
  const tokens = tokensOf(total);
  return [
    attempt > 1 ? `attempt ${attempt}` : '',
    fold.end?.firstMs == null ? '' : `first output after ${time(fold.end.firstMs)}`,
    tokens && `${tokens} tokens`,
    costOf(total),
    fold.bytes ? `${number(fold.bytes)} bytes received` : '',
  ]
    .filter(Boolean)
    .join(' · ');
}

/** @param {RunModel} model @returns {string[]} */
function letGo({ fold: { dropped, texts }, transcript, droppedErrors: errors }) {
  const parts = Object.entries({ ...dropped, errors, messages: transcript.dropped })
    .filter(([, many]) => many)
    .map(([what, many]) => `${number(many)} ${what}`);
  if (texts.get('')?.cut) parts.push('the beginning of its text');
  return parts.length ? [`This page keeps the newest; ${parts.join(', ')} are to be found in Events only.`] : [];
}
