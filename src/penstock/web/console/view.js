// State to DOM. Each part looks at what it has drawn and adds what is new; nothing here decides anything.

import { KEPT_ITEMS } from '../client/fold.js';
import { duration, h, number, put, span } from '../client/dom.js';
import { TextView } from '../client/text.js';

/** Of one value's JSON, in UTF-16 units: what a person reads, not what a browser chokes on. */
const SHOWN_VALUE = 20_000;
const SHORT_VALUE = 90; // fits on a line: needs no unfolding

const byId = (id) => document.getElementById(id);

/**
 * @typedef {object} Model what is shown of a run
 * @property {string} id
 * @property {any} record of GET api/runs/ID, null until it has come
 * @property {{state?: string, position?: number|null, eta_s?: number|null}} status the latest
 * @property {import('../client/fold.js').Fold} fold
 * @property {import('./old_stream.js').RunStream} stream
 * @property {string[]} notices of this page: events missing, a run that is not there
 * @property {string} receipt of a stop
 */

/** The run on the page. One instance for each run shown. */
export class RunView {
  #lists = new Map();
  #steps = new Map();
  #generation = -1;
  #notices = '';

  constructor() {
    for (const id of ['notices', 'answer']) byId(id).replaceChildren();
    this.answer = new TextView(byId('answer'));
    this.progress = byId('progress').querySelector('progress');
  }

  /** Draw what has changed. @param {Model} model @param {number} nowMs the server's clock */
  update(model, nowMs) {
    const { fold } = model;
    if (fold.generation !== this.#generation) this.#forget(fold.generation);
    this.#head(model, nowMs);
    this.#showNotices([...model.notices, ...fold.notices.map(({ message }) => message)]);
    this.#progress(fold);
    this.#showSteps(model, nowMs);
    this.answer.update(fold.texts.get(''), fold.generation);
    this.#list(byId('values'), fold.values, (item) => h('li', {}, ...labelled(fold, item)));
    this.#latest(fold);
    this.#logs(fold);
    this.#outcome(fold);
  }

  #forget(generation) {
    this.#generation = generation;
    this.#lists.clear();
    this.#steps.clear();
    for (const id of ['steps', 'values', 'latest', 'outcome']) byId(id).replaceChildren();
    byId('logs').querySelector('ol').replaceChildren();
  }

  #head({ id, record, status, fold, stream, receipt }, nowMs) {
    const state = stateOf({ record, status, fold });
    put(byId('run-function'), record?.function ?? '');
    put(byId('run-link'), id);
    byId('run-link').href = `#${encodeURIComponent(id)}`;
    put(byId('run-state'), describe(state, status));
    byId('run-state').dataset.state = state;
    byId('stop-button').hidden = !isLive(state);
    byId('answer').ariaBusy = String(state === 'running');
    const startMs = record?.started_at_ms ?? record?.created_at_ms;
    const endMs = fold.end?.atMs ?? record?.ended_at_ms ?? nowMs;
    put(byId('run-clock'), startMs && state !== 'queued' ? duration(endMs - startMs) : '');
    put(byId('receipt'), receipt && fold.end ? LATE_RECEIPTS[state === 'cancelled' ? 0 : 1] : receipt);
    const { resumes, duplicates } = stream;
    put(byId('proof'), `received ${fold.position} · resumes ${resumes} · duplicates dropped ${duplicates}`);
  }

  #showNotices(notices) {
    const text = notices.join('\n');
    if (text === this.#notices) return;
    this.#notices = text;
    byId('notices').replaceChildren(...notices.map((notice) => h('li', {}, notice)));
  }

  #progress({ progress, end }) {
    byId('progress').hidden = !progress;
    if (!progress) return;
    const { done, total, unit = '' } = progress;
    if (total) Object.assign(this.progress, { max: total, value: done });
    else if (!end) this.progress.removeAttribute('value');
    this.progress.hidden = !total && Boolean(end);
    const count = total ? `${number(done)} of ${number(total)}` : number(done);
    put(this.progress.nextElementSibling, `${count} ${unit}`.trim());
  }

  #showSteps({ fold, record, status }, nowMs) {
    const over = !isLive(stateOf({ record, status, fold }));
    for (const [id, shown] of this.#steps) {
      if (fold.steps.has(id)) continue;
      shown.row.remove();
      this.#steps.delete(id);
    }
    for (const step of fold.steps.values()) {
      if (!this.#steps.has(step.id)) this.#addStep(step);
      this.#steps.get(step.id).update(step, fold, over, nowMs);
    }
  }

  #addStep(step) {
    const shown = new StepView(step);
    this.#steps.set(step.id, shown);
    (this.#steps.get(step.parent)?.children ?? byId('steps')).append(shown.row);
  }

  #latest(fold) {
    for (const item of fold.replaced) {
      const key = `latest/${item.span}`;
      const shown = this.#lists.get(key);
      if (shown?.seq === item.seq) continue;
      const grown = shown && grow(shown, item.value);
      const row = grown ? shown.row : h('div', { className: 'replace' }, ...labelled(fold, item));
      if (!shown) byId('latest').append(row);
      else if (!grown) shown.row.replaceWith(row);
      this.#lists.set(key, { seq: item.seq, row, value: item.value });
    }
    put(byId('bytes'), fold.bytes ? `${number(fold.bytes)} bytes received` : '');
  }

  #logs({ logs }) {
    byId('logs').hidden = logs.length === 0;
    const bad = logs.filter(({ level }) => /^(warn|err|crit)/i.test(level)).length;
    const count = `Log, ${logs.length === KEPT_ITEMS ? 'last ' : ''}${logs.length}`;
    put(byId('logs').querySelector('summary'), bad ? `${count} (${bad} to look at)` : count);
    this.#list(byId('logs').querySelector('ol'), logs, logLine);
  }

  #outcome({ end }) {
    if (!end || byId('outcome').childElementCount) return;
    const { state, result, error } = end;
    if (error) byId('outcome').append(problem(error, state));
    if (result !== undefined && result !== null) byId('outcome').append(h('h3', {}, 'Result'), value(result));
  }

  // Rows are known by their seq: new ones are added below, those the fold has let go leave at the top.
  #list(element, items, make) {
    const shown = this.#lists.get(element) ?? -1;
    const fresh = items.filter((item) => item.seq > shown);
    if (fresh.length === 0) return;
    element.append(...fresh.map(make));
    while (element.childElementCount > items.length) element.firstElementChild.remove();
    this.#lists.set(element, items.at(-1).seq);
  }
}

