// What a tab remembers of its page: who it is, what its components show, and the events that it has begun. No DOM, no network.

import { propsOf } from './config.js';

/** UTF-16 units of JSON that one value may take; a larger one is read from the server again. */
export const VALUE_UNITS = 256 * 1024;
/** And all of them together: browsers give an origin about five million for all its pages in a tab. */
export const VALUES_UNITS = 1_500_000;
/** Events that are remembered. Those that have ended go first, the oldest first. */
export const MAX_EVENTS = 60;
/** What is sent with an event, kept until the server has answered; a longer one is not sent again after a reload. */
const BODY_UNITS = 128 * 1024;

/**
 * @typedef {object} Begun an event of this tab
 * @property {string} key under which it was sent
 * @property {number} fn Gradio's number of its function
 * @property {string} id Gradio's own, once the server has told; '' before
 * @property {string} [body] as it was sent, until then
 * @property {string} [sum] of its inputs
 * @property {'sent'|'open'|'done'} state `done`: the page has been told its end
 * @property {boolean} [failed]
 * @property {boolean} [lost] its outputs are too large to be kept here
 *
 * @typedef {{units: number, props: Record<string, any>, given: boolean}} Shown `given`: its value is somebody's, no output's
 *
 * @typedef {Pick<Storage, 'getItem'|'setItem'|'removeItem'>} Shelf
 */

/** The memory of one page in one tab. */
export class Memory {
  session = '';
  print = '';
  /** @type {Begun[]} oldest first */ events = [];
  /** @type {Map<string, Shown>} by component; written longest ago first */ #values = new Map();
  #units = 0;
  #dirty = false;

  /**
   * @param {Shelf|null} shelf sessionStorage, where there is one
   * @param {string} name of the page
   * @param {(write: () => void) => void} soon
   */
  constructor(shelf, name, soon) {
    this.shelf = shelf;
    this.name = name;
    this.soon = soon;
    this.#load(this.#read('about'), this.#read('values'));
  }

