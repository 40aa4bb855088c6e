// The search inside a run, in small portions between frames, and what it found, marked where it is seen.

import { nextOf, search } from './search.js';

const PORTION_MS = 8; // half a frame
const TYPING_MS = 120; // the next letter is on its way
const AGAIN_MS = 2_000; // of a run that goes on
const MARKED_UNITS = 400_000; // of what is on the page: beyond nobody waits for it
const HIGHLIGHT = 'found';

/** What is sought in one run, and where it was found. */
export class Finder {
  words = '';
  /** @type {import('./search.js').Match[]|null} null while nothing is sought */ matches = null;
  busy = false;
  #round = 0;
  #going = false;
  /** @type {any} */ #timer = 0;
  #position = 0;
  #searchedMs = 0;

  /** @param {() => void} change */
  constructor(change) {
    this.change = change;
  }

  /** @param {string} words @param {import('./model.js').RunModel} model */
  seek(words, model) {
    if (words === this.words) return;
    this.words = words;
    this.#round += 1;
    this.#going = false;
    clearTimeout(this.#timer);
    this.busy = Boolean(words);
    if (!words) this.matches = null;
    else {
      this.matches ??= [];
      this.#timer = setTimeout(() => this.#go(model), TYPING_MS);
    }
    this.change();
  }

  /**
   * More may have come.
   * @param {import('./model.js').RunModel} model
   */
  refresh(model) {
    if (!this.words || this.busy || this.#going || model.fold.position === this.#position) return;
    if (performance.now() - this.#searchedMs > AGAIN_MS) this.#go(model);
  }

  /** @param {import('./model.js').RunModel} model */
  #go(model) {
    const round = (this.#round += 1);
    this.#going = true;
    const steps = search(model, this.words);
    this.#position = model.fold.position;
    const portion = () => {
      if (round !== this.#round) return;
      const untilMs = performance.now() + PORTION_MS;
      for (let step = steps.next(); ; step = steps.next()) {
        if (step.done) return this.#found(step.value);
        if (performance.now() > untilMs) break;
      }
      this.#timer = setTimeout(portion);
    };
    portion();
  }

  /** @param {import('./search.js').Match[]} matches */
  #found(matches) {
    this.matches = matches;
    this.busy = this.#going = false;
    this.#searchedMs = performance.now();
    this.change();
  }

  /** @param {number} seq the place from which to go on @param {1|-1} direction */
  next(seq, direction) {
    const index = this.matches ? nextOf(this.matches, seq, direction) : -1;
    return index < 0 ? null : /** @type {import('./search.js').Match[]} */ (this.matches)[index];
  }

  /** @param {number} seq @returns {number} which match is there, from 1; 0 for none */
  placeOf(seq) {
    return (this.matches?.findIndex((match) => match.seq === seq) ?? -1) + 1;
  }

  /**
   * Mark the words where they are on the page.
   * @param {HTMLElement[]} roots
   */
  mark(roots) {
    const registry = /** @type {any} */ (CSS).highlights; // where it is missing, rows are marked, but not words
    if (!registry || (!this.words && !registry.has(HIGHLIGHT))) return;
    registry.delete(HIGHLIGHT);
    if (!this.words) return;
    const ranges = roots.flatMap((root) => rangesOf(root, this.words.toLowerCase()));
    if (ranges.length) registry.set(HIGHLIGHT, new /** @type {any} */ (globalThis).Highlight(...ranges));
  }
}

/** @param {HTMLElement} root @param {string} words @returns {Range[]} */
function rangesOf(root, words) {
  const ranges = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  let units = 0;
  for (let node; units < MARKED_UNITS && (node = walker.nextNode());) {
    const text = (node.textContent ?? '').toLowerCase();
    units += text.length;
    for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
      if (at + words.length > /** @type {Text} */ (node).length) break; // some letters are longer in small
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + words.length);
      ranges.push(range);
    }
  }
  return ranges;
}
