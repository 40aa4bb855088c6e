// What is known of one step, or one event: beside the list, below it on a small screen.

import { h, put, span } from '../../client/dom.js';
import { TextView } from '../../client/text.js';
import { lightened } from './brief.js';
import { stateOf } from './model.js';
import { copyButton, inLine, isThere, problemBlock, textOf, valueBlock } from './values.js';
import { clockTime, costOf, count, time, tokensOf } from './words.js';

const SHOWN_ITEMS = 50; // logs and values of one step; more are among the events
const LINE_UNITS = 300;

/** @typedef {import('./model.js').RunModel} RunModel */
/** @typedef {import('./tree.js').Node} Node */

/** Beside the zooms; hidden while nothing is chosen. */
export class Panel {
  /** @type {string|null} the step that is open; '' is the run */ span = null;
  /** @type {number|null} the event that is open */ seq = null;
  #drawn = '';
  /** @type {TextView|null} */ #text = null;
  #items = 0;

  /**
   * @param {object} acts
   * @param {() => void} acts.close
   * @param {(seq: number) => void} acts.showEvent
   * @param {(span: string) => void} acts.showStep
   * @param {(seq: number) => Promise<any>} acts.load
   * @param {(part: string, id: string|number) => string} acts.link
   */
  constructor(acts) {
    this.acts = acts;
    this.title = h('h3', { tabIndex: -1 });
    this.actions = h('div', { className: 'panel-actions' });
    this.body = h('div', { className: 'panel-body' });
    const close = h(
      'button',
      { type: 'button', className: 'plain', ariaLabel: 'Close the details', onclick: acts.close },
      'Close',
    );
    const head = h('div', { className: 'panel-head' }, this.title, this.actions, close);
    this.element = h('aside', { className: 'panel', ariaLabel: 'Details', hidden: true }, head, this.body);
  }

  hide() {
    this.span = this.seq = null;
    this.#drawn = '';
    this.element.hidden = true;
    this.body.replaceChildren();
  }

  /** @param {string} id @param {RunModel} model @param {number} nowMs */
  showStep(id, model, nowMs) {
    if (this.span !== id) this.#drawn = '';
    this.span = id;
    this.seq = null;
    this.element.hidden = false;
    this.draw(model, nowMs);
  }

  /** @param {number} seq @param {any} event */
  showEvent(seq, event) {
    this.seq = seq;
    this.span = null;
    this.#drawn = '';
    this.element.hidden = false;
    put(this.title, `Event ${count(seq)}`);
    const step = event?.span
      ? [h('button', { type: 'button', className: 'plain', onclick: () => this.acts.showStep(event.span) }, 'Its step')]
      : [];
    this.actions.replaceChildren(
      copyButton('link', () => this.acts.link('event', seq), 'Copy link'),
      ...step,
    );
    this.body.replaceChildren(
      event ? valueBlock('JSON', event, async () => event) : h('p', { className: 'help' }, 'Loading…'),
    );
  }

  /** @param {RunModel} model @param {number} nowMs */
  draw(model, nowMs) {
    if (this.span === null) return;
    const node = model.tree.nodes.get(this.span);
    if (!node) return this.#gone();
    const end = node.step ? node.step.end : model.fold.end;
    const state = stateOf(node, model);
    const drawn = [this.span, model.fold.generation, end?.seq, state, Boolean(model.record)].join();
    if (drawn !== this.#drawn) this.#fill(node, model);
    this.#drawn = drawn;
    this.#text?.update(model.fold.texts.get(this.span), model.fold.generation);
    this.#facts(node, model, state, nowMs);
    this.#rest(model);
  }

  #gone() {
    put(this.title, 'This step is not there');
    this.actions.replaceChildren();
    this.body.replaceChildren(
      h('p', { className: 'help' }, 'It was withdrawn, or it is older than what this page keeps.'),
    );
    this.#drawn = '';
  }

  /** @param {Node} node @param {RunModel} model */
  #fill({ step, id }, model) {
    put(this.title, step ? step.name : (model.record?.function ?? 'Run'));
    const first = step ? step.seq : 1;
    this.actions.replaceChildren(
      copyButton('link', () => (step ? this.acts.link('step', id) : this.acts.link('', '')), 'Copy link'),
      h('button', { type: 'button', className: 'plain', onclick: () => this.acts.showEvent(first) }, 'Its events'),
    );
    this.facts = h('dl', { className: 'panel-facts' });
    const said = h('div', { className: 'text' });
    this.#text = new TextView(said);
    this.#items = 0;
    this.rest = h('div', {});
    const text = h(
      'section',
      { className: 'block said-block' },
      h(
        'div',
        { className: 'block-head' },
        span('label', 'Text'),
        copyButton('text', () => model.fold.textOf(id)),
      ),
      said,
    );
    this.body.replaceChildren(this.facts, ...this.#outcome(step, model), text, this.rest);
  }

