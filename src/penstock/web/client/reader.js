// One reader of one run: a cursor, never a queue. What it does not take in time it reads again from the store.

import { PenstockError } from './errors.js';
import { Pieces } from './pieces.js';
import { beginsBefore, isLast, placeOf, positionAfter, verdictOn } from './place.js';
import { decideOn } from './reconnect.js';
import { Told } from './source.js';

/** UTF-16 units that wait for a reader that takes nothing (a frozen tab): some seconds of fast text. */
export const MAX_WAITING_UNITS = 512 * 1024;

/** Times in a row that what is missing may fail to be there, before its reader is told. */
const MAX_FAULTS = 8;

/**
 * @typedef {object} Listener what a reader tells
 * @property {(batch: Told[]) => void} events in order, each once; the next when `ack` was called
 * @property {(data: string) => void} status
 * @property {(about: About) => void} connection
 * @property {(error: Error) => void} refused nothing more will come
 *
 * @typedef {object} About a connection, as its readers see it
 * @property {import('./stream.js').State} connection
 * @property {import('./transports/index.js').Transport} transport
 * @property {boolean} draining
 * @property {number} resumes
 * @property {number} duplicates
 * @property {number} openedMs when it was made: what is older is history
 *
 * @typedef {object} Wish
 * @property {string} run
 * @property {string} [after] a cursor
 * @property {boolean} [fold] the state first, where there is no cursor
 * @property {number} [rate]
 * @property {Listener} on
 */

/** A place in a run, and who stands there. */
export class Reader {
  duplicates = 0;
  /** of the connection, when this reader came */ resumesBefore = 0;
  /** @type {string} of the last event that was handed over */ cursor;
  position = 0;
  #attached = false;
  #catching = false;
  #gone = false;
  #faults = 0;
  #pieces = new Pieces();
  /** @type {Told[]} */ #waiting = [];
  #units = 0;
  #busy = false;
  #flushedMs = -Infinity;
  /** @type {any} */ #timer;
  /** @type {(() => void)|null} */ #onRoom = null;

  /**
   * @param {import('./hub.js').Hub} hub
   * @param {import('./source.js').Source} source
   * @param {Wish} wish
   */
  constructor(hub, source, { after = '', fold = false, rate, on }) {
    this.hub = hub;
    this.source = source;
    this.fold = fold && !after;
    this.resumesBefore = source.resumes;
    this.rate = rate;
    this.on = on;
    this.cursor = after;
    this.position = placeOf(after).seq;
  }