  /** @param {string} part @returns {any} */
  #read(part) {
    try {
      return JSON.parse(this.shelf?.getItem(`${this.name}:${part}`) ?? 'null');
    } catch {
      return null;
    }
  }

  /** @param {any} about @param {any} values */
  #load(about, values) {
    if (typeof about?.session === 'string') this.session = about.session;
    if (typeof about?.print === 'string') this.print = about.print;
    if (Array.isArray(about?.events)) this.events = about.events.filter(isBegun);
    if (!Array.isArray(values)) return;
    for (const pair of values)
      if (Array.isArray(pair) && typeof pair[1] === 'object' && pair[1])
        this.show(String(pair[0]), pair[1], pair[2] === true);
  }

  /** @returns {import('./config.js').Values} what components showed last */
  get values() {
    return Object.fromEntries([...this.#values].map(([id, { props }]) => [id, props]));
  }

  /** @returns {string[]} components whose values are somebody's */
  get given() {
    return [...this.#values].flatMap(([id, { given }]) => (given ? [id] : []));
  }

  /**
   * Somebody gives a component this value, or sends it with it.
   * @param {string} id
   * @param {any} value
   * @param {string} [built] as the app has it, in JSON
   */
  give(id, value, built) {
    const before = this.#values.get(id);
    const known = before && 'value' in before.props ? JSON.stringify(before.props.value) : built;
    this.show(id, { value }, before?.given || known !== JSON.stringify(value));
  }

  /** @param {string} id @returns {boolean} whether a value of it is remembered */
  knows(id) {
    return 'value' in (this.#values.get(id)?.props ?? {});
  }

  /** @param {string} id @returns {boolean} whether it has become one for passwords */
  isSecret(id) {
    return this.#values.get(id)?.props.type === 'password';
  }

  /**
   * What a component shows now can't be kept.
   * @param {string} id
   */
  lose(id) {
    const { value: _, ...props } = this.#values.get(id)?.props ?? {};
    this.#drop(id);
    this.show(id, props);
  }

  /** @param {string} id */
  #drop(id) {
    this.#units -= this.#values.get(id)?.units ?? 0;
    this.#values.delete(id);
  }

  /**
   * A component shows this now.
   * @param {string} id
   * @param {Record<string, any>} props
   * @param {boolean} [given] whether its value is somebody's
   * @returns {boolean} whether it could be kept
   */
  show(id, props, given = false) {
    const before = this.#values.get(id);
    const merged = { ...before?.props, ...props };
    if (merged.type === 'password') delete merged.value; // it has become one
    const units = JSON.stringify(merged).length;
    this.#drop(id);
    if (units > VALUE_UNITS) return false;
    this.#values.set(id, { units, props: merged, given: given || (before?.given === true && !('value' in props)) });
    this.#units += units;
    while (this.#units > VALUES_UNITS) this.#forgetOldest();
    this.#later();
    return true;
  }

  /**
   * A component begins as the app has it, but for its value.
   * @param {string} id
   */
  unlock(id) {
    const before = this.#values.get(id);
    if (!before) return;
    this.#values.delete(id);
    this.#units -= before.units;
    if ('value' in before.props) this.show(id, { value: before.props.value }, before.given);
    else this.#later();
  }

  #forgetOldest() {
    this.#drop(/** @type {string} */ (this.#values.keys().next().value));
  }

  /**
   * Outputs have come to these components.
   * @param {number[]} ids
   * @param {any[]} outputs
   * @param {(id: number, place: number) => boolean} isSeen
   * @returns {boolean} whether all could be kept
   */
  showOutputs(ids, outputs, isSeen) {
    let kept = true;
    ids.forEach((id, place) => {
      if (outputs[place]?.is_stream) return; // it was there while it ran
      if (place < outputs.length && isSeen(id, place)) kept = this.show(String(id), propsOf(outputs[place])) && kept;
    });
    return kept;
  }

  /** @param {{key: string, fn: number, body: string, sum: string}} sent @returns {Begun} */
  begin({ key, fn, body, sum }) {
    /** @type {Begun} */
    const begun = { key, fn, id: '', sum, state: 'sent', ...(body.length <= BODY_UNITS ? { body } : {}) };
    this.events.push(begun);
    if (this.events.length > MAX_EVENTS) this.#dropOne();
    this.writeAbout();
    return begun;
  }

  #dropOne() {
    const at = this.events.findIndex(({ state }) => state === 'done');
    this.events.splice(Math.max(0, at), 1);
  }

  /** @param {Begun} begun @param {Partial<Begun>} change */
  change(begun, change) {
    Object.assign(begun, change);
    if (begun.state !== 'sent') delete begun.body;
    this.writeAbout();
  }

  /** @param {Begun} begun that was begun in another session */
  keep(begun) {
    if (!this.events.includes(begun)) this.events.push(begun);
    this.writeAbout();
  }

  /** @param {Begun} begun that came to nothing */
  drop(begun) {
    this.events = this.events.filter((one) => one !== begun);
    this.writeAbout();
  }

  /**
   * Begin anew: it is another app.
   * @param {{session: string, print: string}} as
   */
  reset({ session, print }) {
    this.session = session;
    this.print = print;
    this.events = [];
    this.#values.clear();
    this.#units = 0;
    this.writeAbout();
    this.writeValues();
  }

  #later() {
    if (this.#dirty) return;
    this.#dirty = true;
    this.soon(() => this.write());
  }

  /** All that waits, now: the page may be on its way out. */
  write() {
    if (this.#dirty) this.writeValues();
  }

  writeAbout() {
    const { session, print, events } = this;
    this.#put('about', { session, print, events });
  }

  writeValues() {
    this.#dirty = false;
    this.#put(
      'values',
      [...this.#values].map(([id, { props, given }]) => [id, props, ...(given ? [true] : [])]),
    );
  }

  /** @param {string} part @param {any} value */
  #put(part, value) {
    try {
      this.shelf?.setItem(`${this.name}:${part}`, JSON.stringify(value));
    } catch {
      this.#remove(part); // full: better nothing than what is no longer so
    }
  }

  /** @param {string} part */
  #remove(part) {
    try {
      this.shelf?.removeItem(`${this.name}:${part}`);
    } catch {
      // denied
    }
  }
}

/** @param {any} it */
const isBegun = (it) =>
  typeof it?.key === 'string' &&
  typeof it.id === 'string' &&
  Number.isInteger(it.fn) &&
  ['sent', 'open', 'done'].includes(it.state);
