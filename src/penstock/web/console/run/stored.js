// The events of a run as the store has them, one for each seq, read in windows where somebody looks. No DOM.

import { Pieces } from '../../client/pieces.js';

/** Windows kept; each is one answer of the server's, of about 256 KiB. */
const KEPT_WINDOWS = 12;
/** Who looks upwards gets some of what is further up at once. */
const BEFORE = 300;
/** Pieces of one event: 16 MiB of at least 32 KiB each, and some of them shorter. */
const MOST_ANSWERS = 200;

/** @typedef {{events: any[], from: number, to: number}} Window its events are `from` to `to` */

/** Reads the stored events of one run. */
export class Stored {
  /** @type {Window[]} the latest used last */ #windows = [];
  #epoch = '';
  /** @type {Promise<boolean>|null} */ #reading = null;

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

  /** @param {number} seq @returns {any} the event, where it is at hand */
  at(seq) {
    for (let index = this.#windows.length - 1; index >= 0; index -= 1) {
      const { events, from, to } = this.#windows[index];
      if (seq >= from && seq <= to) return events[seq - from];
    }
    return undefined;
  }

  /**
   * Have the events of a range at hand, as far as they are stored. One request at a time: who scrolls fast asks for
   * what is seen when the last one was answered.
   * @param {number} from @param {number} to @param {boolean} [upwards] more of what is before is wanted
   * @returns {Promise<boolean>|null} whether something has come; null where all is there, or is on its way
   */
  want(from, to, upwards = false) {
    if (this.#reading) return null;
    let missing = from;
    while (missing <= to && this.at(missing)) missing += 1;
    if (missing > to) return null;
    const begin = upwards ? Math.max(0, missing - 1 - BEFORE) : missing - 1;
    this.#reading = this.#read(begin).finally(() => { this.#reading = null; });
    return this.#reading;
  }

  /** @param {number} after @returns {Promise<boolean>} whether something has come */
  async #read(after) {
    const { events } = await this.after(after);
    const stored = events.filter(({ type, seq }) => type !== 'reset' || seq);
    if (!stored.length) return false;
    const window = { events: stored, from: stored[0].seq, to: stored.at(-1).seq };
    if (window.to - window.from + 1 !== stored.length) return false; // what retention merged can't be told apart
    this.#windows = this.#windows.filter(({ from, to }) => from < window.from || to > window.to);
    this.#windows.push(window);
    if (this.#windows.length > KEPT_WINDOWS) this.#windows.shift();
    return true;
  }

  /**
   * One event, put together where it came in pieces.
   * @param {number} seq that of its last piece
   * @returns {Promise<any>}
   * @throws {Error} where it is not there any more
   */
  async whole(seq) {
    const { events: [last] } = await this.after(seq - 1);
    if (last?.seq !== seq) throw new Error('The store does not have this event any more.');
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
    for (let position = 0; ; ) {
      const { events, done } = await this.after(position);
      const stored = events.filter(({ seq }) => seq > position);
      if (stored.length) yield stored;
      position = stored.at(-1)?.seq ?? position;
      if (done || !stored.length) return;
    }
  }
}
