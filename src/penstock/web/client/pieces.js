// Large events come in pieces, each an event with a place of its own. Here they are put together; no DOM, no network.

/** UTF-16 units held of one event: the 16 MiB that one may have, and what surrounds them. */
export const MAX_WHOLE_UNITS = 17 * 1024 * 1024;

/** Give it the events of a stream in order. What comes out has no pieces, and no gaps where there were none. */
export class Pieces {
  /** @type {string[]} */ #texts = [];
  #units = 0;
  #count = 0; // events for which the pieces stand
  #seq = 0;

  /**
   * @param {any} event as it came
   * @returns {any} the event, or what it completes; null for a piece that does not
   * @throws {Error} where its first pieces have not come, or it is no event: read again from the start
   */
  add(event) {
    if (event.type !== 'piece') return this.#standingFor(event);
    const { seq = 0, n = 1, part, parts, data } = event;
    if (seq && seq <= this.#seq) return null; // it has come before
    if (part === 0) this.#texts = [];
    if (part !== this.#texts.length || part >= parts) throw new Error(`piece ${part} of ${parts} is out of place`);
    this.#units = (part ? this.#units : 0) + data.length;
    if (this.#units > MAX_WHOLE_UNITS) throw new Error('an event in pieces is too long');
    this.#texts.push(data);
    this.#count += seq && n;
    this.#seq = seq;
    return part === parts - 1 ? this.#whole(seq) : null;
  }

  /** @param {number} seq */
  #whole(seq) {
    const whole = JSON.parse(this.#texts.join(''));
    const place = seq ? { seq, n: this.#count } : {}; // a fold has its own
    this.#forget();
    return { ...whole, ...place };
  }

  // What was begun and never completed is stood for by what comes instead.
  /** @param {any} event */
  #standingFor(event) {
    const count = this.#count;
    this.#forget();
    return count && event.seq ? { ...event, n: (event.n ?? 1) + count } : event;
  }

  #forget() {
    this.#texts = [];
    this.#count = 0;
    this.#seq = 0;
  }
}