/** One step: pending with a clock, then its outcome; steps of its own below. */
class StepView {
  #state = '';
  #shownEnd = null;

  constructor({ name, kind, input }) {
    this.mark = span('mark', '');
    this.time = span('time', '');
    this.body = h('div', { className: 'body' });
    this.after = h('div', { className: 'body' });
    this.text = new TextView(h('div', { className: 'text' }));
    this.children = h('ol', { className: 'steps' });
    const words = [span('name', name), span('kind', kind)];
    const head = h('div', { className: 'head' }, this.mark, ...words, this.time);
    if (input !== undefined && input !== null) this.body.append(part('input', input));
    this.row = h('li', { className: 'step' }, head, this.body, this.text.element, this.children, this.after);
  }

  update(step, fold, over, nowMs) {
    const state = step.end ? (step.end.error ? 'failed' : 'done') : over ? 'unfinished' : 'pending';
    this.text.update(fold.texts.get(step.id), fold.generation);
    if (state === 'pending') put(this.time, duration(nowMs - step.startMs));
    if (state === this.#state && step.end === this.#shownEnd) return;
    this.#state = this.row.dataset.state = state;
    this.#shownEnd = step.end;
    this.mark.replaceChildren(span('sr', state));
    if (state !== 'pending') put(this.time, step.end ? duration(step.end.atMs - step.startMs) : 'unfinished');
    if (step.end) this.#end(step.end);
  }

  #end({ output, error }) {
    if (error) this.after.append(problem(error));
    if (output !== undefined && output !== null) this.after.append(part('output', output));
  }
}

/**
 * @param {{record: any, status: any, fold: any}} model
 * @returns {string} the run's state; '' while it is unknown, or while what led to its end is still on the way
 */
export function stateOf({ record, status, fold }) {
  if (fold.end) return fold.end.state;
  if (record && !isLive(record.state)) return '';
  return status.state ?? (fold.position > 0 ? 'running' : '');
}

/** @param {string} state @returns {boolean} whether something may still come */
export const isLive = (state) => state === 'queued' || state === 'running';

const LATE_RECEIPTS = ['Stop requested; the run has stopped.', 'Stop requested; the run ended by itself.'];

function describe(state, { position, eta_s: etaS }) {
  if (state !== 'queued') return state;
  const place = Number.isInteger(position) ? `, position ${position}` : '';
  return `queued${place}${etaS ? `, about ${duration(etaS * 1000)}` : ''}`;
}

function problem({ code, message, hint }, state = 'failed') {
  const element = h('div', { className: 'problem', data: { state } }, h('p', {}, message || 'It failed.'));
  if (hint) element.append(h('p', { className: 'hint' }, hint));
  if (code) element.append(h('code', {}, code));
  return element;
}

function part(name, content) {
  const label = span('label', name);
  const brief = typeof content === 'string' ? content : JSON.stringify(content);
  const preview = h('code', {}, brief.slice(0, 2 * SHORT_VALUE));
  if (isShort(brief)) return h('p', { className: 'part' }, label, preview);
  const details = h('details', { className: 'part' }, h('summary', {}, label, preview));
  // Made when opened: most never are.
  details.addEventListener('toggle', () => details.append(value(content)), { once: true });
  return details;
}

const isShort = (text) => text.length <= SHORT_VALUE && !text.includes('\n');

function value(content) {
  const brief = typeof content === 'string' ? content : JSON.stringify(content);
  const full = typeof content === 'string' || isShort(brief) ? brief : JSON.stringify(content, null, 2);
  const more = full.length - SHOWN_VALUE;
  const note = more > 0 ? `\n… ${number(more)} characters more` : '';
  return h('pre', { tabIndex: 0 }, full.slice(0, SHOWN_VALUE) + note);
}

// A text that has grown is added to, so that what a person has selected in it stays selected.
function grow({ row, value: before }, now) {
  const grows = typeof before === 'string' && typeof now === 'string' && before && now.startsWith(before);
  if (!grows || now.length > SHOWN_VALUE) return false;
  row.querySelector('pre').firstChild.appendData(now.slice(before.length));
  return true;
}

function labelled(fold, { span, value: content }) {
  const step = fold.steps.get(span);
  return step ? [span('label', step.name), value(content)] : [value(content)];
}

function logLine({ atMs, level, message, fields }) {
  const time = h('time', {}, new Date(atMs).toLocaleTimeString());
  const element = h('li', { data: { level } }, time);
  if (level !== 'info') element.append(span('level', level));
  element.append(h('span', {}, message));
  if (fields) element.append(h('code', {}, JSON.stringify(fields).slice(0, SHOWN_VALUE)));
  return element;
}
