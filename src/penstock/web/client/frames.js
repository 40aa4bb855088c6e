// When to draw: at most once a frame, less often where drawing is slow, and once a second where nobody looks.

const HIDDEN_MS = 1_000; // a hidden page has no frames, but its title is read

/** Frames may not come: a covered window, or a page hidden before the one that it asked for. It is drawn all the same. */
const NO_FRAME_MS = 2_000;

/** A picture older than this is none, whatever drawing costs. */
const MOST_WAIT_MS = 1_000;

/** For each millisecond of drawing so many are left to everything else: drawing takes at most a tenth. */
const REST = 9;

/** A drawing that is asked for as often as one likes. */
export class Frames {
  #due = false;
  #notBeforeMs = 0;
  /** @type {any} */ #timer;

  /** @param {() => void} draw */
  constructor(draw) {
    this.draw = draw;
  }

  /** Something has changed. */
  ask() {
    if (this.#due) return;
    this.#due = true;
    this.#plan();
  }

  /** Draw now: who asked is looking. */
  now() {
    this.#due = true;
    this.#run();
  }

  /** The page is seen again. */
  wake() {
    if (!this.#due) return;
    clearTimeout(this.#timer);
    this.#plan();
  }

  #plan() {
    const waitMs = this.#notBeforeMs - performance.now();
    if (globalThis.document?.hidden ?? true) this.#timer = setTimeout(() => this.#run(), HIDDEN_MS);
    else if (waitMs > 20) this.#timer = setTimeout(() => this.#plan(), waitMs - 10);
    else {
      this.#timer = setTimeout(() => this.#run(), NO_FRAME_MS);
      requestAnimationFrame(() => this.#run());
    }
  }

  #run() {
    if (!this.#due) return;
    this.#due = false;
    clearTimeout(this.#timer);
    const startMs = performance.now();
    this.draw();
    // Layout and paint follow the script in the same frame; a task of its own comes after them.
    setTimeout(() => {
      const endMs = performance.now();
      this.#notBeforeMs = endMs + Math.min(MOST_WAIT_MS, REST * (endMs - startMs));
    });
  }
}
