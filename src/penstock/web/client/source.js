// One run's events as a connection brings them, and the readers to whom they go.

import { Pieces } from './pieces.js';
import { cursorOf, isLast, placeOf, positionAfter, verdictOn } from './place.js';

/** An event on its way to readers: itself, and its JSON once somebody needs that. */
export class Told {
  /** @type {string|undefined} */ #data;

  /** @param {any} event @param {string} cursor after it @param {string} [data] its JSON, where that is at hand */
  constructor(event, cursor, data) {
    this.event = event;
    this.cursor = cursor;
    this.#data = data;
  }

  get data() {
    return (this.#data ??= JSON.stringify(this.event));
  }
}

/** Something other than what follows has come: what is missing is to be read again. */
export class Torn extends Error {}

/** The run's side of it: where the connection stands, for all its readers. */
export class Source {
  /** @type {string} with the pieces of an event that is not complete yet */ cursor;
  /** of the last complete event */ position = 0;
  /** the last status, for those who come later */ status = '';
  ended = false;
  resumes = 0;
  /** @type {Set<import('./reader.js').Reader>} */ readers = new Set();
  #epoch = '';
  #pieces = new Pieces();

  /** @param {string} run @param {string} after where it begins; '' is the start */
  constructor(run, after) {
    this.run = run;
    this.cursor = this.began = after;
    ({ seq: this.position, epoch: this.#epoch } = placeOf(after));
  }

  /** whether nothing has come since the cursor that it was given */
  get unmoved() {
    return this.cursor !== '' && this.cursor === this.began;
  }

  /** whether its first readers want the state rather than what led to it */
  get fold() {
    return [...this.readers].every((reader) => reader.fold);
  }

  /**
   * Take one event, or a piece of one.
   * @param {any} raw
   * @param {string} cursor after it; '' where it moves none
   * @param {string} [data] the JSON of exactly this event
   * @throws {Torn} where it does not follow what has come
   */
  take(raw, cursor, data) {
    const event = this.#whole(raw);
    if (cursor) {
      this.cursor = cursor;
      this.#epoch = placeOf(cursor).epoch;
    }
    if (event === null) return;
    const verdict = verdictOn(event, this.position);
    if (verdict === 'gap' || verdict === 'overlap') throw new Torn();
    if (verdict === 'duplicate') return this.#tell((reader) => (reader.duplicates += 1));
    this.position = positionAfter(event);
    if (event.type === 'reset' && !event.seq) this.cursor = ''; // until the next event says the epoch
    this.ended ||= isLast(event);
    const told = new Told(event, this.cursor && cursorOf(this.#epoch, this.position), event === raw ? data : undefined);
    this.#tell((reader) => reader.offer(told));
  }

  /** Read on from the last complete event: what was begun comes again. */
  rewind() {
    this.#pieces = new Pieces();
    this.cursor = this.position && this.#epoch ? cursorOf(this.#epoch, this.position) : '';
  }

  /**
   * The cursor is no use any more.
   * @param {string} reason
   */
  reset(reason) {
    this.rewind();
    this.take({ type: 'reset', to: 0, reason }, '');
  }

  /** @param {string} data */
  say(data) {
    this.status = data;
    this.#tell((reader) => reader.on.status(data));
  }

  /** @param {any} raw */
  #whole(raw) {
    try {
      return this.#pieces.add(raw);
    } catch {
      throw new Torn();
    }
  }

  /** @param {(reader: import('./reader.js').Reader) => void} act */
  #tell(act) {
    for (const reader of [...this.readers]) act(reader);
  }
}