  /** @param {import('../../client/fold.js').Step|null} step @param {RunModel} model @returns {HTMLElement[]} */
  #outcome(step, { fold, record }) {
    const blocks = [];
    const error = step ? step.end?.error : fold.end?.error;
    if (error) blocks.push(problemBlock(error));
    const input = step ? step.input : lightened(record?.input);
    const output = step ? step.end?.output : fold.end?.result;
    const from = async (/** @type {number} */ seq, /** @type {string} */ part) => (await this.acts.load(seq))[part];
    if (isThere(input))
      blocks.push(valueBlock('Input', input, async () => (step ? from(step.seq, 'input') : record.input)));
    if (isThere(output)) {
      blocks.push(
        valueBlock(step ? 'Output' : 'Result', output, () =>
          from(step?.end?.seq ?? fold.end?.seq ?? 0, step ? 'output' : 'result'),
        ),
      );
    }
    return blocks;
  }

  /** @param {Node} node @param {RunModel} model @param {string} state @param {number} nowMs */
  #facts({ step, total }, model, state, nowMs) {
    const startMs = step ? step.startMs : model.startMs;
    const end = step ? step.end : model.fold.end;
    const own = step?.end?.usage;
    const inside = total && tokensOf(total) + costOf(total) !== tokensOf(own) + costOf(own) ? total : null;
    const facts = {
      State: step ? state : model.state,
      Kind: step?.kind,
      Start:
        step && model.startMs ? `+${time(startMs - model.startMs)}` : startMs ? new Date(startMs).toLocaleString() : '',
      Time:
        !startMs || state === 'unfinished'
          ? ''
          : state === 'pending'
            ? clockTime(nowMs - startMs)
            : time((end?.atMs ?? model.endMs(nowMs)) - startMs),
      'First output': end?.firstMs == null ? '' : time(end.firstMs),
      Model: own?.model,
      Tokens: tokensOf(own),
      Cost: costOf(own),
      [step ? 'With steps inside' : 'All steps']: inside
        ? [tokensOf(inside), costOf(inside)].filter(Boolean).join(', ')
        : '',
      Attempt: step ? '' : String(model.attempt),
      Session: step ? '' : model.record?.session,
      Key: step ? '' : model.record?.key,
    };
    const rows = Object.entries(facts).filter(([, words]) => words);
    const shown = rows.flat().join('\n');
    if (this.facts?.dataset.shown === shown) return;
    if (this.facts) this.facts.dataset.shown = shown;
    this.facts?.replaceChildren(...rows.flatMap(([name, words]) => [h('dt', {}, name), h('dd', {}, words ?? '')]));
  }

  /**
   * Its values and logs.
   * @param {RunModel} model
   */
  #rest({ fold }) {
    const total = fold.values.length + fold.logs.length + (fold.replacedOf(this.span ?? '')?.seq ?? 0);
    if (total === this.#items) return;
    this.#items = total;
    const own = (/** @type {{span: string}} */ item) => item.span === this.span;
    const values = lastOf(fold.values, own);
    const logs = lastOf(fold.logs, own);
    const replaced = fold.replacedOf(this.span ?? '');
    const blocks = values.map(({ seq, value }) =>
      valueBlock('Value', value, async () => (await this.acts.load(seq)).value),
    );
    if (replaced) blocks.unshift(valueBlock('Latest value', lightened(replaced.value), async () => replaced.value));
    if (logs.length) blocks.push(logBlock(logs));
    this.rest?.replaceChildren(...blocks);
  }
}

/**
 * The last of them, in order. Looks no further than it must.
 * @template T @param {T[]} items @param {(item: T) => boolean} fits @returns {T[]}
 */
function lastOf(items, fits) {
  const found = [];
  for (let index = items.length - 1; index >= 0 && found.length < SHOWN_ITEMS; index -= 1) {
    if (fits(items[index])) found.push(items[index]);
  }
  return found.reverse();
}

/** @param {import('../../client/fold.js').Log[]} logs @returns {HTMLElement} */
function logBlock(logs) {
  const title = logs.length === SHOWN_ITEMS ? `Log, last ${SHOWN_ITEMS}` : 'Log';
  const text = () =>
    logs
      .map(({ level, message, fields }) => [level, message, isThere(fields) ? textOf(fields) : ''].join(' ').trim())
      .join('\n');
  const rows = logs.map(({ atMs, level, message, fields }) => {
    const line = h('li', { data: { level } }, h('time', {}, new Date(atMs).toLocaleTimeString()));
    if (level !== 'info') line.append(span('level', level));
    line.append(h('span', {}, message));
    if (isThere(fields)) line.append(h('code', {}, inLine(fields, LINE_UNITS)));
    return line;
  });
  const head = h('div', { className: 'block-head' }, span('label', title), copyButton('log', text));
  return h('section', { className: 'block', id: 'logs' }, head, h('ol', { className: 'logs' }, ...rows));
}
