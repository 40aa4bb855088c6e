// Streaming text to DOM: appends only, so that the ten-thousandth token costs what the first one did.

import { KEPT_TEXT, textBetween } from './texts.js';

const BLOCK_UNITS = 2_000; // new text lays out its own block, not all that stands above it
const LONG_BLOCK_UNITS = 8_000; // of one without an end of line: then it ends at a word
const LINE_UNITS = 2_000; // of an unfinished line, redrawn until its links and code are complete

// Lines, and of long ones parts that end at a word where there is one.
const LINES = /[^\n]{0,1999}\n|[^\n]{1,1999} |[^\n]{1,2000}/g;
const MARKS = /(https?:\/\/[^\s<>"'`)\]]*[^\s<>"'`)\].,;:!?])|(\[\d{1,3}\])|(`[^`\n]+`)/g;

/** A text that grows, or a part of it. `textContent` of its element is the text, unchanged. */
export class TextView {
  #shown = -1; // up to this place of the text, in UTF-16 units
  #generation = 0;
  #line = '';
  #lineStart = true;
  #fenced = false;
  #units = 0;
  /** @type {{element: HTMLElement, units: number}[]} */ #blocks = [];

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.tail = document.createElement('span');
  }

  /**
   * Show what is new in `text`; all of it anew after a withdrawal.
   * @param {import('./texts.js').Text | undefined} text
   * @param {number} generation the fold's
   * @param {number} [from] a place in it, in UTF-16 units @param {number} [to] its end, by default
   */
  update(text, generation, from = 0, to = Infinity) {
    if (generation !== this.#generation) this.clear();
    this.#generation = generation;
    const end = Math.min(to, text?.units ?? 0);
    if (this.#shown < 0) this.#begin(text, from);
    if (end <= this.#shown) return;
    this.#append(textBetween(text, this.#shown, end));
    this.#shown = end;
  }

  /**
   * Show that this is the text, whatever was shown: it is added to where it begins as that does.
   * @param {string} text
   */
  replace(text) {
    const before = this.#whole;
    if (text === before) return;
    const grows = before !== '' && text.startsWith(before);
    if (!grows) this.clear();
    this.#append(grows ? text.slice(before.length) : text);
    this.#whole = text;
  }

  #whole = '';

  clear() {
    this.#shown = -1;
    this.#units = 0;
    this.#line = this.#whole = '';
    this.#lineStart = true;
    this.#fenced = false;
    this.#blocks = [];
    this.element.replaceChildren();
    delete this.element.dataset.cut;
  }

  /** @param {import('./texts.js').Text | undefined} text @param {number} from */
  #begin(text, from) {
    this.#shown = Math.max(from, text?.cut?.units ?? 0);
    if (this.#shown > from) this.#sayCut();
  }

  #sayCut() {
    this.element.dataset.cut = 'Earlier text is not kept on this page.';
  }

  /** @param {string} text */
  #append(text) {
    const rest = this.#line + text;
    let cut = rest.lastIndexOf('\n') + 1;
    if (rest.length - cut > LINE_UNITS) cut = rest.lastIndexOf(' ') + 1 || rest.length;
    for (const line of rest.slice(0, cut).match(LINES) ?? []) this.#commit(line);
    this.#line = rest.slice(cut);
    this.tail.replaceChildren(...this.#render(this.#line));
    this.#block().element.append(this.tail);
  }

  /** @param {string} line all of one, or a part */
  #commit(line) {
    const block = this.#block();
    const isFence = this.#lineStart && /^\s*```/.test(line);
    const nodes = this.#render(line, isFence);
    if (isFence) this.#fenced = !this.#fenced;
    this.#lineStart = line.endsWith('\n');
    this.tail.remove();
    for (const node of nodes) {
      const last = block.element.lastChild;
      if (typeof node === 'string' && last instanceof Text) last.appendData(node);
      else block.element.append(node);
    }
    block.units += line.length;
    this.#units += line.length;
    this.#bound();
  }

  #block() {
    const last = this.#blocks.at(-1);
    const full = last && (this.#lineStart ? last.units > BLOCK_UNITS : last.units > LONG_BLOCK_UNITS);
    if (last && !full) return last;
    const block = { element: document.createElement('div'), units: 0 };
    this.#blocks.push(block);
    this.element.append(block.element);
    return block;
  }

  #bound() {
    while (this.#units > KEPT_TEXT && this.#blocks.length > 1) {
      const oldest = this.#blocks.shift();
      this.#units -= oldest?.units ?? 0;
      oldest?.element.remove();
      this.#sayCut();
    }
  }

  /** @param {string} line @param {boolean} [isFence] @returns {(string|Node)[]} */
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
  const nodes = [];
  let done = 0;
  for (const match of line.matchAll(MARKS)) {
    const at = match.index ?? 0;
    if (at > done) nodes.push(line.slice(done, at));
    nodes.push(mark(match));
    done = at + match[0].length;
  }
  if (done < line.length) nodes.push(line.slice(done));
  return nodes;
}

/** @param {string[]} match */
function mark([text, url, citation]) {
  if (citation) return make('span', 'cite', text);
  if (!url) return make('code', '', text);
  const link = make('a', '', text);
  Object.assign(link, { href: url, target: '_blank', rel: 'noopener noreferrer' });
  return link;
}

/** @param {string} tag @param {string} className @param {string} text */
function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}
