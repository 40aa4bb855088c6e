// The last input of each function, in this browser. Bounded; what can't be kept is not remembered. Pure but for its storage.

const FUNCTIONS = 30; // those used last
const CHARS = 20_000; // of one input: a form that a person fills, not a document

/** @typedef {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} Shelf */

/** Inputs by function. */
export class Remembered {
  /** @param {string} key in the storage @param {() => Shelf} shelf may throw, as a browser's does that keeps nothing */
  constructor(key, shelf) {
    this.key = key;
    this.shelf = shelf;
  }

  /** @param {string} name of a function @returns {Record<string, any> | null} */
  get(name) {
    return this.#read().find(([one]) => one === name)?.[1] ?? null;
  }

  /** @param {string} name @param {Record<string, any>} input */
  put(name, input) {
    const others = this.#read().filter(([one]) => one !== name);
    const kept = JSON.stringify(input).length <= CHARS ? [[name, input]] : [];
    this.#write([...kept, ...others].slice(0, FUNCTIONS));
  }

  /** @param {string} name */
  forget(name) {
    this.#write(this.#read().filter(([one]) => one !== name));
  }

  /** @returns {[string, any][]} */
  #read() {
    try {
      const found = JSON.parse(this.shelf().getItem(this.key) ?? '[]');
      return Array.isArray(found) ? found.filter((one) => Array.isArray(one) && one.length === 2) : [];
    } catch {
      return [];
    }
  }

  /** @param {any} entries */
  #write(entries) {
    try {
      if (entries.length) this.shelf().setItem(this.key, JSON.stringify(entries));
      else this.shelf().removeItem(this.key);
    } catch {
      // A private window, or no room: then nothing is remembered.
    }
  }
}
