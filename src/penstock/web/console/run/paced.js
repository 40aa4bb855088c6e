// Drawing at most once a frame, and where drawing costs more, less often.

/** Of the main thread, for drawing: the rest is for who reads, scrolls and types. */
const SHARE = 1 / 10;
const MOST_WAIT_MS = 1_000; // a picture older than this is none
const HIDDEN_MS = 1_000; // nobody looks, but the title is still read
const FRAME_MS = 16;

/** Calls `draw` soon after it was asked to, as seldom as its cost demands. */
export class Paced {
  #due = false;
  #notBeforeMs = 0;
  #startedMs = 0;
  #channel = new MessageChannel();

  /** @param {() => void} draw */
  constructor(draw) {
    this.draw = draw;
    // Comes after the frame's layout and painting, which cost as much as our own work.
    this.#channel.port1.onmessage = () => this.#painted();
  }

  ask() {
    if (this.#due) return;
    this.#due = true;
    const waitMs = document.hidden ? HIDDEN_MS : this.#notBeforeMs - performance.now() - FRAME_MS;
    if (waitMs > 0) setTimeout(() => this.#nextFrame(), waitMs);
    else this.#nextFrame();
  }

  /** Draw now: who asked is looking. */
  now() {
    this.#due = true;
    this.#run();
  }

  #nextFrame() {
    if (document.hidden) this.#run();
    else requestAnimationFrame(() => this.#run());
  }

  #run() {
    if (!this.#due) return;
    this.#due = false;
    this.#startedMs = performance.now();
    this.draw();
    this.#channel.port2.postMessage(null);
  }

  #painted() {
    const costMs = performance.now() - this.#startedMs;
    this.#notBeforeMs = this.#startedMs + Math.min(MOST_WAIT_MS, costMs / SHARE);
  }
}
