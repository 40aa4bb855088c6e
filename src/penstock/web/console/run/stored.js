// The events of a run as the store has them, read in windows where somebody looks. No DOM.

import { Pieces } from '../../client/pieces.js';

/** Windows kept; each is one answer of the server's, of about 256 KiB. */
const KEPT_WINDOWS = 12;
/** Who looks upwards gets some of what is further up at once. */
const BEFORE = 300;
/** Pieces of one event: 16 MiB of at least 32 KiB each, and some of them shorter. */
const MOST_ANSWERS = 200;

/** @typedef {{events: any[], from: number, to: number}} Window its events stand for `from` to `to` */

/** Reads the stored events of one run. */
export class Stored {
  /** @type {Window[]} the latest used last */ #windows = [];
  #epoch = '';
  /** @type {Promise<Window|null>|null} */ #reading = null;

  /**
   * @param {(path: string) => Promise<any>} call
   * @param {string} run its id
   */
  constructor(call, run) {
    this.call = call;
    this.path = `api/runs/${encodeURIComponent(run)}`;
  }

  /**
   * What follows an event.
   * @param {number} seq 0 for the start
   * @returns {Promise<{events: any[], done: boolean}>} `events` may be none; a `reset` comes first where the stream is new
   */
  async after(seq) {
    if (seq && !this.#epoch) await this.after(0);
    const cursor = seq ? `&after=${this.#epoch}-${seq}` : '';
    const answer = await this.call(`${this.path}/events?poll=0&rate=0${cursor}`);
    [this.#epoch] = answer.cursor.split('-');
    return answer;
  }

  /**
   * The event that stands for a place, where it is at hand: neighbours that merge were stored as one.
   * @param {number} seq
   * @returns {any}
   */
  at(seq) {
    for (let index = this.#windows.length - 1; index >= 0; index -= 1) {
      const { events, from, to } = this.#windows[index];
      if (seq >= from && seq <= to) return events[indexOf(events, seq)];
    }
    return undefined;
  }

  /**
   * Have the events of a range at hand, as far as they are stored. One request at a time: who scrolls fast asks for
   * what is seen when the last one was answered.
   * @param {number} from @param {number} to @param {boolean} [upwards] more of what is before is wanted
   * @returns {Promise<Window|null>|null} what has come, if anything; null where all is there, or is on its way
   */
  want(from, to, upwards = false) {
    if (this.#reading) return null;
    let missing = from;
    for (let event; missing <= to && (event = this.at(missing));) missing = event.seq + 1;
    if (missing > to) return null;
    this.#reading = this.#reach(missing, upwards ? BEFORE : 0).finally(() => {
      this.#reading = null;
    });
    return this.#reading;
  }

  // Of large events few are in an answer: then what is further up can't come with it.
  /** @param {number} seq @param {number} before @returns {Promise<Window|null>} */
  async #reach(seq, before) {
    const found = before ? await this.#read(Math.max(0, seq - 1 - before)) : null;
    const window = found && found.to >= seq ? found : await this.#read(seq - 1);
    if (window) this.#keep(window);
    return window;
  }

  /** @param {number} after @returns {Promise<Window|null>} */
  async #read(after) {
    const { events } = await this.after(after);
    const stored = events.filter(({ type, seq }) => type !== 'reset' || seq);
    if (!stored.length) return null;
    const [first] = stored;
    return { events: stored, from: first.seq - (first.n ?? 1) + 1, to: stored[stored.length - 1].seq };
  }

  /** @param {Window} window */
  #keep(window) {
    this.#windows = this.#windows.filter(({ from, to }) => from < window.from || to > window.to);
    this.#windows.push(window);
    if (this.#windows.length > KEPT_WINDOWS) this.#windows.shift();
  }

  /**
   * One event, put together where it came in pieces.
   * @param {number} seq that of its last piece
   * @returns {Promise<any>}
   * @throws {Error} where it is not there any more
   */
  async whole(seq) {
    const {
      events: [last],
    } = await this.after(seq - 1);
    if (!last || last.seq !== seq) throw new Error('The store does not have this event any more.');
    if (last.type !== 'piece') return last;
    const pieces = new Pieces();
    let position = seq - last.part - 1;
    for (let answers = 0; answers < MOST_ANSWERS; answers += 1) {
      for (const event of (await this.after(position)).events) {
        const whole = pieces.add(event);
        if (event.seq === seq) return whole;
        position = event.seq;
      }
    }
    throw new Error('The event has more pieces than it may.');
  }

  /**
   * All events, in order, as many as one answer has at a time.
   * @returns {AsyncGenerator<any[], void, void>}
   */
  async *pages() {
    for (let position = 0; ;) {
      const { events, done } = await this.after(position);
      const stored = events.filter(({ seq }) => seq > position);
      if (stored.length) yield stored;
      if (stored.length) position = stored[stored.length - 1].seq;
      if (done || !stored.length) return;
    }
  }
}

/** @param {{seq: number}[]} events @param {number} seq @returns {number} the first that reaches as far */
function indexOf(events, seq) {
  let low = 0;
  let high = events.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].seq >= seq) high = middle;
    else low = middle + 1;
  }
  return low;
}
