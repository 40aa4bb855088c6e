// Following the tail: while the reader is at the bottom; who scrolls up is left alone, and told how much is new.

import { h, put } from '../../client/dom.js';
import { count } from './words.js';

const NEAR_PX = 40; // of the bottom, which counts as there: a finger does not hit the last pixel

/** A scroll this soon after a wheel, a finger or a key is the reader's. */
const HAND_MS = 1_000;

let handMs = -Infinity;
let held = false; // a button: a scroll bar is dragged for as long
let listening = false;

// Rows that turn out lower than was guessed, and windows that change their size, scroll as well: that is nobody's wish.
function listen() {
  listening = true;
  const hand = () => (handMs = performance.now());
  for (const name of ['wheel', 'touchmove', 'keydown'])
    document.addEventListener(name, hand, { capture: true, passive: true });
  for (const name of ['pointerdown', 'pointermove', 'pointerup']) {
    document.addEventListener(
      name,
      (event) => {
        if (held || name === 'pointerdown') hand();
        held = /** @type {PointerEvent} */ (event).buttons > 0;
      },
      { capture: true, passive: true },
    );
  }
}

const byHand = () => held || performance.now() - handMs < HAND_MS;

/** Keeps an element that scrolls at its bottom, while the reader wants that. */
export class Follow {
  following = true;
  #resting = false;
  #top = 0;
  #total = 0;
  #seenTotal = 0;

  /** @param {HTMLElement} scroller @param {string} what is new, in the plural */
  constructor(scroller, what) {
    this.scroller = scroller;
    this.what = what;
    this.button = h('button', { type: 'button', className: 'new', hidden: true, onclick: () => this.resume() });
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    if (!listening) listen();
  }

  // Only who scrolls up stops it: at the bottom of what grows one is not at its bottom for a moment.
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    if (scrollHeight - clientHeight - scrollTop < NEAR_PX) this.following = true;
    else if (scrollTop < this.#top - 1) {
      if (byHand()) this.pause();
      else if (this.following) return this.toBottom();
    }
    this.#top = scrollTop;
    this.#show();
  }

  /** A run that has ended is read from its beginning, and nothing in it is new. */
  rest() {
    this.following = false;
    this.#resting = true;
  }

  begin() {
    this.following = true;
    this.#resting = false;
    this.#total = this.#seenTotal = this.#top = 0;
  }

  pause() {
    if (this.following) this.#seenTotal = this.#total;
    this.following = false;
  }

  resume() {
    this.following = true;
    this.toBottom();
  }

  /**
   * What there is has grown.
   * @param {number} total of all
   */
  grown(total) {
    this.#total = total;
    if (total < this.#seenTotal) this.#seenTotal = total;
    if (this.following) this.toBottom();
    this.#show();
  }

  toBottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#top = this.scroller.scrollTop;
    this.#seenTotal = this.#total;
    this.#show();
  }

  #show() {
    if (this.following) this.#seenTotal = this.#total;
    const fresh = this.#total - this.#seenTotal;
    this.button.hidden = this.following || this.#resting || fresh <= 0;
    if (!this.button.hidden) put(this.button, `${count(fresh)} new ${this.what} ↓`);
  }
}