  /** Take part: with the connection's events where it stands at the same place, else after catching up. */
  begin() {
    const { source } = this;
    this.#attached = this.cursor === source.cursor && this.position === source.position && !source.ended;
    if (source.status && !source.ended) this.on.status(source.status);
    if (!this.#attached) this.#catchUp();
  }

  /** @param {Told} told the connection's next event */
  offer(told) {
    if (!this.#attached) return; // what it lacks it reads from the store
    // Others may have asked for the state; this one wants what led to it.
    const stranger = told.event.type === 'fold' && !this.fold;
    const verdict = stranger ? 'gap' : verdictOn(told.event, this.position);
    if (verdict === 'duplicate') return; // it is ahead of the connection: nothing came to it twice
    if (verdict !== 'next' || beginsBefore(told.event, this.position))
      this.#catchUp(); // unmerged
    else this.#hold(told);
  }

  /** What was handed over last has been taken. */
  ack() {
    this.#busy = false;
    this.#flush();
    if (this.#busy || this.#waiting.length) return;
    this.#room();
    if (this.source.ended) this.hub.tell(this.source);
  }

  /** whether all that has come was handed over and taken; the last event reaches one reader after the other */
  get settled() {
    return this.#attached && !this.#busy && !this.#waiting.length && this.position >= this.source.position;
  }

  /** @param {number|undefined} rate */
  pace(rate) {
    this.rate = rate;
    this.#flush();
  }

  leave() {
    this.#gone = true;
    this.hub.env.clearTimeout(this.#timer);
    this.#waiting = [];
    this.#room();
  }

  /** @param {Told} told */
  #hold(told) {
    this.position = positionAfter(told.event);
    this.#waiting.push(told);
    if (this.#busy || this.#waiting.length > 1) this.#units += told.data.length;
    if (this.#units <= MAX_WAITING_UNITS) this.#flush();
    else if (this.#busy) this.#letGo();
    else this.#hand(); // whatever its pace: there is no room for more
  }

  // It is far behind what it takes: forget what waits, and read that again when it takes something.
  #letGo() {
    this.#waiting = [];
    this.#units = 0;
    this.position = placeOf(this.cursor).seq;
    this.#catchUp();
  }

  #flush() {
    if (this.#busy || !this.#waiting.length || this.#gone) return;
    const { env } = this.hub;
    const dueMs = this.#flushedMs + (this.rate ? 1000 / this.rate : 0) - env.now();
    const last = isLast(this.#waiting[this.#waiting.length - 1].event);
    env.clearTimeout(this.#timer);
    if (dueMs > 0 && !last) this.#timer = env.setTimeout(() => this.#flush(), dueMs);
    else this.#hand();
  }

  #hand() {
    const batch = this.#waiting;
    this.#waiting = [];
    this.#units = 0;
    this.#busy = true;
    this.#flushedMs = this.hub.env.now();
    this.cursor = batch[batch.length - 1].cursor;
    this.on.events(batch);
  }

  // ---- what the connection has brought to others already

  async #catchUp() {
    this.#attached = false;
    if (this.#catching || this.#gone) return;
    this.#catching = true;
    for (let at = ''; !this.#attached && !this.#gone;) {
      await this.#whenRoom();
      at = await this.#readOn(at || this.cursor).catch((error) => this.#failed(error));
    }
    this.#catching = false;
    if (this.source.ended && !this.#gone) this.hub.tell(this.source);
  }

  // Nothing is merged here, so it can end at exactly the place where the connection stands.
  /** @param {string} at @returns {Promise<string>} the cursor from where to read on */
  async #readOn(at) {
    const answer = await this.hub.ask(this.source.run, at, this.fold && !at);
    const { epoch } = placeOf(answer.cursor);
    for (const raw of answer.events) {
      if (this.#gone || this.#isThere(raw, epoch)) break;
      const event = this.#pieces.add(raw);
      if (event) this.#follow(event, epoch);
    }
    this.#faults = 0;
    const { position, ended } = this.source;
    if (!ended && this.position >= position) this.#attach();
    else if (answer.done || !answer.events.length) this.#attached = true;
    return answer.cursor;
  }

  #attach() {
    this.#attached = true;
    this.#pieces = new Pieces();
  }

  /** @param {any} raw @param {string} epoch */
  #isThere({ seq = 0, type }, epoch) {
    const { cursor, ended, position } = this.source;
    return !ended && type !== 'fold' && seq > position && placeOf(cursor).epoch === epoch;
  }

  /** @param {any} event @param {string} epoch */
  #follow(event, epoch) {
    const verdict = verdictOn(event, this.position);
    if (verdict === 'duplicate') return;
    if (verdict !== 'next') throw new Error('Events are missing.');
    this.#hold(new Told(event, event.seq ? `${epoch}-${event.seq}` : ''));
  }

  /** @param {unknown} error @returns {Promise<string>} */
  async #failed(error) {
    this.#pieces = new Pieces();
    const { act, afterMs } = this.#decide(error);
    this.#faults += 1;
    if (act !== 'retry') this.hub.refuse(this, /** @type {Error} */ (error));
    else await new Promise((resolve) => this.hub.env.setTimeout(resolve, afterMs));
    return '';
  }

  // The rule of connections; what is missing though it should be there is a fault of a bounded kind.
  /** @param {unknown} error */
  #decide(error) {
    const { env } = this.hub;
    const known = error instanceof PenstockError ? error : new PenstockError(this.#faults < MAX_FAULTS ? 0 : 422);
    return decideOn(known, { attempt: this.#faults, chance: env.random(), hidden: env.hidden() });
  }

  /** @returns {Promise<void>} once what was handed over has been taken */
  async #whenRoom() {
    if (!this.#busy && !this.#waiting.length) return;
    await new Promise((resolve) => (this.#onRoom = () => resolve(undefined)));
  }

  #room() {
    this.#onRoom?.();
    this.#onRoom = null;
  }
}
