// Streaming text to DOM: appends only, so that the ten-thousandth token costs what the first one did.

import { KEPT_TEXT } from './fold.js';

const BLOCK_UNITS = 2_000; // new text lays out its own block, not all that stands above it
const LINE_UNITS = 2_000; // of an unfinished line, redrawn until its links and code are complete

const MARKS = /(https?:\/\/[^\s<>"'`)\]]*[^\s<>"'`)\].,;:!?])|(\[\d{1,3}\])|(`[^`\n]+`)/g;

/** @typedef {HTMLElement & {units?: number}} Block with the length of its finished lines */

/** A text that grows. `textContent` of its element is the text, unchanged. */
export class TextView {
  #shownSeq = 0;
  #generation = 0;
  #line = '';
  #lineStart = true;
  #fenced = false;
  #units = 0;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.tail = document.createElement('span');
  }

  /**
   * Show what is new in `text`; all of it anew after a withdrawal.
   * @param {import('./fold.js').Text | undefined} text
   * @param {number} generation the fold's
   */
  update(text, generation) {
    if (generation !== this.#generation) this.#clear(generation);
    const pieces = text?.pieces ?? [];
    let from = pieces.length;
    while (from > 0 && pieces[from - 1].seq > this.#shownSeq) from -= 1;
    const last = pieces.at(-1);
    if (!last || from === pieces.length) return;
    this.#append(pieces.slice(from).map((piece) => piece.text).join(''));
    this.#shownSeq = last.seq;
    if (text?.cut) this.element.dataset.cut = 'Earlier text is not shown.';
  }

  /** @param {number} generation */
  #clear(generation) {
    this.#generation = generation;
    this.#shownSeq = this.#units = 0;
    this.#line = '';
    this.#lineStart = true;
    this.#fenced = false;
    this.element.replaceChildren();
    delete this.element.dataset.cut;
  }

  /** @param {string} text */
  #append(text) {
    const rest = this.#line + text;
    let cut = rest.lastIndexOf('\n') + 1;
    if (rest.length - cut > LINE_UNITS) cut = rest.lastIndexOf(' ') + 1 || rest.length;
    for (const line of rest.slice(0, cut).match(/[^\n]*\n|[^\n]+/g) ?? []) this.#commit(line);
    this.#line = rest.slice(cut);
    this.tail.replaceChildren(...this.#render(this.#line));
    this.#block().append(this.tail);
  }

  /** @param {string} line */
  #commit(line) {
    const block = this.#block();
    const isFence = this.#lineStart && /^\s*```/.test(line);
    const nodes = this.#render(line, isFence);
    if (isFence) this.#fenced = !this.#fenced;
    this.#lineStart = line.endsWith('\n');
    this.tail.remove();
    for (const node of nodes) {
      if (typeof node === 'string' && block.lastChild instanceof Text) block.lastChild.appendData(node);
      else block.append(node);
    }
    block.units = (block.units ?? 0) + line.length;
    this.#units += line.length;
    this.#bound();
  }

  /** @returns {Block} the one that grows */
  #block() {
    const last = /** @type {Block|null} */ (this.element.lastElementChild);
    if (last && !(this.#lineStart && (last.units ?? 0) > BLOCK_UNITS)) return last;
    return this.element.appendChild(document.createElement('div'));
  }

  #bound() {
    while (this.#units > KEPT_TEXT && this.element.childElementCount > 1) {
      const oldest = /** @type {Block} */ (this.element.firstElementChild);
      this.#units -= oldest.units ?? 0;
      oldest.remove();
    }
  }

  /** @param {string} line */
  #render(line, isFence = false) {
    if (!this.#fenced && !isFence) return inline(line);
    return line ? [make('code', isFence ? 'fence edge' : 'fence', line)] : [];
  }
}

/**
 * One line as strings and elements: links, citations such as [3], `code`. Every character stays.
 * @param {string} line
 */
function inline(line) {
  /** @type {(string|HTMLElement)[]} */ const nodes = [];
  let done = 0;
  for (const match of line.matchAll(MARKS)) {
    const { index = 0 } = match;
    if (index > done) nodes.push(line.slice(done, index));
    nodes.push(mark(match));
    done = index + match[0].length;
  }
  if (done < line.length) nodes.push(line.slice(done));
  return nodes;
}

/** @param {RegExpMatchArray} match */
function mark([text, url, citation]) {
  if (citation) return make('span', 'cite', text);
  if (!url) return make('code', '', text);
  const link = make('a', '', text);
  Object.assign(link, { href: url, target: '_blank', rel: 'noopener noreferrer' });
  return link;
}

/** @param {'span'|'code'|'a'} tag @param {string} className @param {string} text */
function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}
